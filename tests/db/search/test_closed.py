"""`:not` of elements that hold one code of a few, whatever it leaves and whichever way it is found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirserver.fhir.structure import value_set
from fhirserver.params.closed import closed_codes, other_key
from tests.db.search.harness import INDEX, KEYS, REGISTRY, Runner
from tests.db.search.oracle import token_holds
from tests.support.share import share

SYSTEMS = {
    "Encounter": "http://hl7.org/fhir/encounter-status",
    "Task": "http://hl7.org/fhir/task-status",
    "Slot": "http://hl7.org/fhir/slotstatus",
}
"""Types with a common state, with one that most are in, and without any such."""
_NO_VALUE = [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]


def codes(type_: str) -> list[str]:
    return sorted(closed_codes(REGISTRY.for_type(type_)["status"], type_))


def resources() -> Iterator[dict[str, Any]]:
    """Each state of each type twice, and one that has none."""
    for type_ in SYSTEMS:
        for number, code in enumerate(codes(type_) * 2):
            yield {"resourceType": type_, "id": f"{type_.lower()}-{number}", "status": code}
        yield {
            "resourceType": type_,
            "id": f"{type_.lower()}-none",
            "_status": {"extension": _NO_VALUE},
        }


POPULATION = list(resources())


@pytest.fixture(scope="module")
def runner(database: str) -> Iterator[Runner]:
    made = Runner(database)
    made.run(made.harness.put_all(POPULATION))
    yield made
    made.close()


@st.composite
def questions(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A type and the values of `status:not`."""
    type_ = draw(st.sampled_from(sorted(SYSTEMS)))
    code = st.sampled_from([*codes(type_), "no-such-code"])
    system = st.sampled_from([SYSTEMS[type_], "http://elsewhere"])
    token = st.one_of(
        code,
        code.map(str.upper),
        st.tuples(system, code).map("|".join),
        code.map(lambda one: f"|{one}"),
        system.map(lambda one: f"{one}|"),
    )
    return type_, draw(st.lists(token, min_size=1, max_size=12))


@settings(max_examples=share(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(questions(), st.sampled_from(["", "&_sort=_id", "&_sort=-_lastUpdated"]))
def test_not_is_what_is_left(runner: Runner, question: tuple[str, list[str]], sort: str) -> None:
    type_, values = question
    expected = {
        one["id"]
        for one in POPULATION
        if one["resourceType"] == type_
        and not any(
            token_holds(value, SYSTEMS[type_] if "status" in one else None, one.get("status"), False)
            for value in values
        )
    }
    assert runner.ids(f"{type_}?status:not={','.join(values)}{sort}") == expected
    assert runner.run(runner.harness.count(f"{type_}?status:not={','.join(values)}")) == len(expected)


def test_the_janitor_finds_their_rows() -> None:
    """By the keys of the row: `tok` has no other way to the rows of a version."""
    for one in POPULATION:
        entries = INDEX(one["resourceType"], one["id"], one)
        assert set(entries.tok) <= set(entries.keys[1:])
        lacking = other_key(KEYS, one["resourceType"], "status") in entries.tok
        assert lacking is ("status" not in one)


def test_which_elements_they_are() -> None:
    """States that have to be there; not what is optional, repeats or has too many codes."""
    assert closed_codes(REGISTRY.for_type("Task")["status"], "Task").keys() == set().union(
        *(value_set("http://hl7.org/fhir/ValueSet/task-status") or {}).values()
    )
    for type_, code in [
        ("Patient", "gender"),
        ("Observation", "code"),
        ("Observation", "category"),
        ("GraphDefinition", "start"),
        ("Appointment", "part-status"),
        ("Patient", "identifier"),
    ]:
        assert closed_codes(REGISTRY.for_type(type_)[code], type_) == {}, (type_, code)
