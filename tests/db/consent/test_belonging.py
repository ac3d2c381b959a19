"""SQL and the literal evaluator agree on who belongs to what now: random roles, houses, teams and groups."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from fhirserver.policy.consent import Asking
from fhirserver.search.consent import actors
from tests.db.consent.literal import Resource, belonging
from tests.db.search.harness import KEYS, Harness, Runner

SEEDS = 20
USER = "Practitioner/d"
PEOPLE = (USER, "Practitioner/e")
HOUSES = tuple(f"Organization/o{number}" for number in range(4))
ROLES = tuple(f"PractitionerRole/r{number}" for number in range(3))
BEFORE, AFTER = ("2001", "2011-02", "2020-01-01", "2021-01-01T00:00:00Z"), ("2990", "2991-05-06")


@pytest.fixture
def runner(database: str) -> Iterator[Runner]:
    made = Runner(database)
    yield made
    made.close()


def period(pick: Random) -> Resource:
    """Often none; over, now or to come."""
    lo, hi = sorted(pick.sample([*BEFORE, *AFTER], 2))
    return pick.choice(
        ({}, {}, {"period": pick.choice(({"start": lo}, {"end": hi}, {"start": lo, "end": hi}))})
    )


def perhaps(pick: Random, name: str, *values: Any) -> Resource:
    return {name: pick.choice(values)} if pick.random() < 0.4 else {}


def ref(path: str) -> Resource:
    return {"reference": path}


def world_of(pick: Random) -> list[Resource]:
    found: list[Resource] = []
    for path in HOUSES:
        found.append({"id": path.split("/")[1], **perhaps(pick, "partOf", *(ref(one) for one in HOUSES))})
        found[-1]["resourceType"] = "Organization"
    for path in ROLES:
        role = {"resourceType": "PractitionerRole", "id": path.split("/")[1], **period(pick)}
        role |= {"practitioner": ref(pick.choice(PEOPLE)), "organization": ref(pick.choice(HOUSES))}
        found.append({**role, **perhaps(pick, "active", True, False)})
    for number in range(4):
        members = [{"member": ref(pick.choice((*PEOPLE, *ROLES, *HOUSES))), **period(pick)} for _ in "ab"]
        team = {"resourceType": "CareTeam", "id": f"t{number}", "participant": members, **period(pick)}
        found.append({**team, "status": pick.choice(("active", "active", "inactive"))})
        members = [
            {
                "entity": ref(pick.choice((*PEOPLE, *ROLES))),
                **period(pick),
                **perhaps(pick, "inactive", True, False),
            }
            for _ in "ab"
        ]
        group = {"resourceType": "Group", "id": f"g{number}", "type": "practitioner", "member": members}
        found.append({**group, "actual": pick.random() < 0.8, **perhaps(pick, "active", True, False)})
    return found


async def check(harness: Harness, seed: int) -> int:
    resources = world_of(Random(seed))
    for type_ in ("organization", "practitionerrole", "careteam", "group"):
        await harness.connection.execute(f"DELETE FROM resource_{type_}")
    await harness.put_all(resources)
    text, args = actors(KEYS, Asking(actors=(("Practitioner", "d"),))).numbered()
    found: list[int] = await harness.connection.fetchval(f"SELECT {text}", *args) or []
    world = {f"{one['resourceType']}/{one['id']}": one for one in resources}
    right = belonging(USER, world, datetime.now(UTC))
    assert set(found) == {KEYS.target(*one.split("/")) for one in right}, (seed, right, resources)
    return len(right)


def test_sql_knows_who_belongs_to_what_now(runner: Runner) -> None:
    counts = [runner.run(check(runner.harness, seed)) for seed in range(SEEDS)]
    assert min(counts) < 4 < max(counts)
