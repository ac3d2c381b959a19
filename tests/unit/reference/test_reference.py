"""Literal references: https://hl7.org/fhir/R4/references.html"""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.fhir.reference import Reference, is_id, is_resource_type, parse, parse_canonical
from fhirserver.fhir.structure import RESOURCE_TYPES

BASES = ("https://ehr.example/fhir", "http://localhost:8000/fhir")
EXAMPLES = Path(__file__).parents[3] / "../shared/data/r4-examples-json"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Patient/1", Reference("Patient", "1")),
        ("Patient/1/_history/3", Reference("Patient", "1", "3")),
        ("https://ehr.example/fhir/Patient/1", Reference("Patient", "1")),
        ("http://localhost:8000/fhir/Patient/1/_history/2", Reference("Patient", "1", "2")),
        (
            "https://ehr.example/fhir2/Patient/1",
            Reference("Patient", "1", None, "https://ehr.example/fhir2/Patient/1"),
        ),
        (
            "https://other.example/a/Patient/1/_history/2",
            Reference("Patient", "1", "2", "https://other.example/a/Patient/1"),
        ),
        ("#p1", Reference(fragment="p1")),
        ("#", Reference(fragment="")),
        (
            "urn:uuid:6d3c1b8e-1c1a-4c7e-9a3b-2f0a4b5c6d7e",
            Reference(url="urn:uuid:6d3c1b8e-1c1a-4c7e-9a3b-2f0a4b5c6d7e"),
        ),
        ("urn:oid:1.2.3", Reference(url="urn:oid:1.2.3")),
        ("http://x.example/vs|2.0#a", Reference(None, None, "2.0", "http://x.example/vs", "a")),
        ("Patient?identifier=a|b", Reference(type="Patient", query="identifier=a|b")),
        ("https://ehr.example/fhir/Patient?_id=1", Reference(type="Patient", query="_id=1")),
        (
            "Observation?subject=https://ehr.example/fhir/Patient/1",
            Reference(type="Observation", query="subject=https://ehr.example/fhir/Patient/1"),
        ),
        ("Nonsense/1", Reference(url="Nonsense/1")),
        ("patient/1", Reference(url="patient/1")),
        ("a/Patient/1", Reference(url="a/Patient/1")),
        ("Patient/" + "x" * 65, Reference(url="Patient/" + "x" * 65)),
        ("Patient/1/", Reference(url="Patient/1/")),
        ("Patient/1\n", Reference(url="Patient/1\n")),
        ("", Reference(url="")),
    ],
)
def test_parts(text: str, expected: Reference):
    assert parse(text, BASES) == expected


def test_kinds():
    assert parse("Patient/1").is_local
    assert not parse("http://other.example/Patient/1").is_local
    assert parse("#a").is_contained
    assert not parse("http://x.example/vs#a").is_contained
    assert parse("Patient?a=b").is_conditional


IDS = st.text(alphabet="abcXYZ019-.", min_size=1, max_size=64)


@given(
    st.sampled_from(sorted(RESOURCE_TYPES)),
    IDS,
    st.none() | IDS,
    st.sampled_from(["", *BASES, "http://o.example/x"]),
)
def test_the_literal_parses_to_the_same(type_: str, id_: str, version: str | None, base: str):
    relative = f"{type_}/{id_}" + (f"/_history/{version}" if version else "")
    text = f"{base}/{relative}" if base else relative
    found = parse(text, BASES)
    assert (found.type, found.id, found.version) == (type_, id_, version)
    assert found.literal() == (text if base.startswith("http://o.") else relative)
    assert parse(found.literal(), BASES) == found


@given(st.text(max_size=400))
def test_any_text_is_taken_and_kept(text: str):
    found = parse(text)
    assert found.is_local or found.is_contained or found.is_conditional or found.url is not None
    assert parse(found.literal()) == found


def test_canonicals():
    assert parse_canonical("http://x.example/Patient/1|4") == Reference(
        None, None, "4", "http://x.example/Patient/1"
    )
    assert parse_canonical("http://x.example/q#item") == Reference(
        None, None, None, "http://x.example/q", "item"
    )


@pytest.mark.parametrize(
    ("text", "valid"),
    [("a", True), ("A-1.b", True), ("", False), ("a" * 65, False), ("a_b", False), ("a\n", False)],
)
def test_ids(text: str, valid: bool):
    assert is_id(text) is valid


def test_types():
    assert is_resource_type("Observation")
    assert not is_resource_type("DomainResource")
    assert not is_resource_type("Quantity")


def test_the_references_of_the_official_examples_survive():
    if not EXAMPLES.exists():
        pytest.skip("the R4 examples are not there")
    texts: set[str] = set()

    def visit(value: object) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("reference"), str):
                texts.add(value["reference"])
            for inner in value.values():
                visit(inner)
        elif isinstance(value, list):
            for inner in value:
                visit(inner)

    for path in EXAMPLES.glob("*.json"):
        visit(json.loads(path.read_bytes()))
    assert len(texts) > 900
    assert [text for text in texts if parse(text).literal() != text] == []
