"""What judging costs: each write by its structure, $validate by the profiles of US Core.

The package is looked for beside the project.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter, process_time
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
            if stream is not None and name.startswith(f"{type_}-" if type_ else ""):
                yield json.loads(stream.read())


def install(dsn: str) -> float:
    """Installs the package, as an administrator does; the seconds it took. Raises RuntimeError."""
    what = ["package", "install", str(ARCHIVE), "--offline", "--without-dependencies", "--no-progress"]
    begun = perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "fhirserver", *what],
        env=os.environ | {"DATABASE_URL": dsn},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stderr or done.stdout)
    return perf_counter() - begun


def examples(type_: str = "") -> list[bytes]:
    """Requests that validate the examples, of one type or of all, each by the profile that it claims."""
    found = resources("package/example", type_)
    return [_post(f"{one['resourceType']}/$validate", one) for one in found if _is_profiled(one)]


def structure_us(contents: Sequence[str]) -> float:
    """Processor microseconds that the default write policy takes for one of the resources."""
    from fhirserver.fhir.validate import passes

    read = [json.loads(content) for content in contents]
    for resource in read[:100]:
        passes(resource)
    begun = process_time()
    for resource in read:
        passes(resource)
    return (process_time() - begun) * 1e6 / len(read)


def _is_profiled(resource: dict[str, Any]) -> bool:
    return any(one.startswith(PROFILES) for one in resource.get("meta", {}).get("profile", ()))


def _post(path: str, resource: dict[str, Any]) -> bytes:
    return request("POST", f"/fhir/{path}", json.dumps(resource).encode())
