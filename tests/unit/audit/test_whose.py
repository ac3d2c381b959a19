"""Whose record a resource is, by what its row says: the compartments that the index has."""

from __future__ import annotations

import json
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from fhirserver.fhir.keys import Keys
from fhirserver.fhir.structure import COMPARTMENTS
from fhirserver.interactions.audit.whose import as_told, is_about, mentioned, owners, owners_in, owners_of
from fhirserver.params.index import indexer
from fhirserver.params.registry import r4

KEYS = Keys(b"0123456789abcdef", 1)
INDEX = indexer(r4(), KEYS, ("http://example.org/fhir",), UTC)
OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "o",
    "subject": {"reference": "Patient/anna"},
    "performer": [{"reference": "Patient/bert"}, {"reference": "Practitioner/d"}],
    "focus": [{"reference": "Patient/carl"}],
}
CONSENT: dict[str, Any] = {
    "resourceType": "Consent",
    "id": "c",
    "patient": {"reference": "Patient/anna"},
    "provision": {"actor": [{"reference": {"reference": "Patient/bert"}}]},
}


def test_it_is_the_compartments_of_every_example(shared_data: Path) -> None:
    seen = 0
    for path in sorted((shared_data / "r4-examples-json").glob("*.json")):
        resource = json.loads(path.read_text())
        type_ = resource["resourceType"]
        if type_ not in COMPARTMENTS["Patient"] or type_ == "AuditEvent":
            continue
        id_ = resource.get("id", "x")
        entries = INDEX(type_, id_, resource)
        named = {*mentioned(json.dumps(resource, separators=(",", ":")).encode())} | {f"Patient/{id_}"}
        expected = {one for one in named if KEYS.target(*one.split("/")) in entries.compartments}
        assert set(owners({**resource, "id": id_})) == expected, path.name
        answered = json.dumps({"resourceType": type_, "id": id_, **resource}, separators=(",", ":")).encode()
        assert expected <= set(mentioned(answered)), path.name
        content = {name: value for name, value in resource.items() if name not in ("resourceType", "id")}
        compact = json.dumps(content, separators=(",", ":"))
        assert set(owners_of(type_, id_, compact)) == expected, path.name
        seen += bool(expected)
    assert seen > 100


def test_nobody_looks_closer_only_where_all_is_about_those_who_are_known() -> None:
    about = json.dumps(OBSERVATION, separators=(",", ":")).encode()
    anna = ["Patient/anna", "Patient/bert", "Patient/carl"]
    assert is_about(about, anna) and not is_about(about, anna[:2]) and is_about(b"{}", [])
    # As the database gives it: the id does not follow the type.
    held = b'{"resourceType":"Bundle","entry":[{"resource":{"id":"anna","resourceType":"Patient"}}]}'
    assert owners_in(held) == ["Patient/anna"]
    assert not is_about(held, []) and not is_about(held, ["Patient/bert"])


def test_who_is_only_mentioned_is_not_among_them() -> None:
    assert owners(OBSERVATION) == ["Patient/anna", "Patient/bert"]
    assert owners(CONSENT) == ["Patient/anna"]
    merged = {"type": "replaced-by", "other": {"reference": "Patient/bert"}}
    assert owners({"resourceType": "Patient", "id": "anna", "link": [merged]}) == ["Patient/anna"]


def test_what_holds_resources_is_about_theirs() -> None:
    held = [{"resource": OBSERVATION}, {"part": [{"resource": CONSENT}]}]
    assert owners({"resourceType": "Parameters", "parameter": held}) == ["Patient/anna", "Patient/bert"]
    bundle = json.dumps({"resourceType": "Bundle", "entry": [{"resource": CONSENT}]}, separators=(",", ":"))
    assert owners_in(bundle.encode()) == ["Patient/anna"]
    assert owners_in(bundle.encode().removesuffix(b"]}"), begins=True) == ["Patient/anna"]
    assert set(owners_in(bundle.encode()[:-1])) == {"Patient/anna", "Patient/bert"}


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")], ids=["sent", "stored"])
def test_however_deep_it_is_and_in_whichever_order(separators: tuple[str, str]) -> None:
    herself = {"id": "anna", "resourceType": "Patient"}
    inner = {"resourceType": "Bundle", "entry": [{"resource": herself}]}
    parameters = {"resourceType": "Parameters", "parameter": [{"part": [{"resource": inner}]}]}
    for entry in ({"resource": inner}, {"resource": parameters}, {"response": {"outcome": herself}}):
        bundle = json.dumps({"resourceType": "Bundle", "entry": [entry]}, separators=separators)
        assert owners_in(bundle.encode()) == ["Patient/anna"]
        content = json.dumps({"entry": [entry]}, separators=separators)
        assert owners_of("Bundle", "b", content) == ["Patient/anna"]


def test_of_what_no_compartment_says_all_count() -> None:
    task = {"resourceType": "Task", "for": {"reference": "Patient/anna"}, "focus": {"reference": "Basic/b"}}
    assert owners(task) == ["Patient/anna"]
    assert owners({"resourceType": "Device", "id": "d", "patient": {"reference": "Patient/anna"}}) == [
        "Patient/anna"
    ]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("Patient/anna", "Patient/anna"),
        ("Patient/anna/_history/3", "Patient/anna/_history/3"),
        ("Patient/anna/_history/Bert", "Patient/anna"),
        ("Observation/o/_history/Bert", "Observation/o"),
        ("Patient/annabel", "Patient"),
        ("Patient/bert/_history/1", "Patient"),
        ("Observation/o/_history/1", "Observation/o/_history/1"),
        ("Group/g", "Group"),
        ("Basic/b", "Basic/b"),
        ("Task/t", "Task/t"),
        ("Bundle/b/_history/1", "Bundle/b/_history/1"),
        ("Binary/b", "Binary/b"),
        ("Practitioner/d", "Practitioner"),
    ],
)
def test_an_event_names_to_a_patient_what_may_be_theirs(path: str, told: str) -> None:
    assert as_told("Patient/anna", path) == told
