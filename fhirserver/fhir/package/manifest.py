"""package.json: what a package is called, what it is for, and what it needs.

https://hl7.org/fhir/packages.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fhirserver.errors import Structure, Unprocessable
from fhirserver.fhir import json
from fhirserver.fhir.package.archive import Archive
from fhirserver.fhir.package.versions import is_version

FILE: Final = "package/package.json"
BUILT_IN: Final = frozenset({"hl7.fhir.r4.core", "hl7.fhir.r4.expansions"})
"""What this server is made of: dependencies on these are fulfilled."""
FHIR: Final = re.compile(r"4\.0(\.[0-9]+)?|R4", re.IGNORECASE)
_CORE: Final = re.compile(r"hl7\.fhir\.(r\d[a-z]?)\.(core|expansions)")
_RELEASES: Final = {"r2": "1.0.2", "r3": "3.0.2", "r4": "4.0.1", "r4b": "4.3.0", "r5": "5.0.0", "r6": "6.0.0"}
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)+")
_NAME_LENGTH_MAX: Final = 128
_DEPENDENCIES_MAX: Final = 200
_ALIAS: Final = "@npm:"


@dataclass(frozen=True, slots=True)
class Manifest:
    """`dependencies` are names and what is asked of their versions, as written; `fhir_versions` is empty
    where the package does not say."""

    name: str
    version: str
    canonical: str | None = None
    title: str | None = None
    fhir_versions: tuple[str, ...] = ()
    dependencies: tuple[tuple[str, str], ...] = ()

    @property
    def label(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def is_r4(self) -> bool:
        return not self.fhir_versions or any(FHIR.fullmatch(one) for one in self.fhir_versions)


def is_name(text: str) -> bool:
    """Two or more parts with dots between them; it also stands in addresses."""
    return _NAME.fullmatch(text) is not None and len(text) <= _NAME_LENGTH_MAX


def manifest_of(archive: Archive) -> Manifest:
    """Raises Structure for an archive that is no package, Unprocessable for one of another FHIR version."""
    data = archive.file(FILE)
    if data is None:
        raise Structure(f"{archive.label}: has no {FILE}, so it is no FHIR package")
    try:
        found = read(data)
    except (Structure, Unprocessable) as error:
        raise type(error)(f"{archive.label}: {FILE}: {error}") from None
    if not found.is_r4:
        raise Unprocessable(
            f"{found.label} is for FHIR {', '.join(found.fhir_versions)}; this server speaks 4.0.1"
        )
    return found


def read(data: bytes) -> Manifest:
    """Raises Structure, naming the property."""
    value: Any = json.loads(data)
    if not isinstance(value, dict):
        raise Structure("is not a JSON object")
    name, version = value.get("name"), value.get("version")
    if not isinstance(name, str) or not is_name(name):
        raise Structure(
            f"'name' is {_shown(name)}; it is parts of letters, digits and - with dots between them"
        )
    if not isinstance(version, str) or not is_version(version):
        raise Structure(f"'version' is {_shown(version)}; it is one such as 1.0.0")
    dependencies = _dependencies(value.get("dependencies"))
    return Manifest(
        name,
        version,
        _text(value, "canonical"),
        _text(value, "title"),
        _fhir_versions(value, dependencies),
        dependencies,
    )


def _text(value: Mapping[str, Any], name: str) -> str | None:
    found = value.get(name)
    return found[:1_000] if isinstance(found, str) and found and "\0" not in found else None


def _fhir_versions(value: Mapping[str, Any], dependencies: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """As the package says, or else by the core package that it depends on."""
    for name in ("fhirVersions", "fhir-version-list"):
        given = value.get(name)
        if isinstance(given, list) and given and all(isinstance(one, str) for one in given):
            return tuple(given)
    cores = [found for name, _ in dependencies if (found := _CORE.fullmatch(name))]
    return (_RELEASES.get(cores[0][1], cores[0][1]),) if cores else ()


def _dependencies(given: Any) -> tuple[tuple[str, str], ...]:
    """Names and versions; an alias stands for the package that it names."""
    if given is None:
        return ()
    if not isinstance(given, dict) or not all(isinstance(one, str) for one in given.values()):
        raise Structure("'dependencies' is no object of names and versions")
    if len(given) > _DEPENDENCIES_MAX:
        raise Structure(f"'dependencies' names more than {_DEPENDENCIES_MAX} packages")
    found: list[tuple[str, str]] = []
    for key, version in given.items():
        name = key.partition(_ALIAS)[2] or key
        if version.startswith("npm:"):
            name, _, version = version.removeprefix("npm:").partition("@")
        if not is_name(name):
            raise Structure(f"'dependencies' names {_shown(key)}, which is no name of a package")
        found.append((name, version))
    return tuple(found)


def _shown(value: Any) -> str:
    return "absent" if value is None else repr(value if not isinstance(value, str) else value[:80])[:90]
