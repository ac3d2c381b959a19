"""Real resources to validate and to spoil."""

from pathlib import Path
from typing import Any

import pytest

from fhirserver.fhir import json

Resource = dict[str, Any]


class Pool(list[Resource]):
    """Resources to choose from, which a failing property need not print."""

    def __repr__(self) -> str:
        return f"<{len(self)} resources>"


@pytest.fixture(scope="session")
def examples(shared_data: Path) -> dict[str, Resource]:
    """The official examples by file name."""
    files = sorted((shared_data / "r4-examples-json").glob("*.json"))
    return {file.name: json.loads(file.read_bytes()) for file in files}


@pytest.fixture(scope="session")
def bundles(shared_data: Path) -> dict[str, Resource]:
    """The transactions of Synthea and of the US Core patients by file name."""
    files = [*sorted((shared_data / "synthea-r4").glob("*.json"))]
    files += sorted((shared_data / "us-core-patients").glob("*bundle*.json"))
    return {file.name: json.loads(file.read_bytes()) for file in files}
