"""One AuditEvent, made of what was done, by whom, to whose record.

https://hl7.org/fhir/R4/auditevent.html; the patterns are those of IHE Basic Audit Log Patterns,
https://profiles.ihe.net/ITI/BALP/. It holds references and the words of the request, and nothing that stands
in a record.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from fhirserver.fhir.links import holders
from fhirserver.fhir.reference import parse
from fhirserver.fhir.structure import Resource
from fhirserver.policy.audit import codes
from fhirserver.policy.audit.codes import Coding
from fhirserver.policy.principal import Principal

Action = Literal["C", "R", "U", "D", "E"]

PROFILE: Final = f"{codes.BALP}/StructureDefinition/IHE.BasicAudit."
_PROFILED: Final[dict[str, str]] = {"C": "Create", "R": "Read", "U": "Update", "D": "Delete", "E": "Query"}
_PARTS: Final[dict[str, tuple[Coding, Coding, Coding]]] = {
    "C": (codes.SOURCE, codes.DESTINATION, codes.AUTHOR),
    "U": (codes.SOURCE, codes.DESTINATION, codes.AUTHOR),
    "D": (codes.APPLICATION, codes.CUSTODIAN, codes.AUTHOR),
    "R": (codes.DESTINATION, codes.SOURCE, codes.RECIPIENT),
    "E": (codes.SOURCE, codes.DESTINATION, codes.RECIPIENT),
}
"""What app, server and user are in an event of REST, by its action."""
_HERE: Final = {"type": "1"}
"""Where the server is says its base."""
_ENTERED: Final = (codes.APPLICATION, codes.AUTHORIZER, codes.RECIPIENT)
"""What they are in any other event."""


@dataclass(frozen=True, slots=True)
class Site:
    """This server: its FHIR base, and the system of the identifiers of apps."""

    base: str
    apps: str

    @property
    def reference(self) -> dict[str, Any]:
        """By which it names itself. In every event, it is no search value."""
        return {"display": self.base}


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, from which address; None where the server itself acts.
    `purpose` is a code of v3-ActReason, `reason` what was said to break the glass, `login` the name by which
    somebody tried to sign in."""

    principal: Principal
    address: str | None = None
    purpose: str | None = None
    reason: str | None = None
    login: str | None = None


@dataclass(frozen=True, slots=True)
class Deed:
    """A kind of event: AuditEvent.action, subtype and type."""

    action: Action
    subtypes: tuple[Coding, ...]
    type: Coding = codes.REST


@dataclass(frozen=True, slots=True)
class Outcome:
    """https://hl7.org/fhir/R4/valueset-audit-event-outcome.html, and in words what kept it from success."""

    code: Literal["0", "4", "8"] = "0"
    text: str | None = None


SUCCESS: Final = Outcome()


@dataclass(frozen=True, slots=True)
class Subject:
    """What it was done to: whose record it is, references to resources, the words of a search."""

    patient: str | None = None
    data: tuple[str, ...] = ()
    query: str | None = None
    others: tuple[Resource, ...] = ()


@dataclass(frozen=True, slots=True)
class Happening:
    """What one AuditEvent tells; `at` is in UTC, `request` the id of the request that it is about."""

    site: Site
    asker: Asker
    deed: Deed
    outcome: Outcome
    subject: Subject
    at: datetime
    request: str | None = None

    @property
    def recorded(self) -> str:
        """The instant, with the microseconds."""
        return f"{self.at.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"

    @property
    def profile(self) -> str | None:
        """BALP's for a success with one resource or one search; it has none for anything else."""
        deed, subject = self.deed, self.subject
        if deed.type != codes.REST or self.outcome.code != "0":
            return None
        if (len(subject.data) != 1) if deed.action != "E" else subject.query is None:
            return None
        return f"{PROFILE}{'Patient' if subject.patient else ''}{_PROFILED[deed.action]}"

    def resource(self) -> Resource:
        """The AuditEvent, without an id."""
        made: Resource = {"resourceType": "AuditEvent"}
        if self.profile is not None:
            made["meta"] = {"profile": [self.profile]}
        asker, deed = self.asker, self.deed
        made["type"] = deed.type.element()
        made["subtype"] = [one.element() for one in deed.subtypes]
        made["action"] = deed.action
        made["recorded"] = self.recorded
        made["outcome"] = self.outcome.code
        said = "; ".join(text for text in (self.outcome.text, asker.reason) if text)
        if said:
            made["outcomeDesc"] = said
        if asker.purpose is not None:
            made["purposeOfEvent"] = [_purpose(asker.purpose)]
        made["agent"] = agents(self.site, asker, deed)
        made["source"] = {"observer": self.site.reference, "type": [codes.APPLICATION_SERVER.element()]}
        if entities := _entities(self.request, self.subject):
            made["entity"] = entities
        return made


def _purpose(code: str) -> dict[str, Any]:
    return {"coding": [Coding(codes.ACT_REASON, code).element()]}


def agents(site: Site, asker: Asker, deed: Deed) -> list[dict[str, Any]]:
    """The user, if there is one, the app and the server."""
    app, server, user = _PARTS[deed.action] if deed.type == codes.REST else _ENTERED
    principal, found = asker.principal, []
    if principal.user is not None:
        found.append(
            {
                "type": _concept(user),
                **({"role": [_role(one.name) for one in principal.roles]} if principal.roles else {}),
                "who": {"reference": "/".join(principal.user)},
                "requestor": True,
                **({"purposeOfUse": [_purpose(asker.purpose)]} if asker.purpose is not None else {}),
            }
        )
    elif asker.login is not None:
        unknown = {"display": "not known"}
        found.append({"type": _concept(user), "who": unknown, "altId": asker.login, "requestor": True})
    who, network = _app(site, asker)
    found.append({"type": _concept(app), "who": who, "requestor": not found, "network": network})
    found.append({"type": _concept(server), "who": site.reference, "requestor": False, "network": _HERE})
    return found


def _app(site: Site, asker: Asker) -> tuple[dict[str, Any], dict[str, str]]:
    """Who the app is, and where: the server itself, one that has signed in, or anybody."""
    if asker.address is None:
        return site.reference, _HERE
    network = {"address": asker.address, "type": "2"}
    client = asker.principal.client
    if client is None:
        return {"display": "not signed in"}, network
    return {"identifier": {"system": site.apps, "value": client}}, network


def _concept(coding: Coding) -> dict[str, Any]:
    return {"coding": [coding.element()]}


def _role(name: str) -> dict[str, Any]:
    return {"coding": [{"code": name}]}


def _entities(request: str | None, subject: Subject) -> list[dict[str, Any]]:
    """The request, the resources, the search and the patient: a slice each in BALP."""
    found: list[dict[str, Any]] = []
    if request is not None:
        found.append({"what": {"identifier": {"value": request}}, "type": codes.REQUEST.element()})
    found += [_entity(_what(one), codes.OBJECT, codes.DOMAIN_RESOURCE) for one in subject.data]
    if subject.query is not None:
        query = b64encode(subject.query.encode()).decode()
        found.append({"type": codes.OBJECT.element(), "role": codes.QUERY.element(), "query": query})
    found += subject.others
    if subject.patient is not None:
        found.append(_entity({"reference": subject.patient}, codes.PERSON, codes.PATIENT))
    return found


def _what(path: str) -> dict[str, str]:
    """`Patient/1/_history/2`, `Patient/1`, or `Patient` for one of which no more is known."""
    return {"reference": path} if "/" in path else {"type": path}


def _entity(what: dict[str, Any], type_: Coding, role: Coding) -> dict[str, Any]:
    return {"what": what, "type": type_.element(), "role": role.element()}


def patients_in_role(event: Resource) -> list[str]:
    """Whose record an AuditEvent is about, whoever recorded it: its entities in the role of the patient."""
    role, found = codes.PATIENT.element(), list[str]()
    for one in event.get("entity", ()):
        reference = one.get("what", {}).get("reference", "")
        if role.items() <= one.get("role", {}).items() and reference.startswith("Patient/"):
            found.append("/".join(reference.split("/")[:2]))
    return list(dict.fromkeys(found))


def may_name_others(event: Resource, patient: str) -> bool:
    """Whether an event that another system sent may tell `patient` of somebody else, whatever it calls them:
    by anything but who asked, which one may know. Of texts that nobody here has read it may."""
    rest = {name: value for name, value in event.items() if name != "agent"}
    named = {_patient_of(one["reference"]) for one in holders(rest)}
    held = {one.get("resourceType") for one in event.get("contained", ())}
    if named - {None, patient} or "Patient" in held:
        return True
    return any(_may_be_another(one, patient) for one in event.get("entity", ()))


def _may_be_another(entity: Resource, patient: str) -> bool:
    what = entity.get("what", {})
    if "reference" in what and _patient_of(what["reference"]) == patient:
        return False
    is_person = entity.get("type", {}).get("code") == codes.PERSON.code
    is_patient = entity.get("role", {}).get("code") == codes.PATIENT.code or what.get("type") == "Patient"
    is_text = "query" in entity or what.keys().isdisjoint(("reference", "identifier"))
    return is_person or is_patient or is_text


def _patient_of(text: str) -> str | None:
    """The Patient that a reference means, here as Patient/[id]; None for what is none."""
    found = parse(text)
    if found.type != "Patient":
        return None
    return f"Patient/{found.id}" if found.is_local else text
