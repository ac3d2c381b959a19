"""Fixtures for every test: databases, and settings that no environment of the machine leaks into."""

import gc
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import pytest

from tests.support import postgres

HERE = Path(__file__).parent
_LONGEST = {
    name: order for order, name in enumerate(("equivalence", "oracle", "crash", "howto", "uscore", "db"))
}
SHARED = Path(__file__).parents[1] / "../shared/data"


def pytest_configure(config: pytest.Config) -> None:
    # CPython 3.11 counts the depth of a syntax tree wrongly when a garbage collector callback (hypothesis
    # has one) runs while pytest rewrites a module: no collection until all modules are read.
    gc.disable()
    if not hasattr(config, "workerinput"):
        postgres.prepare()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        postgres.clean()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what talks to PostgreSQL, so that this part can run alone on another version of it.

    The modules that take longest come first: at the end no worker waits for another's.
    """
    items.sort(key=lambda item: _LONGEST.get(item.path.relative_to(HERE).parts[0], len(_LONGEST)))
    for item in items:
        if {"database", "empty_database", "new_database"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("database")


def pytest_collection_finish() -> None:
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_machine() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name == "DATABASE_URL" or (
                name.startswith("FHIRSERVER_") and not name.startswith("FHIRSERVER_TEST_")
            ):
                patch.delenv(name)
        yield


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The URL of a database with the current schema that only this test module uses."""
    with postgres.database() as dsn:
        yield dsn


@pytest.fixture
def empty_database() -> Iterator[str]:
    """The URL of a database without anything in it, for this test alone."""
    with postgres.database(empty=True) as dsn:
        yield dsn


class NewDatabase(Protocol):
    """Makes a database with the current schema; `empty=True` one without."""

    def __call__(self, *, empty: bool = False) -> AbstractContextManager[str]: ...


@pytest.fixture(scope="session")
def new_database() -> NewDatabase:
    """`with new_database() as dsn:` for tests that need databases of their own, one after the other."""
    return postgres.database


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data folder for an embedded PostgreSQL of this test alone; not made yet."""
    with postgres.data_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of test data beside the project; tests that need it skip, saying so, where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"test data is absent: {SHARED}")
    return SHARED.resolve()
