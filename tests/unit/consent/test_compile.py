"""What of a Consent becomes a rule, and what is said not to be enforced."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fhirserver.policy.consent import Compiled, compile_consent
from tests.db.consent.cases import DENY, PERMIT, consent, policy, to
from tests.db.consent.population import consent as any_consent


def target(type_: str, id_: str) -> int:
    return hash((type_, id_)) & 0x7FFF_FFFF


def compiled(resource: dict[str, Any]) -> Compiled:
    return compile_consent(resource, target, UTC, ("http://here/fhir",))


def test_nodes_know_where_they_are() -> None:
    nested = {**PERMIT, **to("Practitioner/1"), "provision": [{**DENY, "action": []}]}
    made = compiled(consent("OPTIN", provision={**to("Practitioner/2"), "provision": [nested]}))
    assert [(rule.node, rule.path, rule.permit) for rule in made.rules] == [
        (0, (0,), True),
        (1, (0, 1), False),
        (2, (0, 1, 2), True),
        (3, (0, 1, 2, 3), False),
    ]
    assert made.places == (
        "Consent.policyRule",
        "Consent.provision",
        "Consent.provision.provision[0]",
        "Consent.provision.provision[0].provision[0]",
    )


def test_references_in_whatever_form() -> None:
    forms = ("Practitioner/1", "http://here/fhir/Practitioner/1", "Practitioner/1/_history/3")
    made = [compiled(consent("OPTIN", provision={**DENY, **to(form)})).rules[1] for form in forms]
    assert {rule.actors for rule in made} == {(target("Practitioner", "1"),)}
    elsewhere = compiled(
        consent("OPTIN", provision={**DENY, **to("http://there/fhir/Practitioner/1")})
    ).rules[1]
    assert (elsewhere.actors, elsewhere.vague) == ((), ())
    contained = compiled(consent("OPTIN", provision={**DENY, **to("#c")})).rules[1]
    assert (contained.actors, contained.vague) == ((), ("actors",))


def test_faults() -> None:
    def paths(resource: dict[str, Any]) -> list[str]:
        made = compiled(resource)
        assert bool(made.faults) or made.rules
        return [fault.path for fault in made.faults]

    assert paths(consent(None)) == ["Consent.policyRule"]
    assert paths(consent("OPTIN", provision={"provision": [{}, PERMIT]})) == [
        "Consent.provision.provision[0]"
    ]
    assert paths(consent("OPTIN", patient={"identifier": {"value": "1"}})) == ["Consent.patient"]
    assert paths({**policy("OPTIN"), "patient": {"reference": "Patient/1"}}) == ["Consent.patient"]
    unknown = {**PERMIT, "action": [{"coding": [{"system": "urn:x", "code": "access"}]}]}
    unknown["purpose"] = [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "NOPE"}]
    assert paths(consent("OPTIN", provision={"provision": [unknown]})) == [
        "Consent.provision.provision[0].action",
        "Consent.provision.provision[0].purpose",
    ]
    many = [dict(PERMIT) for _ in range(1_001)]
    assert paths(consent("OPTIN", provision={"provision": many})) == ["Consent.provision"]


@settings(max_examples=200)
@given(st.randoms(use_true_random=False))
def test_paths_lead_to_the_base_and_places_are_told_apart(pick: Any) -> None:
    made = compiled(any_consent(pick, 0))
    assert [rule.node for rule in made.rules] == list(range(len(made.rules)))
    for rule in made.rules:
        assert rule.path[0] == 0
        assert rule.path[-1] == rule.node
        assert len(rule.path) == 1 or made.rules[rule.path[-2]].path == rule.path[:-1]
    assert len(made.places) == (len(made.rules))
    assert len(set(made.places)) == len(made.places)
