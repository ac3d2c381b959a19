"""What every server knows: HL7's code systems and value sets of R4, currencies, countries and time zones.

https://hl7.org/fhir/R4/terminologies-systems.html. They lie in the tables of `conformance/terminology`
and are read one by one, when they are first asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec

from fhirserver.fhir.structure import Resource
from fhirserver.settings import data_path
from fhirserver.terminology.codesystem import CodeSystem
from fhirserver.terminology.grammars import grammars
from fhirserver.terminology.system import System
from fhirserver.terminology.valueset import ValueSet

VERSION: Final = "4.0.1"
"""Under which R4 names each of its value sets, whatever version of its own that has."""

_FOLDER: Final = "terminology"
_ZONES: Final = "https://www.iana.org/time-zones"
_DISPLAY: Final = {"system": "http://terminology.hl7.org/CodeSystem/designation-usage", "code": "display"}
_BOOLEANS: Final = frozenset({"notSelectable", "inactive", "abstract"})


@cache
def code_system(url: str, version: str | None) -> System | None:
    """The version that is held, if that is asked for or none is. Not those that come without their codes."""
    found = _system(url)
    if found is None or found.content == "not-present" or version not in (None, found.version, VERSION):
        return None
    return found


@cache
def _system(url: str) -> System | None:
    if url in grammars():
        return grammars()[url]
    if url == _ZONES:
        return CodeSystem(_zones())
    row = _systems().get(url) or _iso().get(url)
    return None if row is None else CodeSystem(_code_system(url, msgspec.json.decode(row)))


@cache
def value_set(url: str, version: str | None) -> ValueSet | None:
    """As `code_system`."""
    row = _sets().get(url)
    if row is None:
        return None
    resource = _value_set(url, msgspec.json.decode(row))
    return ValueSet.of(resource) if version in (None, resource.get("version"), VERSION) else None


def value_set_urls() -> Iterator[str]:
    """The URLs of all value sets that every server knows."""
    yield from _sets()


def versions() -> Iterator[tuple[str, str | None]]:
    """URL and version of all code systems that are held with their codes, or whose codes are made by rules.

    Reads them without keeping them.
    """
    yield from ((url, one.version) for url, one in grammars().items())
    yield _ZONES, None
    for rows in (_iso(), _systems()):
        for url, row in rows.items():
            found = msgspec.json.decode(row)
            if found.get("content") != "not-present":
                yield url, found.get("version")


# -- the tables


@cache
def _systems() -> Mapping[str, msgspec.Raw]:
    return _table("codesystems.json")


@cache
def _iso() -> Mapping[str, msgspec.Raw]:
    return _table("iso.json")


@cache
def _sets() -> Mapping[str, msgspec.Raw]:
    return _table("valuesets.json")


def _table(name: str) -> Mapping[str, msgspec.Raw]:
    """Rows by URL, none of them decoded."""
    data = (data_path("conformance") / _FOLDER / name).read_bytes()
    return msgspec.json.decode(data, type=dict[str, msgspec.Raw])


# -- rows as resources: conformance/derive/terminology.py says what they are


def _code_system(url: str, row: dict[str, Any]) -> Resource:
    resource: Resource = {"resourceType": "CodeSystem", "url": url, "content": "complete"} | row
    resource["property"] = [
        {"code": code, "type": type_} | ({"uri": uri} if uri else {})
        for code, uri, type_ in row.get("property", ())
    ]
    resource["concept"] = _concepts(row["concept"])
    return resource


def _value_set(url: str, row: dict[str, Any]) -> Resource:
    compose: dict[str, Any] = {}
    for side in ("include", "exclude"):
        if side in row:
            compose[side] = [_part(part) for part in row.pop(side)]
    if "inactive" in row:
        compose["inactive"] = row.pop("inactive")
    return {"resourceType": "ValueSet", "url": url, **row, "compose": compose}


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if "filter" in part:
        part["filter"] = [{"property": name, "op": op, "value": value} for name, op, value in part["filter"]]
    if "concept" in part:
        part["concept"] = _concepts(part["concept"])
    return part


def _concepts(rows: Iterable[Any]) -> list[dict[str, Any]]:
    return [{"code": row} if isinstance(row, str) else _concept(*row) for row in rows]


def _concept(code: str, display: str | None, *more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"code": code}
    if display is not None:
        found["display"] = display
    for one in more:
        if isinstance(one, list):
            found["concept"] = _concepts(one)
            continue
        named = one.pop("", ())
        if named:
            found["designation"] = [
                {"language": language, "use": _DISPLAY, "value": text} for language, text in named
            ]
        found["property"] = [
            {"code": name, "valueBoolean" if name in _BOOLEANS else "valueCode": value}
            for name, values in one.items()
            for value in values
        ]
    return found


def _zones() -> Resource:
    """The time zones of the database that the server itself goes by."""
    names = (files("tzdata") / "zones").read_text(encoding="utf-8").split()
    return {
        "resourceType": "CodeSystem",
        "url": _ZONES,
        "name": "TimeZones",
        "content": "complete",
        "caseSensitive": True,
        "concept": [{"code": name} for name in sorted(names)],
    }
