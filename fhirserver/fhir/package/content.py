"""The resources of a package: which there are, by what they are known, and what they mention.

https://hl7.org/fhir/packages.html. `.index.json` says nothing that the resources do not, so it is not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from sys import intern
from typing import Any, Final

import msgspec

from fhirserver.errors import Structure
from fhirserver.fhir import json
from fhirserver.fhir.package.archive import Archive
from fhirserver.fhir.package.manifest import Manifest, manifest_of
from fhirserver.fhir.reference import is_id
from fhirserver.fhir.structure import ENDPOINT_TYPES, STRUCTURES, Resource

DEFINITIONS: Final = frozenset(
    name for name in ENDPOINT_TYPES if {"url", "status", "version"} <= STRUCTURES[name].elements.keys()
) - {"Contract", "Device"} | {"NamingSystem"}
"""Types of what has a canonical URL, and NamingSystem, which has none in R4: what a package installs."""

_ROOT: Final = "package/"
_EXAMPLES: Final = ("package/example/", "package/examples/")
_NAMING_SYSTEM_URL: Final = "http://hl7.org/fhir/5.0/StructureDefinition/extension-NamingSystem.url"
_MENTION: Final = re.compile(rb'"((?:https?://|urn:)[^"\\\s|]{1,1000})')


class _Sketch(msgspec.Struct):
    """What is looked at of a resource; whether it is right, validation says."""

    resourceType: Any = None
    id: Any = None
    url: Any = None
    version: Any = None
    kind: Any = None
    type: Any = None
    derivation: Any = None
    abstract: Any = None
    rest: Any = None
    extension: Any = None


_sketch: Final = msgspec.json.Decoder(_Sketch)


@dataclass(frozen=True, slots=True)
class Item:
    """A resource of a package. `url` is empty for one without, which is known by type and id instead.

    `mentions` are the absolute URIs in it, without versions. `profiles`: the type that it constrains, of a
    profile; `serves`: it is a CapabilityStatement of what a server should do.
    """

    file: str
    type: str
    id: str
    url: str
    version: str
    mentions: frozenset[str] = frozenset()
    profiles: str | None = None
    serves: bool = False

    @property
    def canonical(self) -> str:
        """https://hl7.org/fhir/R4/references.html#canonical"""
        if not self.url:
            return f"{self.type}/{self.id}"
        return f"{self.url}|{self.version}" if self.version else self.url


@dataclass(frozen=True, slots=True)
class Content:
    """What a package holds; `passed_over` are files with resources that are not installed."""

    archive: Archive
    manifest: Manifest
    items: tuple[Item, ...]
    passed_over: int


def content_of(archive: Archive, *, examples: bool = False) -> Content:
    """Look through the archive. Raises Structure for what is no JSON, and what `manifest_of` raises."""
    manifest = manifest_of(archive)
    found: dict[tuple[str, str], Item] = {}
    passed_over = 0
    for name, data in archive.files(lambda name: _holds_resource(name, examples)):
        item = _item(manifest, name, data, example=not name.startswith(_ROOT) or name.count("/") > 1)
        if item is None:
            passed_over += 1
            continue
        known = (item.type, item.canonical)
        other = found.get(known)
        if other is not None:
            # Some packages have the same resource under its own name and under that of the guide.
            passed_over += 1
            if other.id != item.id:
                raise Structure(
                    f"{archive.label}: {other.file} and {name} are both {item.type} {item.canonical}"
                )
            item = other if other.file.endswith(f"/{item.type}-{item.id}.json") else item
        found[known] = item
    return Content(archive, manifest, tuple(found.values()), passed_over)


def resources(content: Content, files: frozenset[str]) -> Iterator[tuple[str, Resource]]:
    """The resources in some of the files, decoded. Raises Structure, naming the file."""
    for name, data in content.archive.files(files.__contains__):
        yield name, _decoded(content.archive.label, name, data)


def _holds_resource(name: str, examples: bool) -> bool:
    folder, _, file = name.rpartition("/")
    if not file.endswith(".json") or file.startswith(".") or name == f"{_ROOT}package.json":
        return False
    return f"{folder}/" == _ROOT or (examples and f"{folder}/" in _EXAMPLES)


def _decoded(label: str, name: str, data: bytes) -> Any:
    try:
        return json.loads(data)
    except Structure as error:
        raise Structure(f"{label}: {name}: {error}") from None


def _item(manifest: Manifest, name: str, data: bytes, *, example: bool) -> Item | None:
    """None for what is not installed: other JSON, and examples that lie among the definitions."""
    try:
        sketch = _sketch.decode(data.removeprefix(b"\xef\xbb\xbf"))
    except msgspec.ValidationError:  # an array or the like, which is no resource
        _decoded(manifest.label, name, data)
        return None
    except (ValueError, RecursionError):
        _decoded(manifest.label, name, data)
        raise Structure(f"{manifest.label}: {name}: is no JSON") from None
    type_ = sketch.resourceType
    if not isinstance(type_, str) or type_ not in ENDPOINT_TYPES:
        return None
    url = _url(manifest, sketch) if type_ in DEFINITIONS else ""
    if not url and not example:
        return None
    version = sketch.version if url and isinstance(sketch.version, str) else ""
    known = isinstance(sketch.id, str) and is_id(sketch.id)
    return Item(
        file=name,
        type=type_,
        id=sketch.id if known else blake2b(f"{url}|{name}".encode(), digest_size=16).hexdigest(),
        url=url,
        version=version,
        mentions=frozenset(intern(one.decode(errors="replace")) for one in _MENTION.findall(data)),
        profiles=_profiled(sketch),
        serves=_serves(sketch),
    )


def _url(manifest: Manifest, sketch: _Sketch) -> str:
    """The canonical URL; of a NamingSystem as later versions of FHIR write it, or where guides put it."""
    if isinstance(sketch.url, str) and sketch.url:
        return sketch.url
    if sketch.resourceType != "NamingSystem":
        return ""
    for one in sketch.extension if isinstance(sketch.extension, list) else ():
        if (
            isinstance(one, dict)
            and one.get("url") == _NAMING_SYSTEM_URL
            and isinstance(one.get("valueUri"), str)
        ):
            return one["valueUri"]
    return f"{manifest.canonical or f'urn:fhir:package:{manifest.name}'}/NamingSystem/{sketch.id}"


def _profiled(sketch: _Sketch) -> str | None:
    profile = (sketch.resourceType, sketch.kind, sketch.derivation) == (
        "StructureDefinition",
        "resource",
        "constraint",
    )
    if not profile or sketch.abstract is True or sketch.type not in ENDPOINT_TYPES:
        return None
    return sketch.type


def _serves(sketch: _Sketch) -> bool:
    if sketch.resourceType != "CapabilityStatement" or sketch.kind != "requirements":
        return False
    rest = sketch.rest if isinstance(sketch.rest, list) else ()
    return any(isinstance(one, dict) and one.get("mode") == "server" for one in rest)
