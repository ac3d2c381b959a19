"""What scopes mean, in words for the people who are asked to grant them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from fhirserver.fhir.structure import COMPARTMENTS
from fhirserver.oauth.context import OFFLINE_S
from fhirserver.oauth.scopes import RESOURCES
from fhirserver.policy.scopes import VERSION_1, Scope, parse

_HL7: Final = "http://terminology.hl7.org/CodeSystem/"
_US_CORE: Final = "http://hl7.org/fhir/us/core/CodeSystem/"


@dataclass(frozen=True, slots=True)
class Choice:
    """A narrower scope that can be granted instead."""

    scope: str
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """A scope and what it means; `choices` are parts of it."""

    scope: str
    text: str
    choices: tuple[Choice, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """Lines under a heading."""

    title: str
    lines: tuple[Line, ...]


_TYPES: Final = {
    "*": "everything, also what will be added later",
    "AllergyIntolerance": "allergies and intolerances",
    "Appointment": "appointments",
    "Basic": "settings and notes that apps keep here",
    "Binary": "files",
    "CarePlan": "care plans",
    "CareTeam": "care teams",
    "Claim": "claims to insurers",
    "Communication": "messages",
    "Condition": "conditions and diagnoses",
    "Consent": "consents",
    "Coverage": "insurance",
    "Device": "devices and implants",
    "DiagnosticReport": "reports of laboratories and imaging",
    "DocumentReference": "documents and clinical notes",
    "Encounter": "visits and stays",
    "ExplanationOfBenefit": "bills and what insurance paid",
    "FamilyMemberHistory": "illnesses in the family",
    "Goal": "goals of treatment",
    "Immunization": "vaccinations",
    "Location": "places of care",
    "Media": "pictures and recordings",
    "Medication": "medicines",
    "MedicationAdministration": "medicines that were given",
    "MedicationDispense": "medicines that were handed out",
    "MedicationRequest": "prescriptions",
    "MedicationStatement": "medicines taken",
    "Observation": "measurements, laboratory results and other observations",
    "Organization": "hospitals and practices",
    "Patient": "name, birth date, address and other personal details",
    "Practitioner": "doctors, nurses and other staff",
    "PractitionerRole": "what staff do and where",
    "Procedure": "operations and other procedures",
    "Provenance": "who recorded what",
    "Questionnaire": "questionnaires",
    "QuestionnaireResponse": "answers to questionnaires",
    "RelatedPerson": "relatives and contacts",
    "ServiceRequest": "referrals and orders",
    "Specimen": "samples",
    "Task": "tasks",
}

_CATEGORIES: Final = {
    "Condition": (
        (f"{_HL7}condition-category", "problem-list-item", "the problem list"),
        (f"{_HL7}condition-category", "encounter-diagnosis", "diagnoses of visits"),
        (f"{_US_CORE}condition-category", "health-concern", "health concerns"),
    ),
    "Observation": (
        (f"{_HL7}observation-category", "laboratory", "laboratory results"),
        (f"{_HL7}observation-category", "vital-signs", "vital signs"),
        (f"{_HL7}observation-category", "social-history", "social history, such as smoking"),
        (f"{_HL7}observation-category", "survey", "answers to surveys"),
        (f"{_US_CORE}us-core-category", "sdoh", "living conditions"),
    ),
    "DocumentReference": (
        (f"{_US_CORE}us-core-documentreference-category", "clinical-note", "clinical notes"),
    ),
    "DiagnosticReport": (
        (f"{_HL7}v2-0074", "LAB", "laboratory reports"),
        ("http://loinc.org", "LP29684-5", "imaging reports"),
        ("http://loinc.org", "LP29708-2", "reports of the heart"),
        ("http://loinc.org", "LP7839-6", "pathology reports"),
    ),
}
"""The parts of a type that one can be asked for by `category`: US Core's granular scopes."""

_VERBS: Final = (("rs", "see"), ("c", "add"), ("u", "change"), ("d", "delete"))
_OTHERS: Final = {
    "openid": "Know that you signed in here",
    "profile": "Know who you are here",
    "fhirUser": "Know who you are here, with your name and details",
    "launch": "Know which record and visit you have open",
    "launch/patient": "Know whose record this is about",
    "launch/encounter": "Know which visit this is about",
    "offline_access": f"Keep this access while you are away, for up to {OFFLINE_S // 86_400} days",
    "online_access": "Keep this access until you sign out here",
}


def sections(scopes: Sequence[str], patient: str | None) -> list[Section]:
    """The scopes as one reads them, in groups; `patient` is the name of whose record it is about."""
    groups = {
        f"In the record of {patient or 'the patient'}": [one for one in scopes if one.startswith("patient/")],
        "In all records that you may see yourself": [one for one in scopes if one.startswith("user/")],
        "About you, and for how long": [one for one in scopes if not one.startswith(RESOURCES)],
    }
    return [Section(title, tuple(map(line, found))) for title, found in groups.items() if found]


def line(text: str) -> Line:
    """A scope in a sentence, with its parts."""
    if not text.startswith(RESOURCES):
        return Line(text, _OTHERS[text])
    scope = parse(text)
    return Line(text, sentence(scope), _choices(scope))


def sentence(scope: Scope) -> str:
    """`See and add conditions and diagnoses: category problem-list-item`"""
    verbs = [verb for letters, verb in _VERBS if scope.actions & set(letters)]
    doing = " and ".join([", ".join(verbs[:-1]), verbs[-1]] if len(verbs) > 1 else verbs) or "find"
    said = f"{doing.capitalize()} {_TYPES.get(scope.type) or _spaced(scope.type)}"
    if not scope.params:
        return said
    return f"{said}, only those with {' and '.join(_criterion(scope.type, *one) for one in scope.params)}"


def _criterion(type_: str, name: str, value: str) -> str:
    for system, code, words in _CATEGORIES.get(type_, ()):
        if name == "category" and value in (f"{system}|{code}", code):
            return f"category {words}"
    return f"{_spaced(name.replace('-', ' ').strip('_'))} {value.rpartition('|')[2]}"


def _spaced(name: str) -> str:
    """`ImagingStudy` as `imaging study`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


def _choices(scope: Scope) -> tuple[Choice, ...]:
    """Parts of a scope, written in version 2, which alone can say them: none of one in version 1's words."""
    written = scope.text.partition("?")[0].rpartition(".")[2]
    if written in VERSION_1 or scope.params:
        return ()
    if scope.type == "*":
        return tuple(
            Choice(f"{scope.context}/{type_}.{written}", _TYPES[type_])
            for type_ in sorted(_TYPES, key=lambda name: _TYPES[name])
            if type_ != "*" and (scope.context != "patient" or _is_patients(type_))
        )
    return tuple(
        Choice(f"{scope.text}?category={quote(system, safe=':/')}|{code}", words)
        for system, code, words in _CATEGORIES.get(scope.type, ())
    )


def _is_patients(type_: str) -> bool:
    return type_ == "Patient" or bool(COMPARTMENTS["Patient"].get(type_))


def granted(found: Iterable[Section], chosen: Iterable[str]) -> list[str]:
    """The scopes that were chosen: a whole one, or else its parts. What was not offered is not granted."""
    ticked = set(chosen)
    given: list[str] = []
    for one in (one for section in found for one in section.lines):
        given += (
            [one.scope]
            if one.scope in ticked
            else [choice.scope for choice in one.choices if choice.scope in ticked]
        )
    return given
