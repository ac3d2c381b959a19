"""Every case is decided alike by SQL, by the literal evaluator and by who wrote it; R4's examples too."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fhirserver.policy.consent import compile_consent
from tests.db.consent.cases import CASES, D1, DOC, Case, observation, written
from tests.db.consent.literal import Ask, is_permitted
from tests.db.consent.test_decisions import clear, decided, patients_of
from tests.db.search.harness import KEYS, Runner

PATIENTS = [{"resourceType": "Patient", "id": id_} for id_ in ("p0", "p1")]


def test_the_page_has_the_cases() -> None:
    """`make docs` writes them."""
    assert DOC.read_text() == written(DOC.read_text())


@pytest.fixture(scope="module")
def runner(database: str) -> Any:
    made = Runner(database)
    yield made
    made.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.line}: {case.name}")
def test_case(runner: Runner, case: Case) -> None:
    here = f"{case.resource['resourceType']}/{case.resource['id']}"
    stored = [one for one in PATIENTS if f"Patient/{one['id']}" != here]
    resources = [*stored, *case.others, case.resource]
    world = {f"{one['resourceType']}/{one['id']}": one for one in resources}
    patients = patients_of(case.resource)
    literally = is_permitted(case.consents, case.ask, case.resource, patients, world)
    assert literally == case.permitted
    runner.run(clear(runner.harness))
    runner.run(runner.harness.put_all([*resources, *case.consents]))
    assert runner.run(decided(runner.harness, case.ask))[here] == case.permitted


EXAMPLES = Path(__file__).parents[3] / "../shared/data/r4-examples-json"
OF_F001 = observation(subject={"reference": "Patient/f001"})
KEPT: dict[str, Any] = {"resourceType": "Patient", "id": "f001"}
TASK: dict[str, Any] = {"resourceType": "Task", "id": "example3", "focus": {"reference": "Observation/o"}}
ORG = "Organization/f001"
ON_EXAMPLES: list[tuple[str, str, str, dict[str, Any], bool]] = [
    # name, who asks, when, for what, permitted; for research, which nothing but a consent permits
    ("Emergency", D1, "2016-01-01", OF_F001, False),
    ("Out", D1, "2016-01-01", OF_F001, False),
    ("grantor", "Patient/example", "2016-01-01", OF_F001, False),
    ("notAuthor", D1, "2016-01-01", {**KEPT, "managingOrganization": {"reference": ORG}}, False),
    ("notAuthor", D1, "2016-01-01", {**KEPT, "managingOrganization": {"reference": "Organization/2"}}, True),
    ("notOrg", ORG, "2016-01-01", OF_F001, False),
    ("notOrg", D1, "2016-01-01", OF_F001, True),
    ("notThem", "Practitioner/f204", "2016-01-01", OF_F001, False),
    ("notThem", D1, "2016-01-01", OF_F001, True),
    ("notThis", D1, "2016-01-01", OF_F001, False),
    ("notThis", D1, "2016-01-01", {**OF_F001, "id": "other"}, True),
    ("notTime", D1, "2015-01-31", OF_F001, False),  # issued in November only
    ("pkb", ORG, "2017-01-01", observation(subject={"reference": "Patient/example"}), False),
    ("signature", D1, "2016-06-01", observation(subject={"reference": "Patient/72"}), True),
    ("signature", "Practitioner/13", "2016-06-01", observation(subject={"reference": "Patient/72"}), False),
    ("signature", D1, "2016-10-11", observation(subject={"reference": "Patient/72"}), False),
    (
        "smartonfhir",
        D1,
        "2016-06-23T17:10:00+10:00",
        observation(subject={"reference": "Patient/xcda"}),
        True,
    ),
    (
        "smartonfhir",
        D1,
        "2016-06-23T17:40:00+10:00",
        observation(subject={"reference": "Patient/xcda"}),
        False,
    ),
]


@pytest.mark.parametrize(("name", "who", "when", "resource", "permitted"), ON_EXAMPLES)
def test_r4s_own_examples(
    runner: Runner, name: str, who: str, when: str, resource: dict[str, Any], permitted: bool
) -> None:
    if not EXAMPLES.is_dir():
        pytest.skip("the shared test data has no folder r4-examples-json")
    consent = json.loads((EXAMPLES / f"consent-example-{name}.json").read_text())
    patients = patients_of(resource)
    stored = [{"resourceType": "Patient", "id": one.split("/")[1]} for one in patients]
    resources = [*(one for one in stored if one["id"] != resource["id"]), TASK, resource]
    world = {f"{one['resourceType']}/{one['id']}": one for one in resources}
    now = datetime.fromisoformat(when)
    ask = Ask(frozenset({who}), "access", "HRESCH", False, now if now.tzinfo else now.replace(tzinfo=UTC))
    assert is_permitted([consent], ask, resource, patients, world) == permitted
    runner.run(clear(runner.harness))
    runner.run(runner.harness.put_all([*resources, consent]))
    here = f"{resource['resourceType']}/{resource['id']}"
    assert runner.run(decided(runner.harness, ask))[here] == permitted


def test_what_of_r4s_examples_is_not_enforced() -> None:
    if not EXAMPLES.is_dir():
        pytest.skip("the shared test data has no folder r4-examples-json")
    faults = {
        path.stem.removeprefix("consent-example-"): len(compiled.faults)
        for path in sorted(EXAMPLES.glob("consent-example*.json"))
        if (compiled := compile_consent(json.loads(path.read_text()), KEYS.target, UTC)).faults
    }
    assert faults == {"pkb": 11}
