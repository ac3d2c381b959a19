"""What a patient reads of the words of a request: what cannot name anybody else, whatever is asked."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import parse_qsl

import pytest

from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.interactions.audit.words import words, words_for
from fhirserver.interactions.call import Call, Services
from fhirserver.interactions.table import resolve
from fhirserver.params.registry import r4

ANNA = "Patient/anna"
NAMING = frozenset({"string", "reference", "uri", "special", "composite"})
IDENTIFYING = frozenset({"identifier", "email", "phone", "telecom", "addresskey"})


def call(path: str, query: list[tuple[str, str]]) -> Call:
    target = resolve("GET", path)
    none = cast("Services", None)
    more: dict[str, Any] = {"base": "http://test", "now": None, "query": tuple(query), "path": path}
    return Call(
        services=none,
        interaction=target.interaction.name,
        type=target.type,
        id=target.id,
        compartment=target.compartment,
        operation=target.interaction.operation,
        **more,
    )


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("Observation?patient=anna", None),
        ("Observation?patient=Patient/anna&code=http://loinc.org|1-8,2-3&date=ge2020&_sort=-date", None),
        ("Observation?subject=Patient/anna&_include=Observation:performer&_count=5", None),
        ("Patient?_id=anna", None),
        ("?_id=anna", None),
        ("Patient/anna/Observation?status=final", None),
        ("Patient/anna/$everything?start=2020-01-01&_type=Observation", None),
        ("DocumentReference/$docref?patient=anna&start=2020-01-01", None),
        ("Observation?patient=anna,bert", "Observation?patient="),
        ("Observation?subject=anna", "Observation?subject="),
        ("Observation?patient=anna&performer=Practitioner/x", "Observation?patient=anna&performer="),
        ("Encounter?patient=anna&subject.name=Bob", "Encounter?patient=anna&subject.name="),
        ("Observation?_has:Task:focus:owner=Patient/b", "Observation?_has:Task:focus:owner="),
        ("Observation?patient=anna&code:not=x", "Observation?patient=anna&code:not="),
        ("Observation?patient=anna&code:text=Bob", "Observation?patient=anna&code:text="),
        ("RelatedPerson?patient=anna&name=Bob&phone=1", "RelatedPerson?patient=anna&name=&phone="),
        ("Patient?family=Example", "Patient?family="),
        ("Patient?link=Patient/bert&birthdate=1970", "Patient?link=&birthdate=1970"),
        ("Observation?_id=anna", "Observation?_id="),
        ("Observation?patient=anna&nonsense=Bob", "Observation?patient=anna&nonsense="),
        ("Observation?patient=anna&_filter=performer eq Bob", "Observation?patient=anna&_filter="),
        ("Patient/bert/Observation?status=final", "Patient/[id]/Observation?status=final"),
        ("Patient/bert/$everything", "Patient/[id]/$everything"),
        ("Encounter/anna/$everything", "Encounter/[id]/$everything"),
    ],
)  # fmt: skip
def test_what_is_told(asked: str, told: str | None) -> None:
    path, _, query = asked.partition("?")
    made = call(path, parse_qsl(query, keep_blank_values=True))
    assert words_for(made, ANNA) == (words(made) if told is None else told)


def test_no_parameter_tells_a_name() -> None:
    """Of every type, each parameter, alone and with what may come after it."""
    for type_ in sorted(ENDPOINT_TYPES):
        for name, param in r4().for_type(type_).items():
            said = [(f"{name}{more}", "Somebody") for more in (":exact", ":not", ".name", ":Patient.name")]
            if param.type in NAMING or name in IDENTIFYING:
                said.append((name, "Somebody"))
            text = words_for(call(type_, said), ANNA)
            assert "Somebody" not in text, (type_, name, text)


RESULTS = {
    *("_sort", "_elements", "_include", "_include:iterate", "_revinclude", "_revinclude:iterate", "_type"),
    *("_summary", "_count", "_total", "_format", "_pretty", "_profile", "_since", "_at", "_tag", "_cursor"),
}


def test_no_value_of_another_shape_is_told() -> None:
    """Of whatever may be said in a search; codes of code systems look like anything."""
    for type_ in ("Observation", "Patient", "Encounter"):
        params = {name for name, one in r4().for_type(type_).items() if one.type != "token"}
        for name in sorted(RESULTS | params | {"status", "gender", "active"}):
            for text in (
                "Somebody",
                "2020-01-01,Somebody",
                "http://Somebody",
                "1||Somebody",
                "1|Somebody|mg",
            ):
                said = words_for(call(type_, [(name, text)]), ANNA)
                assert "Somebody" not in said, (type_, name, text)


@pytest.mark.parametrize(
    "asked",
    [
        "Observation?_sort=-date,status&_elements=status,code&_summary=data&_total=accurate&_count=5",
        "Observation?_include=Observation:subject:Patient&_revinclude=Provenance:target&_pretty=true",
        "Observation?_format=application/fhir+json&_lastUpdated=ge2020-01-01T00:00:00Z",
        "Observation?value-quantity=gt5.4|http://unitsofmeasure.org|mg,5||mm[Hg]&status=final,amended",
        "Patient?active=true&gender=female&birthdate=1970",
        "Patient/anna/_history?_since=2020-01-01&_format=json",
        "?_type=Observation,Patient&_security=R",
    ],
)
def test_what_is_of_its_shape_is_told(asked: str) -> None:
    path, _, query = asked.partition("?")
    made = call(path, parse_qsl(query.replace("+", "%2B"), keep_blank_values=True))
    assert words_for(made, ANNA) == words(made)
