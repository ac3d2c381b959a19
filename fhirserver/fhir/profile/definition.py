"""StructureDefinitions without prose: what is needed to make a snapshot and to judge by it.

https://hl7.org/fhir/R4/structuredefinition.html, https://hl7.org/fhir/R4/elementdefinition.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import msgspec

from fhirserver.errors import Issue, Unprocessable
from fhirserver.settings import data_path

Row = dict[str, Any]
"""An ElementDefinition without prose, in the keys of its JSON. Types have `code`, `profile`, `targetProfile`
and `aggregation`, bindings `strength`, `valueSet`, `maxValueSet` and `minValueSet`."""

TYPE: Final = "StructureDefinition"
PREFIX: Final = "http://hl7.org/fhir/StructureDefinition/"
FHIR_TYPE: Final = PREFIX + "structuredefinition-fhir-type"
ELEMENTS_MAX: Final = 5_000
"""Elements of one definition; the largest of R4 has some 1,000."""

_KEPT: Final = ("id", "path", "sliceName", "min", "max", "base", "contentReference", "maxLength")
_FLAGS: Final = ("mustSupport", "isModifier")
_VALUES: Final = ("fixed", "pattern", "minValue", "maxValue")
_SYSTEM: Final = "http://hl7.org/fhirpath/System."
_BINDING_EXTENSIONS: Final = {
    PREFIX + "elementdefinition-maxValueSet": "maxValueSet",
    PREFIX + "elementdefinition-minValueSet": "minValueSet",
}
_CONSTRAINT: Final = ("key", "severity", "human", "expression", "source")


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """A StructureDefinition. `elements` is its snapshot, or its differential where `differential` says so.

    `context` are pairs of type and expression: where an extension may stand.
    """

    url: str
    version: str | None
    type: str
    kind: str
    base: str | None
    derivation: str | None
    abstract: bool
    title: str
    context: tuple[tuple[str, str], ...]
    context_invariants: tuple[str, ...]
    elements: tuple[Row, ...]
    differential: bool = False

    @property
    def is_profile(self) -> bool:
        return self.derivation == "constraint"

    @property
    def canonical(self) -> str:
        return self.url if self.version is None else f"{self.url}|{self.version}"


def read(resource: Mapping[str, Any], *, differential: bool = False) -> Definition:
    """From a structurally valid StructureDefinition; with `differential` its snapshot is not looked at.

    Raises Unprocessable for one that defines no elements, too many, or lacks what it is for.
    """
    url, type_ = resource.get("url"), resource.get("type")
    given = () if differential else resource.get("snapshot", {}).get("element", ())
    elements = given or resource.get("differential", {}).get("element", ())
    if not isinstance(url, str) or not isinstance(type_, str):
        raise _unusable("it needs a url and a type", TYPE)
    if len(elements) > ELEMENTS_MAX:
        raise _unusable(f"it has {len(elements)} elements; {ELEMENTS_MAX} is the limit", TYPE)
    if not given and resource.get("derivation") != "constraint":
        raise _unusable(
            "without a snapshot it must be a constraint on another definition", f"{TYPE}.snapshot"
        )
    return Definition(
        url=url,
        version=resource.get("version"),
        type=type_,
        kind=resource.get("kind", ""),
        base=resource.get("baseDefinition"),
        derivation=resource.get("derivation"),
        abstract=resource.get("abstract", False),
        title=resource.get("title") or resource.get("name") or url,
        context=tuple((one["type"], one["expression"]) for one in resource.get("context", ())),
        context_invariants=tuple(resource.get("contextInvariant", ())),
        elements=tuple({**_ANY_NUMBER, **_row(element)} if given else _row(element) for element in elements),
        differential=not given,
    )


_ANY_NUMBER: Final[Row] = {"min": 0, "max": "*"}
"""What an element of a snapshot allows that does not say it, although it must."""


def _unusable(text: str, where: str) -> Unprocessable:
    return Unprocessable(
        issues=[Issue("error", "business-rule", f"the definition cannot be used: {text}", where)]
    )


def _row(element: Mapping[str, Any]) -> Row:
    row: Row = {key: element[key] for key in _KEPT if key in element}
    row |= {key: True for key in _FLAGS if element.get(key)}
    row |= {key: value for key, value in element.items() if key.startswith(_VALUES)}
    if "type" in element:
        row["type"] = [_type(one) for one in element["type"]]
    if "slicing" in element:
        row["slicing"] = {key: value for key, value in element["slicing"].items() if key != "description"}
    if "binding" in element:
        row["binding"] = _binding(element["binding"])
    if "constraint" in element:
        row["constraint"] = [
            {key: one[key] for key in _CONSTRAINT if key in one} for one in element["constraint"]
        ]
    return row


def _type(type_: Mapping[str, Any]) -> Row:
    """FHIRPath's types become FHIR's: https://hl7.org/fhir/R4/elementdefinition.html#primitives"""
    stated = _extension_values(type_, {FHIR_TYPE: "code"}).get("code")
    code = stated or str(type_.get("code", "")).removeprefix(_SYSTEM)
    if not stated and str(type_.get("code", "")).startswith(_SYSTEM):
        code = code[:1].lower() + code[1:]
    return {
        "code": code,
        **{key: type_[key] for key in ("profile", "targetProfile", "aggregation") if key in type_},
    }


def _binding(binding: Mapping[str, Any]) -> Row:
    row: Row = {"strength": binding.get("strength")}
    if "valueSet" in binding:
        row["valueSet"] = binding["valueSet"]
    return row | _extension_values(binding, _BINDING_EXTENSIONS)


def _extension_values(holder: Mapping[str, Any], names: Mapping[str, str]) -> Row:
    return {
        names[extension["url"]]: value
        for extension in holder.get("extension", ())
        if extension.get("url") in names
        for key, value in extension.items()
        if key.startswith("value")
    }


# -- R4's own


class _R4:
    """The definitions of R4, each decoded when it is first asked for."""

    def __init__(self) -> None:
        data = (data_path("conformance") / "snapshots.json").read_bytes()
        table = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        self._raw = msgspec.json.decode(table["definitions"], type=dict[str, msgspec.Raw])
        rows: Iterable[list[str | None]] = msgspec.json.decode(table["constraints"])
        self._constraints = [
            {key: value for key, value in zip(_CONSTRAINT, row, strict=True) if value is not None}
            for row in rows
        ]
        self._known: dict[str, Definition] = {}

    def get(self, url: str) -> Definition | None:
        found = self._known.get(url)
        if found is None and url in self._raw:
            found = self._known[url] = self._definition(url, msgspec.json.decode(self._raw[url]))
        return found

    def urls(self) -> Iterable[str]:
        return self._raw

    def _definition(self, url: str, entry: dict[str, Any]) -> Definition:
        return Definition(
            url=url,
            version=VERSION,
            type=entry["type"],
            kind=entry["kind"],
            base=entry.get("base"),
            derivation=entry.get("derivation"),
            abstract=entry.get("abstract", False),
            title=entry.get("title", entry["type"]),
            context=tuple((kind, expression) for kind, expression in entry.get("context", ())),
            context_invariants=tuple(entry.get("contextInvariant", ())),
            elements=tuple(self._element(row) for row in entry["elements"]),
        )

    def _element(self, row: Row) -> Row:
        row.setdefault("id", row["path"])
        if "constraint" in row:
            row["constraint"] = [self._constraints[number] for number in row["constraint"]]
        return row


VERSION: Final = "4.0.1"


@cache
def _r4() -> _R4:
    return _R4()


def of_r4(url: str) -> Definition | None:
    """One of R4's types, profiles and extensions by URL, with its snapshot; None when it is none of them."""
    return _r4().get(url)


def urls_of_r4() -> tuple[str, ...]:
    """The URLs that `of_r4` knows."""
    return tuple(_r4().urls())
