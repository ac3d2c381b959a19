"""A server as the how-tos begin: filled while nobody signs in, and started again so that everybody does."""

from collections.abc import Iterator

import pytest

from tests.browser.conftest import Open, app_files, browser, opened
from tests.howto.pages import Reader, blocks
from tests.support.server import process

__all__ = ["Open", "app_files", "browser", "opened"]  # fixtures of the browser tests

Settings = dict[str, str]


@pytest.fixture(scope="module")
def settings(database: str) -> Settings:
    return {"DATABASE_URL": database, "FHIRSERVER_DEVELOPMENT": "true", "FHIRSERVER_SITE_NAME": "Clinic"}


@pytest.fixture(scope="module")
def filled(settings: Settings, database: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The database with Anna's record, as `smart-apps.md` fills it."""
    with process(environment=settings) as server:
        Reader(tmp_path_factory.mktemp("filling"), server, database).type(blocks("smart-apps.md", "sh")[0])
    return database


@pytest.fixture(scope="module")
def reader(settings: Settings, filled: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with process("--auth", "smart", environment=settings) as server:
        yield Reader(tmp_path_factory.mktemp("reader"), server, filled)
