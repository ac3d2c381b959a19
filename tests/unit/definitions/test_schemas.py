"""The tables against the official XML schemas: names, order, cardinality and codes of every element.

The schemas were published from the same specification by another way than the definitions the tables
are derived from, so agreement says that neither the packages nor the derivation changed anything.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from lxml import etree

from fhirserver.fhir import structure as s

XS = "{http://www.w3.org/2001/XMLSchema}"
DIFFERENT = {
    ("Expression", "language"): "the schemas enumerate it, the definitions bind it as extensible",
    (
        "MedicationStatement",
        "status",
    ): "the schemas mix it up with Medication.status: both are MedicationStatusCodes",
}
NUMBERS = {"0": 0, "1": 1, "unbounded": None}


@dataclass(frozen=True, slots=True)
class Row:
    """One element of a schema type; for a choice, one per type, with the choice's cardinality."""

    name: str
    type: str
    min: int
    max: int | None


@pytest.fixture(scope="module")
def schema(schemas: Path) -> etree._Element:
    """The one schema that has everything."""
    return etree.parse(schemas / "fhir-single.xsd").getroot()


def rows(schema_type: etree._Element) -> Iterator[Row]:
    """The elements of a type, in order, without those of its base."""
    for element in schema_type.iter(f"{XS}element"):
        parent = element.getparent()
        holder = parent if parent is not None and parent.tag == f"{XS}choice" else element
        yield Row(
            name=element.get("name") or element.get("ref", "").rpartition(":")[2],
            type=element.get("type", ""),
            min=int(holder.get("minOccurs", "1")),
            max=NUMBERS[holder.get("maxOccurs", "1")],
        )


def pairs(schema: etree._Element) -> Iterator[tuple[s.Structure, list[Row]]]:
    """Each structure that is not primitive, with its own elements in the schema."""
    types = {found.get("name", ""): list(rows(found)) for found in schema.findall(f"{XS}complexType")}
    queue = [(x.name, x.name) for x in s.STRUCTURES.values() if x.kind in ("resource", "complex")]
    seen: set[str] = set()
    while queue:
        path, name = queue.pop()
        if path in seen:
            continue
        seen.add(path)
        yield s.structure(path), types[name]
        for row in types[name]:
            child = s.structure(path).keys[row.name][1]
            if s.structure(child).kind == "backbone":
                queue.append((child, row.type))
    assert seen == {x.name for x in s.STRUCTURES.values() if x.kind != "primitive"}


def own(found: s.Structure) -> dict[str, s.Element]:
    """By JSON property, the elements a type adds to its base, without those XML writes as attributes."""
    inherited = s.structure(found.base).elements if found.base else {}
    return {
        key: element
        for key, (element, _) in found.keys.items()
        if element.name not in inherited and not element.attr
    }


def test_names_order_and_cardinality(schema: etree._Element) -> None:
    checked = 0
    for found, expected in pairs(schema):
        elements = own(found)
        assert sorted(elements) == sorted(row.name for row in expected), found.name
        order = list(dict.fromkeys(element.name for element in elements.values()))
        assert list(dict.fromkeys(elements[row.name].name for row in expected)) == order, found.name
        for row in expected:
            element = elements[row.name]
            assert (element.min, element.max) == (row.min, row.max), (found.name, row)
            checked += 1
    assert checked > 4_000


def test_codes(schema: etree._Element) -> None:
    """Elements of type code with a required binding have an enumerated type in the schemas."""
    lists = {
        found.get("name", ""): [value.get("value", "") for value in found.iter(f"{XS}enumeration")]
        for found in schema.findall(f"{XS}simpleType")
    }
    checked = 0
    for found, expected in pairs(schema):
        for row in expected:
            element, kind = found.keys[row.name]
            codes = lists.get(f"{row.type}-list")
            if kind != "code" or not codes or (found.name, row.name) in DIFFERENT:
                continue
            assert element.binding is not None, (found.name, row.name)
            systems = s.value_set(element.binding)
            assert systems is not None, element.binding
            assert sorted(code for members in systems.values() for code in members) == sorted(codes), (
                element.binding
            )
            checked += 1
    assert checked > 250


def test_regular_expressions(schema: etree._Element) -> None:
    """The lexical spaces of the primitives, where the schemas state them as patterns too.

    The schemas' patterns for date and dateTime let day 00 pass; the definitions' do not.
    """
    checked = 0
    for found in schema.findall(f"{XS}simpleType"):
        name = (found.get("name") or "").removesuffix("-primitive")
        pattern = found.find(f"{XS}restriction/{XS}pattern")
        if pattern is not None and s.is_primitive(name):
            stated = pattern.get("value", "").replace(
                "(-(0[0-9]|[1-2][0-9]|3[0-1])", "(-(0[1-9]|[1-2][0-9]|3[0-1])"
            )
            assert stated == s.structure(name).regex, name
            checked += 1
    assert checked >= 10
