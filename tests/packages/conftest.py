"""Packages through the command and the door."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fhirserver.cli.app import app
from tests.conftest import NewDatabase

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def fresh(new_database: NewDatabase) -> Iterator[str]:
    """A database of this test alone."""
    with new_database() as dsn:
        yield dsn


@pytest.fixture
def command(fresh: str) -> Command:
    """Runs `fhirserver package`; the exit code, and what was said with white space made one blank."""

    def run(*arguments: object, **environment: str) -> tuple[int, str]:
        variables = {"DATABASE_URL": fresh, "FHIRSERVER_PACKAGE_REGISTRIES": "off", **environment}
        result = CliRunner().invoke(app, ["package", *map(str, arguments)], env=variables)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, " ".join(result.output.split())

    return run


@pytest.fixture
def guides(shared_data: Path) -> Path:
    """US Core as it was published."""
    return shared_data / "us-core-igs"
