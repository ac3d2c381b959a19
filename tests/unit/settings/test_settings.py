"""Settings: one source before the other, refused when they make no sense, shown without passwords."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fhirserver.cli.settings import display, origin
from fhirserver.settings import Settings, data_path, masked, variables, version

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def same(left: Settings, right: Settings) -> bool:
    return left.model_dump() == right.model_dump()


def test_flags_come_before_the_environment_before_the_file_before_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(
        "FHIRSERVER_PORT=1\nFHIRSERVER_WORKERS=2\nFHIRSERVER_COUNT_MAX=300\nOTHER=x\n"
    )
    monkeypatch.setenv("FHIRSERVER_PORT", "10")
    monkeypatch.setenv("FHIRSERVER_WORKERS", "20")
    settings = Settings.load(port=100, host=None)
    assert (settings.port, settings.workers, settings.count_max, settings.host) == (100, 20, 300, "127.0.0.1")
    origins = origin(settings)
    assert {name: origins[name] for name in ("port", "workers", "count_max", "host")} == {
        "port": "flag",
        "workers": "environment",
        "count_max": ".env",
        "host": "default",
    }


@pytest.mark.parametrize("name", ["DATABASE_URL", "FHIRSERVER_DATABASE_URL"])
def test_the_database_has_two_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "postgresql://user:secret@host/fhir")
    settings = Settings.load()
    assert settings.database_url == "postgresql://user:secret@host/fhir"
    assert origin(settings)["database_url"] == "environment"
    assert "secret" not in repr(settings) + str(display(settings))


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings.load().port = 1  # pyright: ignore[reportAttributeAccessIssue] (that is the point)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"port": 70_000}, "less than or equal to 65535"),
        ({"workers": 0}, "greater than or equal to 1"),
        ({"auth": "none"}, "'off', 'smart' or 'auto'"),
        ({"database_url": "mysql://localhost/fhir"}, "postgresql://"),
        ({"base_url": "example.org/fhir"}, "absolute"),
        ({"base_url_aliases": "http://one/fhir, two"}, "absolute"),
        ({"trusted_proxies": "10.0.0.0/8, proxy"}, "not a valid IPv4 network"),
        ({"time_zone": "Mars/Olympus"}, "time zone"),
        ({"count_default": 10, "count_max": 5}, "count_default"),
        ({"pool_min": 10, "pool_max": 5}, "pool_min"),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Settings.load(**values)


def test_lists_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FHIRSERVER_TRUSTED_PROXIES", "10.0.0.0/8, ::1,")
    monkeypatch.setenv("FHIRSERVER_CORS_ORIGINS", "https://a.example,https://b.example")
    settings = Settings.load()
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.0/8", "::1/128"]
    assert settings.cors_origins == ("https://a.example", "https://b.example")


changed = st.fixed_dictionaries(
    {},
    optional={
        "port": st.integers(0, 65535),
        "host": st.sampled_from(["0.0.0.0", "::1", "example.org"]),
        "data_dir": st.sampled_from(["data", "/srv/a b"]).map(Path),
        "insecure": st.booleans(),
        "cors_origins": st.lists(st.sampled_from(["https://a", "https://b", "*"])).map(tuple),
        "trusted_proxies": st.lists(st.ip_addresses().map(str)).map(tuple),
        "pool_timeout_s": st.floats(0.1, 100),
        "database_url": st.sampled_from(["postgresql://u:p%20w@h:1/d?host=/a%20b"]),
    },
)


@given(values=changed)
def test_a_worker_reads_back_what_its_parent_hands_down(values: dict[str, object]) -> None:
    settings = Settings.load(**values)
    with pytest.MonkeyPatch.context() as patch:
        for name, text in settings.environment().items():
            patch.setenv(name, text)
        assert same(Settings.load(), settings)


@pytest.mark.parametrize(
    ("values", "base"),
    [
        ({}, "http://127.0.0.1:8080/fhir"),
        ({"host": "0.0.0.0", "port": 80}, "http://localhost:80/fhir"),
        ({"host": "fd00::1"}, "http://[fd00::1]:8080/fhir"),
        ({"base_url": "https://example.org/fhir/"}, "https://example.org/fhir"),
    ],
)
def test_the_public_base(values: dict[str, object], base: str) -> None:
    assert Settings.load(**values).fhir_base == base


def test_every_base_that_means_this_server() -> None:
    public = Settings.load(base_url="https://new.example/fhir", base_url_aliases="https://old.example/r4/")
    assert public.fhir_bases == ("https://new.example/fhir", "https://old.example/r4")
    assert set(Settings.load(port=1).fhir_bases) == {
        "http://localhost:1/fhir",
        "http://127.0.0.1:1/fhir",
        "http://[::1]:1/fhir",
    }


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *(("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True)),
        *(("0.0.0.0", False), ("::", False), ("10.1.1.1", False), ("example.org", False)),
    ],
)
def test_what_only_this_machine_reaches(host: str, loopback: bool) -> None:
    assert Settings.load(host=host).loopback is loopback


@given(workers=st.integers(1, 64), wanted=st.none() | st.integers(2, 500), allowed=st.integers(20, 2000))
def test_all_pools_together_fit_the_server(workers: int, wanted: int | None, allowed: int) -> None:
    limit = Settings.load(workers=workers, pool_max=wanted).pool_limit(allowed)
    assert 1 <= limit <= (wanted or 20)
    assert limit == 1 or workers * limit <= allowed - 10


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h:5/d", "postgresql://u:***@h:5/d"),
        ("postgresql://u:p:q%40@h/d?sslmode=require", "postgresql://u:***@h/d?sslmode=require"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql:///d?host=/run&password=p", "postgresql:///d?host=/run&password=***"),
        ("postgresql://:p@h/d", "postgresql://:***@h/d"),
    ],
)
def test_passwords_are_masked(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_every_setting_is_described_and_has_its_unit_last() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description and field.description.endswith((".", "`")), name
        assert variables(name)[0] in {f"FHIRSERVER_{name.upper()}", "DATABASE_URL"}
        assert not name.startswith(("max_", "min_")), f"{name}: the bound stands last"


def test_the_reference_page_is_current() -> None:
    from fhirserver.cli.settings import reference

    page = ROOT / "docs" / "reference" / "settings.md"
    assert page.read_text(encoding="utf-8") == reference(), "run `make docs`"


def test_data_files_are_found_in_a_checkout_and_in_a_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert data_path("conformance") == ROOT / "conformance"
    monkeypatch.setattr("fhirserver.settings.PACKAGE", tmp_path / "fhirserver")
    installed = tmp_path / "fhirserver" / "_data" / "conformance"
    installed.mkdir(parents=True)
    assert data_path("conformance") == installed


def test_the_version_is_the_project_s() -> None:
    assert f'version = "{version()}"' in (ROOT / "pyproject.toml").read_text()
