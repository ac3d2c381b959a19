"""`:above` and `:below` of references: PostgreSQL against a walk, over forests, webs and cycles.

https://hl7.org/fhir/R4/search.html#recursive
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirserver.db.sql import Fragment, sql
from fhirserver.errors import TooCostly
from fhirserver.search import hierarchy, restrict
from tests.db.search.harness import BASES, Harness, Runner
from tests.db.search.meaning import found
from tests.support.share import share

COUNT = 24
FOREIGN = "http://other.org/fhir/Location/top"


def parents() -> dict[str, str | None]:
    """Each location's place: mostly a forest, three of them in a circle, two of them elsewhere."""
    pick = random.Random(20260104)
    made: dict[str, str | None] = {"l0": None, "l1": "l2", "l2": "l3", "l3": "l1", "l4": "l3"}
    for index in range(5, COUNT):
        made[f"l{index}"] = pick.choice([None, FOREIGN, *(f"l{n}" for n in range(index))])
    made["l5"] = FOREIGN
    made["l6"] = "gone"
    return made


PARENTS = parents()


def _reference(target: str, spelling: int) -> dict[str, str]:
    if target == FOREIGN:
        return {"reference": target}
    return {
        "reference": [
            f"Location/{target}",
            f"{BASES[0]}/Location/{target}",
            f"Location/{target}/_history/1",
        ][spelling % 3]
    }


def population() -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for index, (id_, parent) in enumerate(PARENTS.items()):
        part_of = {"partOf": _reference(parent, index)} if parent else {}
        made.append({"resourceType": "Location", "id": id_, **part_of})
    for index, id_ in enumerate([*PARENTS, "gone", FOREIGN]):
        made.append(
            {
                "resourceType": "Procedure",
                "id": f"at-{'foreign' if id_ == FOREIGN else id_}",
                "status": "completed",
                "subject": {"reference": f"Patient/p{index}"},
                "location": _reference(id_, index),
            }
        )
    made += [
        {"resourceType": "CarePlan", "id": "c1", **_plan(), "partOf": [_plan_reference("c2")]},
        {
            "resourceType": "CarePlan",
            "id": "c2",
            **_plan(),
            "partOf": [_plan_reference("c3"), _plan_reference("c4")],
        },
        {"resourceType": "CarePlan", "id": "c3", **_plan(), "basedOn": [_plan_reference("c4")]},
        {"resourceType": "CarePlan", "id": "c4", **_plan()},
        {
            "resourceType": "Task",
            "id": "t1",
            "status": "draft",
            "intent": "plan",
            "focus": _plan_reference("c2"),
        },
        {
            "resourceType": "Task",
            "id": "t2",
            "status": "draft",
            "intent": "plan",
            "focus": {"reference": "Location/l2"},
        },
    ]
    return made


def _plan() -> dict[str, Any]:
    return {"status": "active", "intent": "plan", "subject": {"reference": "Patient/p"}}


def _plan_reference(id_: str) -> dict[str, str]:
    return {"reference": f"CarePlan/{id_}"}


RESOURCES = population()


@pytest.fixture(scope="module")
def db(database: str) -> Iterator[Runner]:
    runner = Runner(database)
    runner.run(runner.harness.clear())
    runner.run(runner.harness.put_all(RESOURCES))
    yield runner
    runner.close()


examples = settings(
    max_examples=share(80),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
hidden_ones = st.sets(st.sampled_from(sorted(PARENTS)), max_size=3)


def below(start: str, hidden: set[str]) -> set[str]:
    """Itself and what leads to it by visible locations."""
    reached = {start}
    for _ in PARENTS:
        reached |= {id_ for id_, parent in PARENTS.items() if parent in reached and id_ not in hidden}
    return reached


def above(start: str, hidden: set[str]) -> set[str]:
    """Itself and what it leads to; what is not there or not to be seen ends the way."""
    reached = {start}
    at: str | None = start
    while at in PARENTS and at not in hidden:
        at = PARENTS[at]
        if at is None or at in reached or at not in PARENTS or at in hidden:
            break
        reached.add(at)
    return reached


def hiding(patch: pytest.MonkeyPatch, ids: set[str]) -> None:
    """From now on nobody may see the locations with these ids."""

    def permitted(_: object, resource_type: str | None, alias: Fragment, action: str) -> Fragment:
        if resource_type != "Location":
            return sql("true")
        return sql("{}.id <> all({}::text[])", alias, sorted(ids))

    patch.setattr(restrict, "permitted", permitted)


@examples
@given(
    st.lists(st.sampled_from([*PARENTS, "gone", FOREIGN]), min_size=1, max_size=2), st.booleans(), hidden_ones
)
def test_references_from_elsewhere(db: Runner, starts: list[str], up: bool, hidden: set[str]) -> None:
    reached = {id_ for start in starts for id_ in (above if up else below)(start, hidden)}
    asked = f"location:{'above' if up else 'below'}={','.join(starts)}"
    with pytest.MonkeyPatch.context() as patch:
        hiding(patch, hidden)
        assert found(db, f"Procedure?{asked}") == {f"at-{'foreign' if r == FOREIGN else r}" for r in reached}


@examples
@given(st.sampled_from([*PARENTS, "gone", FOREIGN]), st.booleans(), hidden_ones)
def test_references_within_the_hierarchy(db: Runner, start: str, up: bool, hidden: set[str]) -> None:
    reached = (above if up else below)(start, hidden)
    asked = f"partof:{'above' if up else 'below'}={start}"
    with pytest.MonkeyPatch.context() as patch:
        hiding(patch, hidden)
        wanted = {id_ for id_, parent in PARENTS.items() if parent in reached and id_ not in hidden}
        assert found(db, f"Location?{asked}") == wanted


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ("Task?focus:below=CarePlan/c3", {"t1"}),
        ("Task?focus:above=CarePlan/c1", {"t1"}),
        ("Task?focus:below=CarePlan/c4,Location/l2", {"t1", "t2"}),
        ("Task?focus:below=l2", {"t2"}),
        ("Task?focus:below=Location/l1", {"t2"}),
        ("CarePlan?based-on:below=c4", {"c3"}),
        ("CarePlan?part-of:below=c4", {"c1", "c2"}),
        ("CarePlan?part-of:above=c1", {"c1", "c2"}),
        ("CarePlan?part-of:above=c2", {"c1", "c2"}),
        ("Procedure?location:Location.partof:below=l2", {"at-l1", "at-l2", "at-l3", "at-l4"}),
        ("Patient?_has:Procedure:patient:location:below=l2", set()),
    ],
)
def test_several_types_and_several_hierarchies(db: Runner, asked: str, wanted: set[str]) -> None:
    if "Procedure?" in asked:
        reached = {id_ for id_, parent in PARENTS.items() if parent in below("l2", set())}
        wanted = {f"at-{id_}" for id_ in reached}
    assert found(db, asked) == wanted


def test_too_many(db: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hierarchy, "MEMBERS_MAX", 3)
    for asked in ("location:below=l0", "location:above=l4"):
        with pytest.raises(TooCostly, match="more than 3 resources"):
            found(db, f"Procedure?{asked}")


def test_deep_chains_end(db: Runner) -> None:
    """A thousand levels, one below the other."""

    async def grow(harness: Harness) -> None:
        await harness.put_all(
            {
                "resourceType": "Organization",
                "id": f"o{level}",
                **({"partOf": {"reference": f"Organization/o{level - 1}"}} if level else {}),
            }
            for level in range(1_000)
        )

    db.run(grow(db.harness))
    assert len(found(db, "Organization?partof:below=o0")) == 999
    assert len(found(db, "Organization?partof:above=o999")) == 999
    db.run(db.harness.delete("Organization", "o500", 1))
    assert len(found(db, "Organization?partof:below=o0")) == 499
    assert found(db, "Organization?partof:above=o999") == {f"o{n}" for n in range(502, 1_000)}
