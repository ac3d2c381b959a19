"""`fhirserver tenant`: names, addresses, and what is refused."""

import asyncio

import asyncpg
import pytest
from typer.testing import CliRunner

from fhirserver.cli.app import app
from tests.conftest import NewDatabase


def tenant(dsn: str, *arguments: str) -> tuple[int, str]:
    environment = {"DATABASE_URL": dsn, "FHIRSERVER_BASE_URL": "https://example.org/fhir"}
    result = CliRunner().invoke(app, ["tenant", *arguments], env=environment)
    return result.exit_code, " ".join(result.output.split())


def test_tenants_are_added_and_listed(new_database: NewDatabase) -> None:
    with new_database() as dsn:
        assert tenant(dsn, "add", "north") == (0, "tenant 2: https://example.org/t/north/fhir")
        assert tenant(dsn, "list") == (
            0,
            "1 default https://example.org/fhir 2 north https://example.org/t/north/fhir",
        )
        code, said = tenant(dsn, "add", "north")
        assert code == 1 and "already" in said


@pytest.mark.parametrize("name", ["North", "1north", "a b", "x" * 64, "north/..", "ü"])
def test_names_that_could_not_stand_in_an_address(database: str, name: str) -> None:
    code, said = tenant(database, "add", name)
    assert code == 2 and "no name of a tenant" in said


def test_a_database_that_is_older(empty_database: str) -> None:
    code, said = tenant(empty_database, "list")
    assert code == 1 and "fhirserver migrate" in said


def test_a_login_that_may_not(new_database: NewDatabase) -> None:
    async def lower(dsn: str) -> None:
        connection = await asyncpg.connect(dsn)
        await connection.execute("REVOKE INSERT ON tenant FROM CURRENT_USER")
        await connection.close()

    with new_database() as dsn:
        asyncio.run(lower(dsn))
        code, said = tenant(dsn, "add", "north")
        assert code == 1 and "the role that migrates" in said
