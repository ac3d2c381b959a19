"""The official examples, read once for the tests of the XML form."""

from pathlib import Path
from typing import Any

import pytest

from fhirserver.fhir import json

DATA = Path(__file__).parents[3] / "../shared/data"


def _folder(name: str) -> Path:
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"the shared test data has no folder {name}")
    return folder


@pytest.fixture(scope="session")
def examples() -> dict[str, dict[str, Any]]:
    """File name without ending -> resource, for every official R4 example."""
    paths = sorted(_folder("r4-examples-json").glob("*.json"))
    return {path.stem: json.loads(path.read_bytes()) for path in paths}


@pytest.fixture(scope="session")
def xml_examples() -> dict[str, bytes]:
    """File name without ending -> document, for the official examples in XML."""
    return {path.stem: path.read_bytes() for path in sorted(_folder("r4-examples-xml").glob("*.xml"))}


@pytest.fixture(scope="session")
def schemas() -> Path:
    """The folder of the official XML schemas."""
    return _folder("xsd-r4")
