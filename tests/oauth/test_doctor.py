"""`fhirserver doctor --smart` finds nothing in this server, at no tenant and with no kind of client."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import argon2
import asyncpg
import httpx
import pytest
from joserfc.jwk import ECKey, RSAKey
from typer.testing import CliRunner

from fhirserver.cli.app import app
from fhirserver.cli.smart import run
from fhirserver.cli.smart.report import Finding
from fhirserver.cli.smart.target import Client, Person
from fhirserver.store import tenants
from tests.support.callers import granted
from tests.support.server import process

REDIRECT = "http://127.0.0.1:9/callback"
PASSWORD = "correct horse battery staple"
KEYS = {"ES384": ECKey.generate_key("P-384", {"kid": "e"}), "RS384": RSAKey.generate_key(2048, {"kid": "r"})}
VITAL = {
    "coding": [
        {"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}
    ]
}
RESOURCES: list[dict[str, Any]] = [
    {"resourceType": "Patient", "id": "p1", "name": [{"family": "Chalmers"}]},
    {"resourceType": "Patient", "id": "p2", "name": [{"family": "Windsor"}]},
    *(
        {
            "resourceType": "Observation",
            "id": f"o{number}",
            "status": "final",
            "category": [category],
            "code": {"text": "x"},
            "subject": {"reference": "Patient/p1"},
        }
        for number, category in enumerate(({**VITAL}, {"text": "laboratory"}))
    ),
]


SKIPPED = {
    "the encounter in context can be read with the token",
    "an assertion gets a token, and no false one does",
}
"""What a standalone launch and an app are not asked."""
UNPROVEN = {
    "says of an unknown token that it is not active, and nothing else",
    "introspection tells the same as the token response",
}
FOR_BROWSERS = {
    f"the {what} can be called by an app of the client's origin" for what in ("token endpoint", "FHIR API")
}


class Served:
    """A running server at a tenant's base."""

    def __init__(self, dsn: str, base: str, tenant: int) -> None:
        self.dsn, self.base, self.tenant = dsn, base, tenant

    def command(self, *arguments: str) -> str:
        environment = {
            "DATABASE_URL": self.dsn,
            "FHIRSERVER_AUTH": "smart",
            "FHIRSERVER_TENANT": str(self.tenant),
        }
        result = CliRunner().invoke(app, list(arguments), env=environment)
        assert result.exit_code == 0, result.output
        return result.output

    async def prepare(self) -> None:
        who = await granted(
            self.dsn, "user/*.cruds", tenant=self.tenant, user=("Practitioner", "x"), roles=("administrator",)
        )
        async with httpx.AsyncClient(headers=who.headers) as http:
            for resource in RESOURCES:
                path = f"{self.base}/{resource['resourceType']}/{resource['id']}"
                answer = await http.put(path, json=resource)
                assert answer.status_code == 201, answer.text

    def client(self, kind: str, folder: Path, *, backend: bool = False) -> Client:
        """A registered client: public, secret, or the name of an algorithm."""
        name = f"{kind}-{'service' if backend else 'app'}"
        arguments = ["client", "add", name, "--id", name]
        if kind in KEYS:
            (folder / "jwks").write_text(json.dumps({"keys": [KEYS[kind].as_dict(private=False)]}))
            arguments += ["--kind", "keys", "--jwks", str(folder / "jwks")]
        else:
            arguments += ["--kind", kind]
        if backend:
            arguments += ["--backend", "--scope", "system/Patient.rs system/Observation.rs"]
        else:
            arguments += ["--redirect", REDIRECT]
        said = self.command(*arguments)
        secret = None
        if kind == "secret":
            secret = max(said.split(), key=len)
        return Client(name, "" if backend else REDIRECT, secret, KEYS.get(kind))


@pytest.fixture(scope="module")
def process_url(database: str) -> Iterator[str]:
    environment = {
        "DATABASE_URL": database,
        "FHIRSERVER_DEVELOPMENT": "true",
        "FHIRSERVER_RATE_LIMITS": "off",
    }
    with process("--auth", "smart", environment=environment) as server:
        yield server.url


@pytest.fixture(scope="module", params=["default", "north"])
def served(database: str, process_url: str, request: pytest.FixtureRequest) -> Served:
    if request.param == "default":
        found = Served(database, process_url, 1)
    else:
        number = asyncio.run(_added(database, request.param))
        found = Served(database, process_url.replace("/fhir", f"/t/{request.param}/fhir"), number)
    asyncio.run(found.prepare())
    found.command(
        *("user", "add", "ann", "--name", "Ann", "--role", "practitioner"),
        *("--password-hash", argon2.PasswordHasher().hash(PASSWORD)),
    )
    return found


async def _added(dsn: str, name: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        return (await tenants.add(connection, name)).id
    finally:
        await connection.close()


def bad(findings: list[Finding]) -> list[str]:
    return [
        f"{one.status} {one.group}: {one.check} -> {one.reason}"
        for one in findings
        if one.status in ("fail", "warn")
    ]


@pytest.mark.parametrize("kind", ["public", "secret", "ES384", "RS384"])
def test_nothing_is_found_with_an_app(served: Served, kind: str, tmp_path: Path) -> None:
    client = served.client(kind, tmp_path)
    if kind not in KEYS:  # a key without a person is a service's
        assert bad(run.look(served.base, client).findings) == []
    report = run.look(served.base, client, Person("ann", PASSWORD, "p1"))
    assert bad(report.findings) == []
    assert sum(one.status == "pass" for one in report.findings) > 60
    skipped = {one.check for one in report.findings if one.status == "skipped" and "TLS" not in one.check}
    assert skipped <= SKIPPED | (UNPROVEN if kind == "public" else FOR_BROWSERS)


@pytest.mark.parametrize("kind", ["ES384", "RS384"])
def test_nothing_is_found_with_a_service(served: Served, kind: str, tmp_path: Path) -> None:
    client = served.client(kind, tmp_path, backend=True)
    assert bad(run.look(served.base, client).findings) == []
