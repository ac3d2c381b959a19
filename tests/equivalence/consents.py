"""What consents leave of what a caller may see, by the literal evaluator: nothing of the server's is used.

Of provisions those are drawn here that the history of a row cannot blur: who asks, the action, the type, and
confidentiality. tests/db/consent has all of them. Some callers have broken the glass.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random
from typing import Any

from tests.db.consent.literal import CONFIDENTIALITY, HL7, Ask, is_permitted
from tests.equivalence import paths
from tests.equivalence.hospital import LABELS, PATIENTS, PEOPLE
from tests.equivalence.hospital import TYPES as KINDS
from tests.equivalence.predicate import Caller, Row, compartment, follows, may, patients_of, subject_of

Resource = dict[str, Any]
ELSEWHERE = {"Bundle", "Contract", "Device", "GuidanceResponse", "Linkage", "MessageHeader", "Task"}
"""Types in no compartment that may refer to patients."""
KEEPERS = {"administrator", "registrar"}
TYPES = ("Observation", "Condition", "Encounter", "Patient", "CareTeam", "DiagnosticReport", "Consent")


def _concept(system: str, code: str) -> Resource:
    return {"coding": [{"system": HL7 + system, "code": code}]}


def drawn(pick: Random) -> list[Resource]:
    """Consents of most patients, and seldom a policy."""
    found = [_consent(pick, f"c{number}", patient) for number, patient in enumerate((*PATIENTS[1:], "bert"))]
    if pick.random() < 0.3:
        scope = {"system": "urn:fhirserver:consent-scope", "code": "organization-policy"}
        policy = {**_consent(pick, "policy", "anna"), "scope": {"coding": [scope]}}
        policy["provision"] = {"provision": [_provision(pick, 0)]}
        policy["policyRule"] = _concept("v3-ActCode", "OPTIN")
        del policy["patient"]
        found.append(policy)
    return found


def breaking(pick: Random, chosen: list[Caller]) -> list[Caller]:
    """Of the callers that may read something every third has broken the glass: about a patient, about two,
    or about everybody."""
    made = list(chosen)
    readers = [n for n, caller in enumerate(chosen) if any(may(caller, type_, "r") for type_ in KINDS)]
    for turn, number in enumerate(readers[::3]):
        about = tuple(pick.sample(PATIENTS, turn % 3)) or None
        made[number] = replace(chosen[number], glass=about)
    return made


def _consent(pick: Random, id_: str, patient: str) -> Resource:
    return {
        "resourceType": "Consent",
        "id": id_,
        "status": pick.choice(("active", "active", "active", "inactive")),
        "scope": _concept("consentscope", "patient-privacy"),
        "category": [_concept("v3-ActCode", "IDSCL")],
        "patient": {"reference": f"Patient/{patient}"},
        "policyRule": _concept("v3-ActCode", pick.choice(("OPTIN", "OPTIN", "OPTOUT"))),
        "provision": {"provision": [_provision(pick, 0) for _ in range(pick.choice((1, 2)))]},
    }


def _provision(pick: Random, depth: int) -> Resource:
    found: Resource = {"type": pick.choice(("permit", "deny"))}
    if pick.random() < 0.6:
        names = (
            *(f"Practitioner/{one}" for one in PEOPLE),
            *("Organization/org0", "Organization/org1", "Patient/anna", "RelatedPerson/r0"),
        )
        reference = {"reference": pick.choice(names)}
        found["actor"] = [{"role": _concept("v3-ParticipationType", "IRCP"), "reference": reference}]
    if pick.random() < 0.5:
        types = pick.sample(TYPES, pick.choice((1, 2, 3)))
        found["class"] = [{"system": "http://hl7.org/fhir/resource-types", "code": one} for one in types]
    if pick.random() < 0.3:
        found["securityLabel"] = [{"system": CONFIDENTIALITY, "code": pick.choice(LABELS)}]
    if depth < 2 and pick.random() < 0.4:
        found["provision"] = [_provision(pick, depth + 1)]
    return found


@dataclass
class Consents:
    """What holds for the rows as they are: the consents, and who belongs to what."""

    rows: Iterable[Row]
    who: dict[tuple[str, str] | None, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        now = [row for row in self.rows if row.current]
        self.consents = [row.resource for row in now if row.type == "Consent"]
        self.current = {(row.type, row.id): row for row in now}
        self.world = {f"{row.type}/{row.id}": row.resource for row in now}
        self.speaking = {
            one["patient"]["reference"]
            for one in self.consents
            if one["status"] == "active" and "patient" in one
        }

    def denied(self, caller: Caller, rows: Iterable[Row]) -> set[int]:
        """The numbers of the rows that consents keep from the caller."""
        return {row.rid for row in rows if not self.permit(caller, row)}

    def permit(self, caller: Caller, row: Row) -> bool:
        """Whether the caller may read the row: for treatment, or as who has broken the glass."""
        if row.type == "Binary":
            return follows(row, "r", self.current, lambda there: self.permit(caller, there))
        if row.type != "Patient" and row.type not in compartment() and row.type not in ELSEWHERE:
            return True
        if row.type == "Consent" and KEEPERS & {name for name, _ in caller.roles}:
            return True
        is_patient = caller.user is not None and caller.user[0] == "Patient"
        if is_patient and (row.id if row.type == "Patient" else _whose(row)) in caller.own:
            return True
        patients = [f"Patient/{id_}" for id_ in sorted(_patients(row))]
        # A deletion says nothing but whose it was.
        resource = {"resourceType": row.type, "id": row.id} if row.deleted else row.resource
        purpose = "BTG" if self._is_open(caller, set(patients)) else "TREAT"
        ask = Ask(self._actors(caller.user), "access", purpose, True, datetime.now(UTC))
        # Somebody may be spoken for who has been deleted since.
        known = any(patient in self.world for patient in patients)
        if not known and not _names_somebody(row) and not self.speaking & set(patients):
            return True
        return is_permitted(self.consents, ask, resource, patients, self.world)

    def _is_open(self, caller: Caller, patients: set[str]) -> bool:
        """Whether denials are lifted: about everybody, or about these patients, of whom no other has any.

        Nothing that is drawn names a purpose, so who breaks the glass in vain is as who asks for treatment.
        """
        if caller.glass is None:
            return True
        about = {f"Patient/{id_}" for id_ in caller.glass}
        return bool(patients & about) and not (patients - about) & self.speaking

    def _actors(self, user: tuple[str, str] | None) -> frozenset[str]:
        """The caller and all that they belong to."""
        if user not in self.who:
            self.who[user] = frozenset() if user is None else frozenset(self._belongs("/".join(user)))
        return self.who[user]

    def _belongs(self, user: str) -> set[str]:
        found = {user}
        roles = [
            (path, one)
            for path, one in self.world.items()
            if one["resourceType"] == "PractitionerRole" and one.get("active", True)
            if _path(one.get("practitioner")) == user
        ]
        found |= {path for path, _ in roles}
        above = {_path(one.get("organization")) for _, one in roles}
        while above := {one for one in above if one is not None and one in self.world and one not in found}:
            found |= above
            above = {_path(self.world[one].get("partOf")) for one in above}
        return found


def _path(reference: Resource | None) -> str | None:
    found = None if reference is None else paths.target(reference)
    return None if found is None else "/".join(found)


def _whose(row: Row) -> str | None:
    if row.type == "Device":
        found = paths.target(row.resource.get("patient") or {})
        return found[1] if found is not None and found[0] == "Patient" else None
    return subject_of(row)


def _names_somebody(row: Row) -> bool:
    """Whether it names a patient, be it one who is elsewhere or named by an identifier alone."""
    codes = ("patient",) if paths.parameter(row.type, "patient") else compartment().get(row.type, ())
    return row.type == "Patient" or any(paths.values(row.resource, code) for code in codes)


def _patients(row: Row) -> set[str]:
    return _named(row.resource) if row.type in ELSEWHERE else patients_of(row)


def _named(value: Any) -> set[str]:
    """The patients that something refers to, wherever in it."""
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    found = set[str]().union(*(_named(one) for one in children))
    of = paths.target(value) if isinstance(value, dict) else None
    return found | {of[1]} if of is not None and of[0] == "Patient" else found
