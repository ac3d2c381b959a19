"""What tokens, references and URIs are sorted by, in SQL's words and in Python's."""

from __future__ import annotations

import pytest

from fhirserver.fhir.fhirpath import Node
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.params import ordering
from fhirserver.params.facts import unanswered
from fhirserver.params.registry import r4


@pytest.mark.parametrize(
    ("value", "type_", "expected"),
    [
        ({"coding": [{"code": "b"}, {"code": "a"}], "text": "t"}, "CodeableConcept", ["b", "a"]),
        ({"coding": [{"system": "s"}], "text": "t"}, "CodeableConcept", ["t"]),
        ({"coding": [{"system": "s"}]}, "CodeableConcept", []),
        ({"code": "c", "display": "d"}, "Coding", ["c"]),
        ({"display": "d"}, "Coding", ["d"]),
        ({"system": "s", "value": "v"}, "Identifier", ["v"]),
        ({"identifier": {"value": "v"}, "display": "d"}, "Reference", ["v"]),
        ({"reference": "Patient/1", "display": "d"}, "Reference", ["Patient/1"]),
        ("http://x", "uri", ["http://x"]),
        (True, "boolean", ["true"]),
        ("a\x00b", "string", ["ab"]),
    ],
)
def test_texts(value: object, type_: str, expected: list[str]) -> None:
    assert ordering.texts(Node(value, type_)) == expected


def test_every_parameter_has_something_to_be_sorted_by() -> None:
    """Of R4's only one is no mere path."""
    stored = {
        (type_, code)
        for type_ in ENDPOINT_TYPES
        for code, param in r4().for_type(type_).items()
        if unanswered(param, type_) is None and ordering.is_stored(param, type_)
    }
    assert stored == {("Patient", "deceased")}


def test_paths_come_from_the_definitions() -> None:
    def paths(type_: str, code: str) -> list[tuple[str, str]]:
        param = r4().get(type_, code)
        assert param is not None
        return [(column, path) for column, path, _ in ordering.paths(param, type_) or ()]

    assert paths("Patient", "email") == [("content", '$."telecom" ? (@."system" == "email")[*]')]
    assert paths("Patient", "_tag") == [("meta", '$."tag"[*]')]
    assert paths("Observation", "patient") == [
        ("content", '$."subject" ? (@."reference" like_regex "(^|/)Patient/")[*]')
    ]
