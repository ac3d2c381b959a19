"""`fhirserver doctor --smart`: options, keys in files, exit codes."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey, RSAKey
from typer.testing import CliRunner

from fhirserver.cli.app import app
from fhirserver.cli.smart import run
from fhirserver.cli.smart.report import Failed
from fhirserver.cli.smart.target import KeyUnusable, read_key
from fhirserver.cli.smart.transport import _look_at, is_loopback
from tests.support import smart_model as model

EC, RSA = ECKey.generate_key("P-384", {"kid": "k"}), RSAKey.generate_key(2048)


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the server of this test does wrong; nothing at first."""
    faults = [""]
    look = run.look

    def looked(*args: Any, **more: Any) -> Any:
        return look(*args, wire=httpx.MockTransport(model.Model(faults[0])), **more)

    monkeypatch.setattr(run, "look", looked)
    return faults


def doctor(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["doctor", "--smart", model.BASE, *arguments])


def test_a_server_that_is_right(fault: list[str]) -> None:
    result = doctor()
    assert result.exit_code == 0 and "0 fail" in result.output, result.output


def test_a_server_that_is_wrong(fault: list[str]) -> None:
    fault[0] = "plain"
    result = doctor()
    assert result.exit_code == 1
    assert "code_challenge_methods_supported has plain" in " ".join(result.output.split())


def test_with_a_key_and_as_json(fault: list[str], tmp_path: Path) -> None:
    (tmp_path / "key").write_text(json.dumps(model.CLIENT_KEY.as_dict(private=True)))
    result = doctor("--client-id", model.KEYED, "--key", str(tmp_path / "key"), "--json")
    assert result.exit_code == 0
    groups = {one["group"] for one in json.loads(result.output)["findings"] if one["status"] == "pass"}
    assert "Backend services" in groups


def test_with_somebody_who_signs_in(fault: list[str]) -> None:
    client = ("--client-id", model.PUBLIC, "--redirect-uri", model.REDIRECT)
    result = doctor(*client, "--user", model.LOGIN, "--password", model.PASSWORD)
    assert result.exit_code == 0 and "a code is good once" in result.output, result.output
    assert doctor(*client, "--user", model.LOGIN, "--password", "wrong").exit_code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("--redirect-uri", model.REDIRECT),
        ("--client-id", "a", "--client-secret", "b", "--key", "c"),
        ("--client-id", "a", "--key", "/nowhere"),
        ("--user", "ann"),
        ("--smart", "example.org"),
    ],
)
def test_options_that_do_not_agree(arguments: tuple[str, ...]) -> None:
    assert doctor(*arguments).exit_code == 2


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(EC.as_dict(private=True)),
        json.dumps({"keys": [RSA.as_dict(private=False), EC.as_dict(private=True)]}),
        EC.as_pem(private=True).decode(),
        RSA.as_pem(private=True).decode(),
    ],
)
def test_keys_in_files(text: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(text)
    found = read_key(tmp_path / "key")
    assert found.is_private and found.thumbprint() in (EC.thumbprint(), RSA.thumbprint())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "{}",
        '{"keys": []}',
        json.dumps(EC.as_dict(private=False)),
        RSA.as_pem(private=False).decode(),
    ],
)
def test_what_is_no_private_key(text: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(text)
    with pytest.raises(KeyUnusable):
        read_key(tmp_path / "key")


def test_plain_http_is_for_this_machine_alone() -> None:
    assert is_loopback("localhost") and is_loopback("127.0.0.9") and is_loopback("::1")
    assert not is_loopback("example.org") and not is_loopback("192.0.2.1")
    with pytest.raises(Failed, match="plain HTTP"):
        _look_at("http://example.org")
