"""$validate with the profiles of US Core, if the package is beside the project."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.client import request

ARCHIVE: Final = Path(__file__).resolve().parents[2] / "shared/data/us-core-igs/us_core_700.tgz"
PROFILES: Final = "http://hl7.org/fhir/us/core/"


def resources(folder: str, type_: str) -> Iterator[dict[str, Any]]:
    """The resources of a type in a folder of the package."""
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            path, _, name = member.name.rpartition("/")
            stream = archive.extractfile(member) if path == folder and name.endswith(".json") else None
            if stream is not None and name.startswith(f"{type_}-"):
                yield json.loads(stream.read())


def definitions() -> list[bytes]:
    """Requests that store the profiles."""
    found = resources("package", "StructureDefinition")
    return [_post("StructureDefinition", one) for one in found]


def observations() -> list[bytes]:
    """Requests that validate the Observations among the examples, each by the profile that it claims."""
    found = resources("package/example", "Observation")
    return [_post("Observation/$validate", one) for one in found if _is_profiled(one)]


def _is_profiled(resource: dict[str, Any]) -> bool:
    return any(one.startswith(PROFILES) for one in resource.get("meta", {}).get("profile", ()))


def _post(path: str, resource: dict[str, Any]) -> bytes:
    return request("POST", f"/fhir/{path}", json.dumps(resource).encode())
