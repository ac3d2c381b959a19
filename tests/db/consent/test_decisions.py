"""SQL decides as the consents say, read literally: random consents x askers x data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from random import Random

import pytest

from fhirserver.fhir.dates import micros
from fhirserver.policy.consent.asking import MAY
from fhirserver.policy.consent.vocabulary import purposes_of
from tests.db.consent.literal import Ask, Resource, is_permitted
from tests.db.consent.population import asks, consent, data
from tests.db.search.harness import KEYS, Harness, Runner

SEEDS = int(os.environ.get("CONSENT_SEEDS", "12"))
FIRST = int(os.environ.get("CONSENT_FIRST_SEED", "0"))

TABLES = (
    *("consent_rule", "resource_consent", "resource_patient", "resource_observation", "resource_condition"),
    *("resource_documentreference", "resource_task", "tok", "str", "dat", "qty", "words", "term"),
)
"""Where the populations are; to truncate all partitions would take longer than the rest."""

DECIDE = """
SELECT r.type || '/' || r.id AS path,
       consented($1, $2, $3, $4::text[], $5::bigint[], $6::text[], $7, $8, r.type, r.id, r.compartments,
                 r.d_lo, r.d_hi, r.meta, r.content) AS permitted
FROM resource r WHERE r.type <> 'Consent' AND r.died IS NULL
"""


@pytest.fixture
def runner(database: str) -> Iterator[Runner]:
    made = Runner(database)
    yield made
    made.close()


def patients_of(resource: Resource) -> list[str]:
    """Whose compartments it lies in: https://hl7.org/fhir/R4/compartmentdefinition-patient.html"""
    if resource["resourceType"] == "Patient":
        return [f"Patient/{resource['id']}"]
    found = [resource["subject"]["reference"]]
    for name in ("performer", "author", "asserter"):
        holders = resource.get(name, [])
        found += [one["reference"] for one in (holders if isinstance(holders, list) else [holders])]
    return list(dict.fromkeys(one for one in found if one.startswith("Patient/")))


async def decided(harness: Harness, ask: Ask) -> dict[str, bool]:
    keys = [KEYS.target(*one.split("/")) for one in ask.who]
    rows = await harness.connection.fetch(
        DECIDE,
        KEYS.tenant,
        ask.default,
        ask.action,
        list(MAY.get(ask.action, ())),
        keys,
        list(purposes_of(ask.purpose)),
        ask.purpose == "BTG",
        micros(ask.now),
    )
    return {row["path"]: row["permitted"] for row in rows}


async def clear(harness: Harness) -> None:
    for table in TABLES:
        await harness.connection.execute(f"DELETE FROM {table}")


async def check(harness: Harness, seed: int) -> tuple[int, int]:
    pick = Random(seed)
    resources, consents = data(pick), [consent(pick, number) for number in range(pick.choice((1, 1, 2, 4)))]
    await clear(harness)
    await harness.put_all([*resources, *consents])
    world = {f"{one['resourceType']}/{one['id']}": one for one in resources}
    cases = denied = 0
    for ask in asks(pick):
        found = await decided(harness, ask)
        for path, resource in world.items():
            right = is_permitted(consents, ask, resource, patients_of(resource), world)
            assert found[path] == right, (seed, path, ask, resource, consents)
            cases, denied = cases + 1, denied + (not right)
    return cases, denied


def test_sql_decides_as_the_consents_say(runner: Runner) -> None:
    cases = denied = 0
    for seed in range(FIRST, FIRST + SEEDS):
        more, fewer = runner.run(check(runner.harness, seed))
        cases, denied = cases + more, denied + fewer
    assert 0.1 * cases < denied < 0.9 * cases
