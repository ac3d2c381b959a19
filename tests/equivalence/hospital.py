"""A small hospital, invented anew for each seed: a few patients whose records refer to each other in all
the ways in which one could be mistaken for another, and what happened to them since.

Values are few and common to all, so that what is asked for is found in records of several patients.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

Resource = dict[str, Any]

PATIENTS = ("anna", "bert", "cleo", "dora")
PEOPLE = ("d1", "d2", "n1")
CATEGORIES = ("laboratory", "vital-signs", "survey")
CODES = (("http://loinc.org", "8480-6"), ("http://loinc.org", "718-7"), ("urn:local", "x1"), (None, "x1"))
CODES += (("urn:local", "x2"),)
VALUE_SETS = ("urn:vs:a", "urn:vs:b", "urn:vs:c")
QUESTIONNAIRES = ("urn:q:a", "urn:q:b")
PROBLEMS = ("http://loinc.org", "11450-4")
NAMES = ("Meyer", "meyer-Lund", "Ostergaard", "Lund", "Abel", "Annan")
DAYS = ("2019", "2020-01", "2020-02-29", "2020-02-29T12:00:00Z", "2021-06-01T08:30:00.5+02:00", "2023-11-14")
FULL_DAYS = ("1950-05-05", "1990-01-31", "2012-12-12")
LINKS = ("replaces", "seealso", "replaced-by", "refer")
"""Of each patient, if it has one; two of them are not in the other's compartment because of it."""
LABELS = ("N", "R", "V")
_CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"


class Hospital:
    """Draws resources; `made` says what there is to refer to."""

    def __init__(self, seed: int) -> None:
        self.pick = Random(seed)
        self.made: dict[str, list[str]] = {}

    def population(self) -> list[Resource]:
        """All resources in an order in which references point backwards, mostly."""
        return [
            resource
            for maker, count in _PLAN
            for number in range(count)
            if (resource := self._made(maker, number)) is not None
        ]

    def changed(self, resource: Resource) -> Resource:
        """A later version: another patient's, another category, another status, or something small."""
        maker = next(maker for maker, _ in _PLAN if _TYPES[maker] == resource["resourceType"])
        return {**maker(self, 0), "id": resource["id"]}

    def fresh(self, resource_type: str) -> Resource:
        """One more of a type, without id."""
        maker = next(maker for maker, _ in _PLAN if _TYPES[maker] == resource_type)
        return {name: value for name, value in maker(self, 0).items() if name != "id"}

    def _made(self, maker: Callable[[Hospital, int], Resource], number: int) -> Resource:
        resource = maker(self, number)
        self.made.setdefault(resource["resourceType"], []).append(resource["id"])
        return resource

    # -- parts

    def maybe(self, chance: float, **elements: Any) -> Resource:
        return elements if self.pick.random() < chance else {}

    def id(self, number: int) -> str:
        return f"{self.pick.choice('abc')}{number}"

    def ref(self, *types: str) -> Resource:
        """A reference to one of the types, written in one of the ways that there are."""
        type_ = self.pick.choice(types)
        known = PATIENTS if type_ == "Patient" else tuple(self.made.get(type_, ())) or ("none",)
        id_, way = self.pick.choice(known), self.pick.random()
        path = f"{type_}/{id_}"
        if way < 0.78:
            return {"reference": path, **self.maybe(0.1, display=self.pick.choice(NAMES))}
        if way < 0.84:
            return {"reference": f"http://test/fhir/{path}"}
        if way < 0.88:
            return {"reference": f"{path}/_history/1"}
        if way < 0.92:
            return {"reference": f"http://elsewhere.example/fhir/{path}"}
        if way < 0.96:
            return {"type": type_, "identifier": {"system": "urn:mrn", "value": id_}}
        return {"reference": path, "identifier": {"system": "urn:mrn", "value": self.pick.choice(known)}}

    def concept(self, *codings: tuple[str | None, str]) -> Resource:
        system, code = self.pick.choice(codings or CODES)
        return {
            "coding": [{**({"system": system} if system else {}), "code": code}],
            **self.maybe(0.4, text=f"{self.pick.choice(NAMES)} {code}"),
        }

    def category(self) -> list[Resource]:
        system = "http://terminology.hl7.org/CodeSystem/observation-category"
        return [self.concept(*((system, code) for code in CATEGORIES), (None, "laboratory"))]

    def day(self) -> str:
        return self.pick.choice(DAYS)

    def meta(self) -> Resource:
        meta = {
            **self.maybe(0.3, security=[{"system": _CONFIDENTIALITY, "code": self.pick.choice(LABELS)}]),
            **self.maybe(0.2, tag=[{"system": "urn:tag", "code": self.pick.choice(("t1", "t2"))}]),
        }
        return {"meta": meta} if meta else {}

    def words(self) -> Resource:
        """A narrative."""
        div = f'<div xmlns="http://www.w3.org/1999/xhtml">of {self.pick.choice(NAMES)}</div>'
        return self.maybe(0.3, text={"status": "generated", "div": div})

    def some(self, least: int, most: int, make: Callable[[], Any]) -> list[Any]:
        return [make() for _ in range(self.pick.randint(least, most))]

    def listed(self, name: str, least: int, most: int, make: Callable[[], Any]) -> Resource:
        """An element with several values; none is no element."""
        found = self.some(least, most, make)
        return {name: found} if found else {}


TYPE = {"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}


# -- a maker for each type: (hospital, number) -> resource


def patient(h: Hospital, number: int) -> Resource:
    id_ = PATIENTS[number]
    return {
        "resourceType": "Patient",
        "id": id_,
        **h.meta(),
        **h.words(),
        "identifier": [{"type": {"coding": [TYPE]}, "system": "urn:mrn", "value": id_}],
        "active": h.pick.random() < 0.8,
        "name": [{"family": h.pick.choice(NAMES), "given": [id_.title()]}],
        "gender": h.pick.choice(("female", "male")),
        "birthDate": h.pick.choice(FULL_DAYS),
        **h.maybe(0.5, generalPractitioner=[h.ref("Practitioner")]),
        **h.maybe(0.5, managingOrganization=h.ref("Organization")),
        **h.maybe(0.15, link=[{"other": h.ref("Patient"), "type": LINKS[number]}]),
    }


def practitioner(h: Hospital, number: int) -> Resource:
    name = {"family": h.pick.choice(NAMES)}
    return {"resourceType": "Practitioner", "id": PEOPLE[number], **h.meta(), "name": [name]}


def organization(h: Hospital, number: int) -> Resource:
    return {
        "resourceType": "Organization",
        "id": f"org{number}",
        **h.meta(),
        "name": h.pick.choice(NAMES),
        **h.maybe(0.4, partOf=h.ref("Organization")),
    }


def location(h: Hospital, number: int) -> Resource:
    return {
        "resourceType": "Location",
        "id": h.id(number),
        "status": "active",
        "managingOrganization": h.ref("Organization"),
        **h.maybe(0.5, partOf=h.ref("Location")),
    }


def practitioner_role(h: Hospital, number: int) -> Resource:
    return {
        "resourceType": "PractitionerRole",
        "id": h.id(number),
        "practitioner": h.ref("Practitioner"),
        "organization": h.ref("Organization"),
        "code": [h.concept()],
    }


def related_person(h: Hospital, number: int) -> Resource:
    return {
        "resourceType": "RelatedPerson",
        "id": f"r{number}",
        "patient": h.ref("Patient"),
        "name": [{"family": h.pick.choice(NAMES)}],
    }


def person(h: Hospital, number: int) -> Resource:
    return {
        "resourceType": "Person",
        "id": h.id(number),
        "name": [{"family": h.pick.choice(NAMES)}],
        **h.listed("link", 0, 2, lambda: {"target": h.ref("Patient", "Practitioner", "RelatedPerson")}),
    }


def device(h: Hospital, number: int) -> Resource:
    return {
        "resourceType": "Device",
        "id": h.id(number),
        **h.meta(),
        "status": "active",
        "type": h.concept(),
        **h.maybe(0.6, patient=h.ref("Patient")),
        **h.maybe(0.4, owner=h.ref("Organization")),
    }


def medication(h: Hospital, number: int) -> Resource:
    return {"resourceType": "Medication", "id": h.id(number), **h.meta(), "code": h.concept()}


def encounter(h: Hospital, number: int) -> Resource:
    return {
        "resourceType": "Encounter",
        "id": h.id(number),
        **h.meta(),
        "status": h.pick.choice(("finished", "planned")),
        "class": {"code": h.pick.choice(("AMB", "IMP"))},
        **h.maybe(0.9, subject=h.ref("Patient", "Patient", "Patient", "Group")),
        **h.listed("participant", 0, 2, lambda: {"individual": h.ref("Practitioner", "RelatedPerson")}),
        **h.maybe(0.7, period={"start": h.pick.choice(DAYS[:4])}),
        **h.maybe(0.5, location=[{"location": h.ref("Location")}]),
        **h.maybe(0.3, partOf=h.ref("Encounter")),
        "serviceProvider": h.ref("Organization"),
    }


def observation(h: Hospital, number: int) -> Resource:
    contained = {"resourceType": "Patient", "id": "p", "name": [{"family": h.pick.choice(NAMES)}]}
    inside = h.pick.random() < 0.12
    return {
        "resourceType": "Observation",
        "id": h.id(number),
        **h.meta(),
        **h.words(),
        **({"contained": [contained]} if inside else {}),
        **h.maybe(0.3, identifier=[{"system": "urn:obs", "value": h.pick.choice(("1", "2", "3"))}]),
        "status": h.pick.choice(("final", "amended", "entered-in-error")),
        **h.maybe(0.9, category=h.category()),
        "code": h.concept(),
        **(
            {"subject": {"reference": "#p"}}
            if inside
            else h.maybe(0.94, subject=h.ref("Patient", "Patient", "Device"))
        ),
        **h.maybe(0.2, focus=[h.ref("Patient", "Observation")]),
        **h.maybe(0.5, encounter=h.ref("Encounter")),
        **h.listed(
            "performer", 0, 2, lambda: h.ref("Practitioner", "Patient", "RelatedPerson", "Organization")
        ),
        **h.maybe(0.8, effectiveDateTime=h.day()),
        **h.maybe(
            0.7,
            valueQuantity={
                "value": h.pick.randint(1, 9),
                "unit": "g",
                "code": "g",
                "system": "http://unitsofmeasure.org",
            },
        ),
        **h.maybe(0.3, component=[{"code": h.concept(), "valueQuantity": {"value": h.pick.randint(1, 9)}}]),
        **h.maybe(0.3, hasMember=[h.ref("Observation")]),
        **h.maybe(0.3, device=h.ref("Device")),
    }


def contained_practitioner(h: Hospital) -> Resource:
    return {"resourceType": "Practitioner", "id": "p", "name": [{"family": h.pick.choice(NAMES)}]}


def condition(h: Hospital, number: int) -> Resource:
    return {
        "resourceType": "Condition",
        "id": h.id(number),
        **h.meta(),
        **h.words(),
        "code": h.concept(),
        "clinicalStatus": h.concept(("http://terminology.hl7.org/CodeSystem/condition-clinical", "active")),
        "subject": h.ref("Patient"),
        **h.maybe(0.2, contained=[contained_practitioner(h)], recorder={"reference": "#p"}),
        **h.maybe(0.5, encounter=h.ref("Encounter")),
        **h.maybe(0.5, asserter=h.ref("Patient", "Practitioner", "RelatedPerson")),
        **h.maybe(0.5, recordedDate=h.day()),
        **h.maybe(0.3, onsetDateTime=h.day()),
        **h.maybe(0.3, evidence=[{"detail": [h.ref("Observation")]}]),
    }


def allergy(h: Hospital, number: int) -> Resource:
    return {
        "resourceType": "AllergyIntolerance",
        "id": h.id(number),
        "code": h.concept(),
        "patient": h.ref("Patient"),
        **h.maybe(0.5, recorder=h.ref("Patient", "Practitioner")),
        **h.maybe(0.3, asserter=h.ref("Patient", "RelatedPerson")),
    }


def medication_request(h: Hospital, number: int) -> Resource:
    return {
        "resourceType": "MedicationRequest",
        "id": h.id(number),
        **h.meta(),
        "status": h.pick.choice(("active", "completed")),
        "intent": "order",
        "medicationReference": h.ref("Medication"),
        "subject": h.ref("Patient"),
        **h.maybe(0.5, requester=h.ref("Practitioner", "Patient", "RelatedPerson")),
        **h.maybe(0.5, authoredOn=h.day()),
    }


def report(h: Hospital, number: int) -> Resource:
    return {
        "resourceType": "DiagnosticReport",
        "id": h.id(number),
        **h.meta(),
        **h.words(),
        "status": "final",
        "category": h.category(),
        "code": h.concept(),
        **h.maybe(0.9, subject=h.ref("Patient", "Patient", "Group")),
        **h.listed("result", 0, 3, lambda: h.ref("Observation")),
        **h.listed("performer", 0, 1, lambda: h.ref("Practitioner", "Organization")),
        **h.maybe(0.6, effectiveDateTime=h.day()),
    }


def care_team(h: Hospital, number: int) -> Resource:
    """Most have somebody who works here and are a patient's; half of them are active."""
    staff = {"member": {"reference": f"Practitioner/{h.pick.choice(PEOPLE)}"}}
    return {
        "resourceType": "CareTeam",
        "id": h.id(number),
        "status": h.pick.choice(("active", "active", "inactive", "proposed")),
        **h.maybe(0.95, subject=h.ref("Patient", "Patient", "Patient", "Patient", "Group")),
        "participant": [
            *h.some(0, 1, lambda: staff),
            *h.some(
                0, 2, lambda: {"member": h.ref("Practitioner", "Practitioner", "Patient", "PractitionerRole")}
            ),
            {"role": [h.concept()]},
        ],
    }


def care_plan(h: Hospital, number: int) -> Resource:
    return {
        "resourceType": "CarePlan",
        "id": h.id(number),
        "status": "active",
        "intent": "plan",
        "subject": h.ref("Patient", "Patient", "Group"),
        **h.maybe(0.5, careTeam=[h.ref("CareTeam")]),
        **h.maybe(
            0.5,
            activity=[{"detail": {"status": "scheduled", "performer": [h.ref("Patient", "Practitioner")]}}],
        ),
        **h.maybe(0.5, addresses=[h.ref("Condition")]),
    }


def appointment(h: Hospital, number: int) -> Resource:
    return {
        "resourceType": "Appointment",
        "id": h.id(number),
        "status": "proposed",
        "participant": h.some(
            1,
            3,
            lambda: {"actor": h.ref("Patient", "Patient", "Practitioner", "Location"), "status": "accepted"},
        ),
    }


def group(h: Hospital, number: int) -> Resource:
    members = h.listed("member", 0, 3, lambda: {"entity": h.ref("Patient")})
    return {"resourceType": "Group", "id": h.id(number), "type": "person", "actual": True, **members}


def list_(h: Hospital, number: int) -> Resource:
    return {
        "resourceType": "List",
        "id": h.id(number),
        "status": "current",
        "mode": "working",
        **h.meta(),
        **h.maybe(0.6, code=h.concept(PROBLEMS)),
        **h.maybe(0.8, subject=h.ref("Patient", "Patient", "Patient", "Group")),
        **h.maybe(0.4, source=h.ref("Patient", "Practitioner")),
        **h.listed("entry", 1, 4, lambda: {"item": h.ref("Observation", "Condition", "Patient")}),
    }


def provenance(h: Hospital, number: int) -> Resource:
    return {
        "resourceType": "Provenance",
        "id": h.id(number),
        "target": h.some(1, 2, lambda: h.ref("Observation", "Patient", "Condition")),
        "recorded": "2020-02-29T12:00:00Z",
        "agent": [{"who": h.ref("Practitioner", "Patient")}],
    }


def communication(h: Hospital, number: int) -> Resource:
    return {
        "resourceType": "Communication",
        "id": h.id(number),
        "status": "completed",
        **h.maybe(0.6, subject=h.ref("Patient")),
        **h.maybe(0.6, sender=h.ref("Patient", "Practitioner")),
        **h.listed("recipient", 0, 2, lambda: h.ref("Patient", "Practitioner", "RelatedPerson")),
        **h.maybe(0.5, sent="2020-02-29T12:00:00Z"),
        "payload": [{"contentString": f"about {h.pick.choice(NAMES)}"}],
    }


def document(h: Hospital, number: int) -> Resource:
    return {
        "resourceType": "DocumentReference",
        "id": h.id(number),
        **h.meta(),
        "status": "current",
        "type": h.concept(),
        **h.maybe(0.5, context={"period": {"start": h.pick.choice(DAYS[:3])}}),
        **h.maybe(0.9, subject=h.ref("Patient", "Practitioner")),
        **h.listed("author", 0, 2, lambda: h.ref("Patient", "Practitioner")),
        "content": [{"attachment": {"url": f"Binary/{h.pick.choice('ab')}0"}}],
    }


def coverage(h: Hospital, number: int) -> Resource:
    return {
        "resourceType": "Coverage",
        "id": h.id(number),
        "status": "active",
        "beneficiary": h.ref("Patient"),
        "payor": [h.ref("Organization", "Patient")],
        **h.maybe(0.4, subscriber=h.ref("Patient", "RelatedPerson")),
    }


def basic(h: Hospital, number: int) -> Resource:
    return {
        "resourceType": "Basic",
        "id": h.id(number),
        "code": h.concept(),
        **h.maybe(0.7, subject=h.ref("Patient", "Group")),
        **h.maybe(0.4, author=h.ref("Practitioner", "Patient")),
    }


def binary(h: Hospital, number: int) -> Resource:
    return {
        "resourceType": "Binary",
        "id": h.id(number),
        "contentType": "text/plain",
        "securityContext": h.ref("Patient"),
        "data": "c2VjcmV0",
    }


def answers(h: Hospital, number: int) -> Resource:
    return {
        "resourceType": "QuestionnaireResponse",
        "id": h.id(number),
        "questionnaire": h.pick.choice((*QUESTIONNAIRES, f"{QUESTIONNAIRES[0]}|1")),
        "status": "completed",
        **h.maybe(0.9, subject=h.ref("Patient", "Organization")),
        **h.maybe(0.5, author=h.ref("Patient", "Practitioner")),
        **h.maybe(0.5, authored=h.day()),
    }


def task(h: Hospital, number: int) -> Resource:
    return {
        "resourceType": "Task",
        "id": h.id(number),
        "status": "requested",
        "intent": "order",
        **h.maybe(0.8, **{"for": h.ref("Patient")}),
        **h.maybe(0.5, focus=h.ref("MedicationRequest", "Observation")),
        **h.maybe(0.5, owner=h.ref("Patient", "Practitioner")),
    }


def code_system(h: Hospital, number: int) -> Resource:
    """The same system several times: of those that a caller may see the latest counts."""
    inner = {"code": "x2", "display": h.pick.choice(NAMES)}
    return {
        "resourceType": "CodeSystem",
        "id": h.id(number),
        **h.meta(),
        "url": "urn:local",
        "version": str(h.pick.randint(1, 9)),
        "status": "active",
        "content": "complete",
        "concept": [{"code": "x1", **h.maybe(0.7, concept=[inner])}],
    }


def value_set(h: Hospital, number: int) -> Resource:
    include = (
        {"system": "urn:local"},
        {"system": "urn:local", "filter": [{"property": "concept", "op": "is-a", "value": "x1"}]},
        {"system": "http://loinc.org", "concept": [{"code": "8480-6"}]},
        {"valueSet": [h.pick.choice(VALUE_SETS)]},
    )
    return {
        "resourceType": "ValueSet",
        "id": h.id(number),
        **h.meta(),
        "url": VALUE_SETS[number % len(VALUE_SETS)],
        "version": str(h.pick.randint(1, 9)),
        "status": "active",
        "compose": {"include": h.some(1, 2, lambda: h.pick.choice(include))},
    }


def questionnaire(h: Hospital, number: int) -> Resource:
    return {
        "resourceType": "Questionnaire",
        "id": h.id(number),
        **h.meta(),
        "url": QUESTIONNAIRES[number % len(QUESTIONNAIRES)],
        **h.maybe(0.5, version=h.pick.choice("12")),
        "status": "active",
        "title": h.pick.choice(NAMES),
    }


def study_subject(h: Hospital, number: int) -> Resource:
    return {
        "resourceType": "ResearchSubject",
        "id": h.id(number),
        "status": "candidate",
        "study": {"reference": "ResearchStudy/s"},
        "individual": h.ref("Patient"),
    }


Maker = Callable[[Hospital, int], Resource]
_PLAN: tuple[tuple[Maker, int], ...] = (
    (organization, 3), (practitioner, 3), (patient, 4), (location, 2), (practitioner_role, 3),
    (related_person, 3), (person, 3), (device, 5), (medication, 3), (group, 2), (encounter, 10),
    (observation, 34), (condition, 10), (allergy, 5), (medication_request, 7), (report, 8), (care_team, 12),
    (care_plan, 4), (appointment, 6), (list_, 4), (provenance, 6), (communication, 5), (document, 6),
    (coverage, 3), (basic, 4), (binary, 2), (questionnaire, 3), (answers, 5), (task, 3), (study_subject, 2),
    (code_system, 3), (value_set, 5),
)  # fmt: skip


_TYPES: dict[Maker, str] = {maker: maker(Hospital(0), 0)["resourceType"] for maker, _ in _PLAN}
TYPES = tuple(_TYPES.values())
"""The types of which there are some."""
