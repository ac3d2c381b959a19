"""What the how-tos of Keycloak and Inferno say about this server's side; theirs is not here to be asked."""

import json
import re
import shlex
from pathlib import Path

import pytest

from fhirserver.cli.app import app
from fhirserver.issuers import trust
from fhirserver.settings import Settings
from tests.howto.pages import HOWTO, ROOT, Reader, blocks
from tests.issuers.test_tokens import person

ISSUER = "https://sso.example.org/realms/clinic"


def settings_of(code: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for line in code.splitlines():
        name, _, value = line.partition("=")
        monkeypatch.setenv(name, value)
    return Settings.load()


def test_keycloak_signs_people_in(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(blocks("keycloak.md", "env")[0], monkeypatch)
    assert trust.problem(settings) is None and settings.gives_tokens
    found = trust.Trust.of(settings)
    [issuer] = found.doors
    assert (issuer.issuer, issuer.label, issuer.tokens) == (ISSUER, "Staff", False)
    assert found.secrets[ISSUER] == "CHANGE-ME"
    # Where the page sends people back to is what the server asks Keycloak to send them back to.
    back = f"{settings.base_url.removesuffix('/fhir')}/auth/sign-in/back" if settings.base_url else ""
    assert f'["{back}"]' in blocks("keycloak.md", "console")[0]


def test_keycloak_gives_the_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(blocks("keycloak.md", "env")[1], monkeypatch)
    assert trust.problem(settings) is None and settings.sign_in and not settings.gives_tokens
    issuer = trust.Trust.of(settings).issuers[ISSUER]
    assert issuer.tokens and issuer.audience is None, "the audience is the FHIR base"
    assert f'audience\\"={settings.base_url}'.replace("\\", "") in blocks("keycloak.md", "console")[1]


def test_the_person_of_the_page_is_one_that_the_tests_of_issuers_know() -> None:
    [text] = blocks("keycloak.md", "json")
    written = json.loads(text)
    known = person("ito", ISSUER, written["identifier"][0]["value"], "Practitioner/ito")
    assert written | {"name": known["name"]} == known


def test_inferno_gets_its_clients(reader: Reader) -> None:
    check, clients, people = blocks("inferno.md", "sh")
    reader.type(check)
    assert reader.type(clients).count("client_id") == 2
    assert "one-time password" in reader.type(people)
    launch = blocks("inferno.md", "console")[2]
    assert "http://localhost/custom/smart/launch?" in reader.type(launch)


@pytest.mark.parametrize("page", sorted(path.name for path in HOWTO.glob("*.md")))
def test_commands_and_settings_of_a_page_exist(page: str) -> None:
    """Those too that are not run: their options are options, their variables settings."""
    text = (HOWTO / page).read_text(encoding="utf-8")
    known = {name.upper() for name in Settings.model_fields}
    own = {"TOKEN", "SMART_PASSWORD"}
    assert set(re.findall(r"FHIRSERVER_([A-Z_]+)", text)) <= known | own
    from typer.main import get_command

    command = get_command(app)
    for code in blocks(page, "sh") + blocks(page, "console"):
        for line in code.replace("\\\n", " ").splitlines():
            if line.strip().startswith("fhirserver "):
                _check(command, shlex.split(line, comments=True)[1:])


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    for target in targets:
        place, _, heading = target.partition("#")
        led = (page.parent / place).resolve() if place else page
        assert led.exists(), target
        if heading:
            found = re.findall(r"^#+ (.*)$", led.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", one).strip().lower().replace(" ", "-") for one in found}


def _check(command: object, words: list[str]) -> None:
    while words and (inner := getattr(command, "commands", {}).get(words[0])):
        command, words = inner, words[1:]
    options = {
        name for param in getattr(command, "params", []) for name in (*param.opts, *param.secondary_opts)
    }
    assert {word for word in words if word.startswith("--")} <= options, words
