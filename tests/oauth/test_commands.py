"""`fhirserver client` and `fhirserver keys`, beside a database that a server could use at the same time."""

import json
from pathlib import Path

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from fhirserver.cli.app import app
from tests.oauth.support import ec_key

ENVIRONMENT = {"COLUMNS": "300", "NO_COLOR": "1", "FHIRSERVER_BASE_URL": "https://fhir.example/fhir"}


class Shell:
    """The command line, on a database."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env={**ENVIRONMENT, "DATABASE_URL": self.dsn})

    def ok(self, *arguments: str) -> str:
        result = self.run(*arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    def fails(self, *arguments: str) -> str:
        result = self.run(*arguments)
        assert result.exit_code in (1, 2) and "Traceback" not in result.output, result.output
        return result.output

    async def value(self, query: str, *arguments: object) -> object:
        connection = await asyncpg.connect(self.dsn)
        try:
            return await connection.fetchval(query, *arguments)
        finally:
            await connection.close()


@pytest.fixture
def shell(database: str) -> Shell:
    return Shell(database)


def id_of(said: str) -> str:
    return said.split()[1]


def test_an_app_is_added_listed_revoked_and_approved(shell: Shell) -> None:
    said = shell.ok("client", "add", "My [App]", "--redirect", "https://app.example/back", "--kind", "secret")
    made = id_of(said)
    assert "client_secret" in said
    listed = shell.ok("client", "list")
    assert made in listed and "My [App]" in listed and "approved" in listed
    assert "0 grants" in shell.ok("client", "revoke", made)
    assert "disabled" in shell.ok("client", "list")
    shell.ok("client", "approve", made, "--ehr")
    assert "disabled" not in shell.ok("client", "list")
    first = said.split()[-1]
    second = shell.ok("client", "secret", made).strip()
    assert len(second) == 43 and second != first


async def test_what_is_added_is_what_the_server_needs(shell: Shell, tmp_path: Path) -> None:
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps({"keys": [ec_key().as_dict(private=False)]}))
    made = "robot-1"
    arguments = ("client", "add", "Robot", "--backend", "--scope", "system/*.rs launch", "--ehr")
    assert id_of(shell_run(shell, *arguments, "--jwks", str(keys), "--id", made)) == made
    metadata = json.loads(str(await shell.value("SELECT metadata FROM auth.client WHERE id = $1", made)))
    assert metadata["grant_types"] == ["client_credentials"] and metadata["ehr"] is True
    assert metadata["token_endpoint_auth_method"] == "private_key_jwt" and metadata["jwks"]["keys"]
    public = id_of(shell_run(shell, "client", "add", "Phone", "--redirect", "com.example.heart:/back"))
    metadata = json.loads(str(await shell.value("SELECT metadata FROM auth.client WHERE id = $1", public)))
    assert metadata["token_endpoint_auth_method"] == "none"


def shell_run(shell: Shell, *arguments: str) -> str:
    """In a thread of its own: the command starts an event loop."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as threads:
        return threads.submit(shell.ok, *arguments).result()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "X"), "redirect_uris"),
        (("add", "X", "--redirect", "http://app.example/x"), "redirect_uri"),
        (("add", "X", "--redirect", "https://app.example/x", "--scope", "patient/Patient.sr"), "letters"),
        (("add", "X", "--redirect", "https://app.example/x", "--kind", "keys"), "jwks"),
        (("add", "X", "--backend", "--jwks", "nowhere.json"), "nowhere.json"),
        (("add", "X", "--redirect", "https://app.example/x", "--id", "a b"), "letters, digits"),
        (("approve", "unknown"), "client list"),
        (("revoke", "unknown"), "client list"),
        (("secret", "unknown"), "client list"),
        (("launch", "unknown", "--user", "Practitioner/1"), "client list"),
    ],
)
def test_what_is_wrong_is_said(shell: Shell, arguments: tuple[str, ...], said: str) -> None:
    assert said in shell.fails("client", *arguments)


def test_an_id_is_given_once(shell: Shell) -> None:
    arguments = ("client", "add", "X", "--redirect", "https://app.example/x", "--id", "twice")
    shell.ok(*arguments)
    assert "already" in shell.fails(*arguments)
    assert "not by a secret" in shell.fails("client", "secret", "twice")


def test_a_launch_is_an_address_to_open(shell: Shell) -> None:
    arguments = ("client", "add", "X", "--redirect", "https://app.example/x", "--id", "launched")
    shell.ok(*arguments, "--launch-uri", "https://app.example/launch")
    said = shell.ok("client", "launch", "launched", "--user", "Practitioner/1", "--patient", "p").strip()
    assert said.startswith("https://app.example/launch?iss=https%3A%2F%2Ffhir.example%2Ffhir&launch=")
    assert "no account" in shell.fails("client", "launch", "launched", "--user", "nobody")
    assert "is an id" in shell.fails("client", "launch", "launched", "--user", "Person/1", "--patient", "a/b")


def test_keys_rotate(shell: Shell) -> None:
    first = [line.split() for line in shell.ok("keys", "rotate").splitlines()]
    assert [line[-1] for line in first] == ["signs", "next", "retired"]
    second = [line.split() for line in shell.ok("keys", "rotate").splitlines()]
    assert second[0][0] == first[1][0]
    assert [line.split() for line in shell.ok("keys", "list").splitlines()] == second
