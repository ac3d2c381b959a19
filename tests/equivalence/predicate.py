"""Who may see what, word by word from the design and slowly: nothing of the server's policy is used.

Scopes: https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html. Compartments: the
parameters of R4's CompartmentDefinition over the plain JSON. Types that are shared with patients, the
roles and care teams: `docs` of the access decision. A row is one version of one resource; a deletion is
judged by what it ended.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import unquote_plus

from tests.db.search import oracle
from tests.equivalence import paths

SHARED = {
    *("ActivityDefinition", "CodeSystem", "ConceptMap", "Endpoint", "HealthcareService", "Location"),
    *("Medication", "MedicationKnowledge", "NamingSystem", "ObservationDefinition", "OperationDefinition"),
    *("Organization", "OrganizationAffiliation", "PlanDefinition", "Practitioner", "PractitionerRole"),
    *("Questionnaire", "SearchParameter", "SpecimenDefinition", "StructureDefinition", "Substance"),
    "ValueSet",
}
"""What records refer to and nobody's record is: patients may read it."""

GROUPS = {"Group"}
"""In the compartment, and about many patients at once: closed."""

OPEN_MEMBERS = {"Device"}
"""In no compartment, but a patient's if they name one, and everybody's if they name none."""


@cache
def compartment() -> dict[str, list[str]]:
    """Type -> parameters of the CompartmentDefinition of Patient."""
    return json.loads((paths.ROOT / "conformance/compartments.json").read_text())["Patient"]


GIVE_ACCESS = {"Person", "PractitionerRole"}
"""What says who may sign in as whom, and with which role."""

NAMED = {
    *("CapabilityStatement", "CodeSystem", "CompartmentDefinition", "ConceptMap", "ImplementationGuide"),
    *("NamingSystem", "OperationDefinition", "SearchParameter", "StructureDefinition", "ValueSet"),
} | GIVE_ACCESS
"""What the server itself goes by: a role, or the scope of a service, has to name it to let write it."""

Key = tuple[str, str]


@dataclass(frozen=True)
class Row:
    """A version: its number in the database, and the resource as it was (a deletion: before it)."""

    rid: int
    type: str
    id: str
    version: int
    deleted: bool
    current: bool
    updated: datetime
    resource: dict[str, Any] = field(hash=False, compare=False)


@dataclass(frozen=True)
class Grant:
    """A scope in parts; `patients` None where it is about nobody in particular."""

    context: str
    type: str
    actions: str
    params: tuple[tuple[str, str], ...]


V1 = {"read": "rs", "write": "cud", "*": "cruds"}


@cache
def grant(text: str) -> Grant:
    found = re.fullmatch(r"(patient|user|system)/(\*|\w+)\.([a-z]+|\*)(?:\?(.*))?", text)
    assert found is not None, text
    params = tuple(
        (unquote_plus(name), unquote_plus(value))
        for name, _, value in (pair.partition("=") for pair in (found[4] or "").split("&") if pair)
    )
    return Grant(found[1], found[2], V1.get(found[3], found[3]), params)


@dataclass(frozen=True)
class Caller:
    """What a token says. `roles`: name -> scopes, `care-team` among them for those of care teams. `glass`:
    the ids of the patients about whom they have broken the glass, and ask as who has; None: of everybody."""

    scopes: tuple[str, ...]
    user: Key | None = None
    patient: str | None = None
    own: tuple[str, ...] = ()
    roles: tuple[tuple[str, tuple[str, ...]], ...] = ()
    glass: tuple[str, ...] | None = ()

    @property
    def breaks_glass(self) -> bool:
        return self.glass != ()


def may(caller: Caller, type_: str, action: str) -> bool:
    """Whether anything that was granted is about the action on the type at all: otherwise 403."""
    return any(True for _ in _ways(caller, type_, action))


def sees(caller: Caller, row: Row, action: str, teams: set[str], current: Mapping[Key, Row]) -> bool:
    """Whether the caller may do the action on the row. `teams` are the ids of the patients in whose active
    care teams the caller is, `current` are the rows as they are."""
    return _may(caller, row, action, teams) and (
        _reads_all(caller) or follows(row, action, current, lambda there: _may(caller, there, "r", teams))
    )


def _may(caller: Caller, row: Row, action: str, teams: set[str]) -> bool:
    return any(
        all(_within(row, place, teams, action) for place in places)
        and all(holds(row.resource, name, value) for name, value in criteria)
        for places, criteria in _ways(caller, row.type, action)
    )


def follows(row: Row, action: str, current: Mapping[Key, Row], is_seen: Callable[[Row], bool]) -> bool:
    """Whether a Binary's securityContext lets it be seen: access follows what it names, and what names
    nothing that is here can only be deleted; to create one is not to read it. https://hl7.org/fhir/R4/binary-definitions.html"""
    if row.type != "Binary" or "securityContext" not in row.resource or action == "c":
        return True
    named = paths.target(row.resource["securityContext"])
    there = None if named is None else current.get(named)
    if there is None or there.type == "Binary":
        return action == "d"
    return is_seen(there)


@cache
def _reads_all(caller: Caller) -> bool:
    """Whether some scope lets the caller read each type, all of it."""
    return all(
        any(not params and not any(places) for places, params in _ways(caller, type_, "r"))
        for type_ in (*compartment(), *SHARED, *NAMED, *OPEN_MEMBERS, "Binary", "Task")
        if type_ != "AuditEvent"
    )


def explains(caller: Caller) -> bool:
    """Whether the caller may look at how searches are answered: administrators who may search all."""
    administers = any(name == "administrator" for name, _ in caller.roles)
    return administers and any(
        (one.context, one.type, one.params) == ("user", "*", ()) and "s" in one.actions
        for one in map(grant, caller.scopes)
    )


Place = tuple[str, ...] | str | None
"""Ids of patients, "team", or None for everywhere."""


def _is_named(type_: str, action: str) -> bool:
    """Whether no `*` is about it: writing what the server goes by, anything with who did what."""
    return type_ == "AuditEvent" or (type_ in NAMED and action in "cud")


def _ways(
    caller: Caller, type_: str, action: str
) -> Iterable[tuple[tuple[Place, ...], tuple[tuple[str, str], ...]]]:
    """Each scope with its own context and constraints, together with each role that allows as much."""
    for one in map(grant, caller.scopes):
        if one.type not in ("*", type_) or action not in one.actions:
            continue
        if one.context == "system":
            starred = one.type == "*" and _is_named(type_, action)
            if caller.user is None and not starred and _open(type_, action, None):
                yield (), one.params
            continue
        if caller.user is None or (one.context == "patient" and caller.patient is None):
            continue
        place: Place = (caller.patient,) if one.context == "patient" and caller.patient else None
        if not _open(type_, action, place):
            continue
        for _, texts in caller.roles:
            of_team = "care-team" in texts
            for allowed in (grant(text) for text in texts if text != "care-team"):
                if allowed.type not in ("*", type_) or action not in allowed.actions:
                    continue
                if allowed.type == "*" and _is_named(type_, action):
                    continue
                own: Place = None
                if allowed.context == "patient":
                    own = "team" if of_team else caller.own
                if not _open(type_, action, own) or own == ():
                    continue
                yield (place, own), (*one.params, *allowed.params)


def _open(type_: str, action: str, place: Place) -> bool:
    """Whether the type has rows that can be shown, or changed, within somebody's record."""
    if place is None:
        return True
    if type_ in GROUPS:
        return False
    if type_ == "Patient" or compartment().get(type_) or type_ in OPEN_MEMBERS:
        return True
    return type_ in SHARED and action in "rs"


def _within(row: Row, place: Place, teams: set[str], action: str) -> bool:
    if place is None or row.type in SHARED:
        return True
    patients = teams if place == "team" else set(place)
    if row.type in OPEN_MEMBERS:
        named = row.resource.get("patient")
        if named is None:
            return action in "rs"
        return paths.target(named) in {("Patient", id_) for id_ in patients}
    inside = patients & patients_of(row)
    if action in "rs":
        return bool(inside)
    # Who is named as performer or author reads what is said of another, and does not write it.
    if row.type == "Patient":
        return bool(inside) if place == "team" else row.id in inside
    whose = subject_of(row)
    return bool(inside) if whose is None else whose in inside


def subject_of(row: Row) -> str | None:
    """The one patient whose record it is part of; None where it names none, or may name several."""
    code = next((one for one in ("patient", "subject") if paths.parameter(row.type, one)), None)
    ways = () if code is None else paths.ways(row.type, code) or ()
    names = [[step.name for step in way if step.name is not None] for way in ways]
    for way in names:
        node = row.resource.get(way[0]) if len(way) == 1 and way[0] is not None else None
        of = paths.target(node) if isinstance(node, dict) else None
        if of is not None and of[0] == "Patient":
            return of[1]
    return None


def patients_of(row: Row) -> set[str]:
    """In whose compartments the resource is."""
    found = {row.id} if row.type == "Patient" else set()
    for code in compartment().get(row.type, ()):
        nodes = paths.values(row.resource, code)
        assert nodes is not None, (row.type, code)
        found |= {of[1] for node in nodes if (of := paths.target(node)) is not None and of[0] == "Patient"}
    return found - (_merged_with(row) - {row.id})


def _merged_with(row: Row) -> set[str]:
    """The patients that it replaces or is replaced by: neither is in the other's compartment."""
    links = row.resource.get("link", ()) if row.type == "Patient" else ()
    merged = [link["other"] for link in links if link["type"] in ("replaces", "replaced-by")]
    return {of[1] for other in merged if (of := paths.target(other)) is not None}


def teams_of(caller: Caller, rows: Iterable[Row]) -> set[str]:
    """The patients of the active care teams that the caller is in, now."""
    return {
        subject[1]
        for row in rows
        if row.type == "CareTeam" and row.current and row.resource.get("status") == "active"
        if any(paths.target(p.get("member")) == caller.user for p in row.resource.get("participant", ()))
        if (subject := paths.target(row.resource.get("subject"))) is not None and subject[0] == "Patient"
    }


# -- constraints of scopes: https://hl7.org/fhir/R4/search.html, without modifiers and chains

UNIONS = {"combo-code": ("code", "component-code")}


def holds(resource: dict[str, Any], name: str, value: str) -> bool:
    """Whether a search for `name=value` finds the resource; a type without the parameter is not found."""
    if name in UNIONS and resource["resourceType"] == "Observation":
        return any(holds(resource, part, value) for part in UNIONS[name])
    alternatives = [part for part in value.split(",") if part]
    if name == "_id":
        return resource["id"] in alternatives
    if name == "_lastUpdated":
        at = oracle.date_range(resource["meta"]["lastUpdated"])
        return any(oracle.date_holds(*_prefixed(one), at, datetime.now(UTC)) for one in alternatives)
    row = paths.parameter(resource["resourceType"], name)
    nodes = paths.values(resource, name)
    if row is None or nodes is None:
        return False
    return any(_matches(row["type"], node, one) for node in nodes for one in alternatives)


def _prefixed(text: str) -> tuple[str, str]:
    return (text[:2], text[2:]) if text[:2].isalpha() else ("", text)


def _matches(type_: str, node: Any, asked: str) -> bool:
    match type_:
        case "token":
            return any(oracle.token_holds(asked, s, c, exact) for s, c, exact in _tokens(node))
        case "reference":
            to = paths.target(node)
            return to is not None and asked in ("/".join(to), to[1], f"{paths.BASE}/{'/'.join(to)}")
        case "date":
            ranged = date_of(node)
            return ranged is not None and oracle.date_holds(*_prefixed(asked), ranged, datetime.now(UTC))
        case "string":
            return any(oracle.string_holds("", asked, text) for text in _texts(node))
    raise AssertionError(type_)


def _tokens(node: Any) -> list[tuple[str | None, str | None, bool]]:
    match node:
        case {"coding": codings}:
            return [(coding.get("system"), coding.get("code"), False) for coding in codings]
        case {"value": value, **others} if "code" not in others:
            return [(others.get("system"), value, True)]
        case {"code": code}:
            return [(node.get("system"), code, False)]
        case bool():
            return [(None, str(node).lower(), False)]
        case str():
            return [(None, node, False)]
    return []


def date_of(node: Any) -> oracle.Range | None:
    match node:
        case str():
            return oracle.date_range(node)
        case {"start": _} | {"end": _}:
            low = oracle.date_range(node["start"]).lo if "start" in node else datetime.min.replace(tzinfo=UTC)
            high = oracle.date_range(node["end"]).hi if "end" in node else datetime.max.replace(tzinfo=UTC)
            return oracle.Range(low, high, False)
    return None


def _texts(node: Any) -> Sequence[str]:
    if isinstance(node, str):
        return [node]
    if not isinstance(node, dict):
        return []
    return [
        text
        for value in node.values()
        for text in (value if isinstance(value, list) else [value])
        if isinstance(text, str)
    ]
