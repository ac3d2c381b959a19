"""The setting `validation`, as text and as what it demands."""

from __future__ import annotations

from typing import Any

import pytest

from fhirserver.cli.serve import refusal
from fhirserver.errors import Unprocessable
from fhirserver.fhir.profile.definition import read
from fhirserver.fhir.profile.library import Library
from fhirserver.fhir.profile.terms import BuiltIn
from fhirserver.interactions.conformance import policy_of, require
from fhirserver.settings import Settings

NAMED, OLD = "urn:named", "urn:old"


def profile(url: str, path: str) -> dict[str, Any]:
    return {
        "resourceType": "StructureDefinition",
        "url": url,
        "type": "Patient",
        "kind": "resource",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Patient",
        "derivation": "constraint",
        "differential": {"element": [{"path": path, "min": 1}]},
    }


LIBRARY = Library([read(profile(NAMED, "Patient.name")), read(profile(OLD, "Patient.birthDate"))])


def judged(setting: str, *claims: str, **more: Any) -> str:
    """`stored`, `warned` or `refused`."""
    meta = {"meta": {"profile": list(claims)}} if claims else {}
    resource = {"resourceType": "Patient", **meta, "active": True, **more}
    try:
        found = require(policy_of(setting), resource, LIBRARY, BuiltIn())
    except Unprocessable:
        return "refused"
    return "warned" if any("is required" in issue.diagnostics for issue in found) else "stored"


@pytest.mark.parametrize(
    ("setting", "claims", "verdict"),
    [
        ("{}", [NAMED], "stored"),
        ('{"*": "structure"}', [NAMED], "stored"),
        ('{"*": "claimed"}', [NAMED], "refused"),
        ('{"*": "claimed"}', [], "stored"),
        ('{"*": "claimed", "Patient": "structure"}', [NAMED], "stored"),
        ('{"Group": "claimed"}', [NAMED], "stored"),
        ('{"Patient": "warn"}', [NAMED], "warned"),
        (f'{{"*": "claimed", "{NAMED}": "warn"}}', [NAMED], "warned"),
        (f'{{"*": "claimed", "{NAMED}": "warn"}}', [NAMED, OLD], "refused"),
        (f'{{"{NAMED}": "claimed"}}', [NAMED], "refused"),
        (f'{{"{NAMED}": "claimed"}}', [f"{NAMED}|1"], "stored"),
        (f'{{"Patient": ["{NAMED}"]}}', [], "refused"),
        ('{"Patient": ["urn:unknown"]}', [], "refused"),
    ],
)
def test_what_a_setting_demands(setting: str, claims: list[str], verdict: str) -> None:
    assert judged(setting, *claims) == verdict


def test_one_of_several_required_profiles_is_enough() -> None:
    setting = f'{{"Patient": ["{NAMED}", "{OLD}"]}}'
    assert judged(setting) == "refused"
    assert judged(setting, name=[{"text": "a"}]) == "stored"
    assert judged(setting, birthDate="2020") == "stored"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"*": 5}',
        '{"Patien": "claimed"}',
        '{"Patient": "always"}',
        '{"Patient": []}',
        '{"*": ["urn:x"]}',
        '{"urn:x": ["urn:y"]}',
    ],
)
def test_what_is_no_setting(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        policy_of(text)


def test_a_server_does_not_start_with_what_is_no_setting() -> None:
    assert "neither a resource type" in (refusal(Settings.load(validation='{"Patien": "warn"}')) or "")
    assert refusal(Settings.load(validation='{"Patient": "warn"}')) is None
