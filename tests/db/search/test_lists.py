"""`_list`: https://hl7.org/fhir/R4/search.html#list and https://hl7.org/fhir/R4/lifecycle.html#lists"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirserver.errors import FhirError
from fhirserver.policy.restriction import NOTHING, Permit, Permits
from fhirserver.search import plan
from fhirserver.search.context import Context
from fhirserver.search.parse import Limits, parse
from tests.db.search.harness import BOUNDS, KEYS, NOW, REGISTRY, Runner, query
from tests.support.share import share

Resource = dict[str, Any]
TYPES = ("AllergyIntolerance", "Condition", "Observation", "Patient")
CODINGS = [
    {"system": "http://loinc.org", "code": "52472-8"},
    {"system": "http://loinc.org", "code": "48765-2"},
    {"system": "http://loinc.org", "code": "46105-3"},
    {"system": "http://loinc.org", "code": "8716-3"},
    {"system": "http://terminology.hl7.org/CodeSystem/list-example-use-codes", "code": "allergies"},
    {"system": "http://terminology.hl7.org/CodeSystem/list-example-use-codes", "code": "problems"},
    {"system": "urn:other", "code": "allergies"},
]
MEANS = {
    "$current-problems": {
        ("http://loinc.org", "46105-3"),
        ("http://loinc.org", "11450-4"),
        (CODINGS[4]["system"], "problems"),
    },
    "$current-allergies": {
        ("http://loinc.org", "52472-8"),
        ("http://loinc.org", "48765-2"),
        ("http://loinc.org", "18716-1"),
        (CODINGS[4]["system"], "allergies"),
    },
}
MEANS["$current-drug-allergies"] = MEANS["$current-allergies"]


def _clinical(pick: random.Random, index: int) -> Resource:
    type_ = TYPES[index % 3]
    found: Resource = {"resourceType": type_, "id": f"c{index}"}
    found["patient" if type_ == "AllergyIntolerance" else "subject"] = {
        "reference": f"Patient/p{pick.randrange(4)}"
    }
    if type_ == "AllergyIntolerance":
        found["category"] = pick.sample(["food", "medication"], pick.randint(0, 2))
    return found


def _list(pick: random.Random, index: int, items: list[Resource]) -> Resource:
    found: Resource = {
        "resourceType": "List",
        "id": f"l{index}",
        "status": pick.choice(["current", "current", "current", "retired"]),
        "mode": pick.choice(["working", "working", "snapshot", "changes"]),
        "code": {"coding": [pick.choice(CODINGS)]},
        "entry": [],
    }
    if pick.random() < 0.4:
        found["subject"] = {"reference": f"Patient/p{pick.randrange(4)}"}
    for item in pick.sample(items, pick.randint(0, 14)):
        literal = f"{item['resourceType']}/{item['id']}"
        base = pick.choice(["", "", "http://localhost/fhir/", "http://elsewhere/fhir/"])
        version = pick.choice(["", "", "/_history/1"])
        entry: Resource = {"item": {"reference": base + literal + version}}
        if pick.random() < 0.25:
            entry["deleted"] = True
        found["entry"].append(entry)
        if pick.random() < 0.2:
            found["entry"].append(entry | {"deleted": pick.random() < 0.5})
    found["entry"].append({"item": {"display": "nothing"}})
    return found


def _population() -> list[Resource]:
    pick = random.Random(20260303)
    items = [_clinical(pick, index) for index in range(60)]
    items += [{"resourceType": "Patient", "id": f"p{index}"} for index in range(4)]
    lists = [_list(pick, index, items) for index in range(60)]
    nested = {"resourceType": "List", "id": "nest", "status": "current", "mode": "working", "entry": []}
    nested["entry"] = [{"item": {"reference": "List/l1"}}]
    return [*items, *lists, nested]


POPULATION = _population()
LISTS = [resource for resource in POPULATION if resource["resourceType"] == "List"]


def _patient(resource: Resource) -> str | None:
    return resource.get("patient", resource.get("subject", {})).get("reference")


def _items(list_: Resource) -> set[str]:
    """The references of entries that are there, each without base and version."""
    kept = [entry["item"].get("reference", "") for entry in list_["entry"] if not entry.get("deleted")]
    own = [text.removeprefix("http://localhost/fhir/") for text in kept]
    return {text.partition("/_history")[0] for text in own}


def _is_in(resource: Resource, name: str) -> bool:
    literal = f"{resource['resourceType']}/{resource['id']}"
    if not name.startswith("$"):
        return any(literal in _items(list_) for list_ in LISTS if list_["id"] == name)
    if name == "$current-drug-allergies" and "medication" not in resource.get("category", []):
        return False
    return any(
        literal in _items(list_)
        and list_["status"] == "current"
        and list_["mode"] == "working"
        and any((c["system"], c["code"]) in MEANS[name] for c in list_.get("code", {}).get("coding", ()))
        and (None in (_patient(list_), _patient(resource)) or _patient(list_) == _patient(resource))
        for list_ in LISTS
    )


def expected(type_: str, names: list[str]) -> set[str]:
    return {
        resource["id"]
        for resource in POPULATION
        if resource["resourceType"] == type_ and any(_is_in(resource, name) for name in names)
    }


@pytest.fixture(scope="module", params=BOUNDS, ids=["driven", "in stages", "in order"])
def db(database: str, request: pytest.FixtureRequest) -> Iterator[Runner]:
    runner = Runner(database)
    runner.run(runner.harness.clear())
    runner.run(runner.harness.put_all(POPULATION))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "BOUNDS", request.param)
        yield runner
    runner.close()


examples = settings(
    max_examples=share(150),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
names = st.sampled_from([*(list_["id"] for list_ in LISTS), "none", *MEANS])


@examples
@given(st.sampled_from([*TYPES, "List"]), st.lists(names, min_size=1, max_size=3))
def test_lists(db: Runner, type_: str, asked: list[str]) -> None:
    assert db.ids(f"{type_}?_list={','.join(asked)}") == expected(type_, asked)


@examples
@given(names, names, st.integers(0, 3))
def test_with_other_parameters(db: Runner, one: str, other: str, patient: int) -> None:
    """Both lists, and the patient: `AllergyIntolerance?patient=42&_list=$current-allergies`."""
    wanted = expected("AllergyIntolerance", [one]) & expected("AllergyIntolerance", [other])
    of = {resource["id"] for resource in POPULATION if _patient(resource) == f"Patient/p{patient}"}
    found = db.ids(f"AllergyIntolerance?patient=p{patient}&_list={one}&_list={other}")
    assert found == wanted & of


def test_something_is_on_each_kind_of_list() -> None:
    for name in MEANS:
        type_ = "Condition" if name == "$current-problems" else "AllergyIntolerance"
        assert expected(type_, [name]), name
        assert expected(type_, [name]) != expected(type_, [list_["id"] for list_ in LISTS])
    assert expected("List", ["nest"]) == {"l1"}


def test_spellings(db: Runner) -> None:
    wanted = expected("Condition", ["l1"])
    assert wanted
    for text in ("l1", "List/l1", "http://localhost/fhir/List/l1"):
        assert db.ids(f"Condition?_list={text}") == wanted
    assert db.ids(r"Condition?_list=\$current-problems") == expected("Condition", ["$current-problems"])


def test_across_types_and_in_chains(db: Runner) -> None:
    everything = set().union(*(expected(type_, ["l1"]) for type_ in (*TYPES, "List")))
    assert db.ids("?_list=l1") == everything
    both = expected("Condition", ["l1"]) | expected("Patient", ["l1"])
    assert db.ids("?_type=Condition,Patient&_list=l1") == both
    patients = set().union(*(expected("Patient", [list_["id"]]) for list_ in LISTS))
    of_all = ",".join(list_["id"] for list_ in LISTS)
    of_listed = {
        r["id"]
        for r in POPULATION
        if r["resourceType"] == "Condition" and (_patient(r) or "").removeprefix("Patient/") in patients
    }
    assert of_listed
    assert db.ids(f"Condition?patient._list={of_all}") == of_listed


def test_pages(db: Runner) -> None:
    """A list that changes later is what it was when its first page was read."""
    name = max((list_["id"] for list_ in LISTS), key=lambda name: len(expected("Condition", [name])))
    wanted = expected("Condition", [name])
    asked = query(f"Condition?_list={name}&_count=1")
    first = db.run(db.harness.page(asked))
    emptied = next(list_ for list_ in LISTS if list_["id"] == name) | {"entry": []}
    db.run(db.harness.put(emptied, 2))
    try:
        assert db.ids(f"Condition?_list={name}") == set()
        seen, cursor = [row["id"] for row in first.rows], first.next
        while cursor is not None:
            page = db.run(db.harness.page(asked, cursor))
            seen += [row["id"] for row in page.rows]
            cursor = page.next
        assert len(wanted) > 2
        assert sorted(seen) == sorted(wanted)
    finally:
        db.run(db.harness.clear())
        db.run(db.harness.put_all(POPULATION))


def test_nothing_is_seen_through_what_is_hidden(db: Runner) -> None:
    blind = Context(REGISTRY, KEYS, NOW, NOTHING)
    assert db.run(db.harness.rows(query("Condition?_list=l1"), context=blind)) == []
    of_conditions = Permit(frozenset({"Condition"}), frozenset("rs"))
    context = Context(REGISTRY, KEYS, NOW, Permits((of_conditions,)))
    assert db.run(db.harness.rows(query("Condition?"), context=context))
    for name in ("l1", "$current-problems", "l1,l2"):
        assert db.run(db.harness.rows(query(f"Condition?_list={name}"), context=context)) == []


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("$current-allergy", "these are: $current-allergies"),
        ("$current", "these are: $current-"),
        ("Patient/1", "is not the id of a List"),
        ("List/1/_history/2", "is not the id of a List"),
        ("http://elsewhere/fhir/List/1", "is not the id of a List"),
        ("#x", "is not an id"),
    ],
)
def test_refused(value: str, what: str) -> None:
    with pytest.raises(FhirError) as caught:
        parse(REGISTRY, Limits(own_bases=("http://localhost/fhir",)), "Patient", [("_list", value)])
    assert what in str(caught.value)
