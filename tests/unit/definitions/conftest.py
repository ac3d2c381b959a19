"""The official examples and schemas, against which the derived tables are held."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
DATA = ROOT / "../shared/data"


def data(folder: str) -> Path:
    """A folder of the shared test data; the test is skipped when it is absent."""
    path = DATA / folder
    if not path.is_dir():
        pytest.skip(f"test data {path} is absent")
    return path


@pytest.fixture(scope="session")
def examples() -> dict[str, dict[str, Any]]:
    """The official R4 example resources by file name."""
    return {
        path.name: json.loads(path.read_bytes()) for path in sorted(data("r4-examples-json").glob("*.json"))
    }


@pytest.fixture(scope="session")
def schemas() -> Path:
    """The folder of the official R4 XML schemas."""
    return data("xsd-r4")


@pytest.fixture(scope="session")
def parameters() -> list[dict[str, Any]]:
    """The official search parameters, uncorrected."""
    return json.loads((ROOT / "search_params" / "r4.json").read_bytes())


@pytest.fixture(scope="session")
def corrections() -> list[dict[str, Any]]:
    """The corrections to them."""
    return json.loads((ROOT / "search_params" / "corrections.json").read_bytes())


@pytest.fixture(scope="session")
def table() -> dict[str, dict[str, Any]]:
    """The structure table as committed."""
    return json.loads((ROOT / "conformance" / "structures.json").read_bytes())


@pytest.fixture
def archives() -> Iterator[Path]:
    """The folder with both definition packages."""
    folder = ROOT / ".definitions"
    if not folder.is_dir():
        pytest.skip(
            "the definition packages are not cached in .definitions: run conformance/generate.py once"
        )
    yield folder
