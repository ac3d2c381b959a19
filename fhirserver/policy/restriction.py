"""What a caller may see and do, as a value that `search/restrict` compiles into every statement.

A restriction is a union of permits; a permit pairs what may be done with where it may be done, so that one
scope's context never serves another scope. https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from fhirserver.fhir.structure import COMPARTMENTS, ENDPOINT_TYPES, STRUCTURES
from fhirserver.policy.consent.asking import Asking


@dataclass(frozen=True, slots=True)
class Everything:
    """No restriction beyond the tenant, as nobody has to sign in, and consents, where they are enforced."""

    asking: Asking | None = None


@dataclass(frozen=True, slots=True)
class Nothing:
    """No row at all."""


@dataclass(frozen=True, slots=True)
class Compartment:
    """The rows in the compartment of a resource, and of types in no compartment those that are shared."""

    type: str
    id: str


@dataclass(frozen=True, slots=True)
class CareTeams:
    """The compartments of the patients in whose active CareTeam the member, a Practitioner or
    PractitionerRole, takes part."""

    member: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Unowned:
    """The rows that name no patient: of a type that is somebody's record or nobody's, as Device is."""


Place = Compartment | CareTeams | Unowned


@dataclass(frozen=True, slots=True)
class Permit:
    """`actions` on the rows of `types` that lie in all of `places` and fulfil `criteria`,
    search parameters with their values, all of which must hold."""

    types: frozenset[str]
    actions: frozenset[str]
    places: tuple[Place, ...] = ()
    criteria: tuple[tuple[str, str], ...] = ()

    def covers(self, resource_type: str, action: str) -> bool:
        return action in self.actions and resource_type in self.types

    @property
    def is_narrow(self) -> bool:
        """Whether it leaves out rows of the types it is about."""
        return bool(self.places or self.criteria)


@dataclass(frozen=True, slots=True)
class Permits:
    """Any of the permits, as long as the grant (its number) is neither revoked nor over, and as far as
    consents let who asks."""

    permits: tuple[Permit, ...]
    grant: int | None = None
    asking: Asking | None = None

    def __hash__(self) -> int:
        """Of enough to tell callers apart: each request looks up its SQL."""
        return hash((self.grant, self.permits[:1]))

    def of(self, resource_type: str, action: str) -> tuple[Permit, ...]:
        return tuple(permit for permit in self.permits if permit.covers(resource_type, action))

    def reads_what_it_writes(self, resource_type: str) -> bool:
        """Whether every permit to change rows of the type is one to read them."""
        return all("r" in permit.actions for permit in self.of(resource_type, "u"))


Restriction = Everything | Nothing | Permits

EVERYTHING = Everything()
NOTHING = Nothing()


def keeping(restriction: Restriction) -> Restriction:
    """What was granted to who keeps consents, whatever these say; for everybody else the restriction."""
    if isinstance(restriction, Nothing) or restriction.asking is None or not restriction.asking.administers:
        return restriction
    return replace(restriction, asking=None)


def is_narrow(restriction: Restriction, resource_type: str) -> bool:
    """Whether a caller may create or update some of a type only."""
    match restriction:
        case Everything(asking):
            return asking is not None and may_be_hidden(resource_type)
        case Nothing():
            return True
        case Permits(permits, _, asking):
            if asking is not None and may_be_hidden(resource_type):
                return True
            if resource_type in FOLLOWING and not sees_all(restriction):
                return True
            whole = {a for p in permits if not p.is_narrow for a in p.actions if p.covers(resource_type, a)}
            return not whole.issuperset("cu")


@lru_cache(maxsize=4_096)
def sees_all(restriction: Everything | Permits) -> bool:
    """Whether a caller may read all rows, but for those of types that have to be named."""
    if restriction.asking is not None:
        return False
    if isinstance(restriction, Everything):
        return True
    whole = (permit.types for permit in restriction.permits if not permit.is_narrow and "r" in permit.actions)
    return frozenset[str]().union(*whole) >= ENDPOINT_TYPES - RECORDED


SHARED = frozenset(
    {
        *("ActivityDefinition", "CodeSystem", "ConceptMap", "Endpoint", "HealthcareService", "Location"),
        *("Medication", "MedicationKnowledge", "NamingSystem", "ObservationDefinition"),
        *("OperationDefinition", "Organization", "OrganizationAffiliation", "PlanDefinition", "Practitioner"),
        *("PractitionerRole", "Questionnaire", "SearchParameter", "SpecimenDefinition"),
        *("StructureDefinition", "Substance", "ValueSet"),
    }
)
"""Types that hold nobody's record and that records refer to: a patient's app may read them.

An explicit list: a type in no compartment that is not here (Group, Basic, Binary, Bundle, ...) stays closed.
"""

DEFINING = frozenset(
    {
        *("CapabilityStatement", "CodeSystem", "CompartmentDefinition", "ConceptMap", "ImplementationGuide"),
        *("NamingSystem", "OperationDefinition", "SearchParameter", "StructureDefinition", "ValueSet"),
        *("Person", "PractitionerRole"),
    }
)
"""Types by which the server itself goes: who writes them changes what everybody's requests mean and find, or
who may sign in as whom and with which roles."""

RECORDED = frozenset({"AuditEvent"})
"""Types that say who did what: https://hl7.org/fhir/R4/auditevent.html. No `*` is about them, not even for
reading: who may see them is named. They are added to and never changed, and consents do not hide them: who
forbids an access must not take it out of the auditor's sight."""

OWNED = frozenset({"Device"})
"""Types outside the Patient compartment of R4 that name the patient whose they are, if they are anybody's.

https://hl7.org/fhir/R4/device-definitions.html#Device.patient
"""


MANY = frozenset({"Group"})
"""Types in the Patient compartment that are about many patients at once: what one of them may see of
them would show the others."""


def in_compartment(compartment: str, resource_type: str) -> bool:
    """Whether rows of a type can lie in such a compartment and be shown to whoever's it is."""
    if compartment == "Patient" and resource_type in MANY:
        return False
    if resource_type == compartment or bool(COMPARTMENTS[compartment].get(resource_type)):
        return True
    return compartment == "Patient" and resource_type in OWNED


def _refers(type_: str, seen: frozenset[str] = frozenset()) -> bool:
    """Whether what a type is made of says something of a patient, by a reference or a resource within it.

    Who noted or signed it is not what it is about, and what may hold any value at all says nothing of itself.
    """
    if type_ in seen or type_ in _ABOUT_OTHERS:
        return False
    for name, element in STRUCTURES[type_].elements.items():
        if len(element.types) > _VALUES_MAX or name == "contained":
            continue
        for one in element.types:
            if one == "Resource" or (one == "Reference" and "Patient" in (element.targets or ("Patient",))):
                return True
            if STRUCTURES[one].kind in ("backbone", "complex") and _refers(one, seen | {type_}):
                return True
    return False


_ABOUT_OTHERS: Final = frozenset({"Annotation", "Extension", "Meta", "Narrative", "Reference", "Signature"})
_VALUES_MAX: Final = 20

FOLLOWING: Final = frozenset({"Binary"})
"""Types of which R4 says that access follows another resource, that they name:
https://hl7.org/fhir/R4/binary-definitions.html#Binary.securityContext"""

REFERRING: Final = frozenset(
    type_
    for type_ in ENDPOINT_TYPES - SHARED - DEFINING - RECORDED - FOLLOWING - COMPARTMENTS["Patient"].keys()
    if type_ != "Patient" and _refers(type_)
)
"""Types that R4 puts into no Patient compartment, and that may refer to a patient all the same, as Task.for
does: their rows are about the patients that they refer to, for consents and for nothing else."""


def is_about_patients(resource_type: str) -> bool:
    """Whether rows of a type can be somebody's, whose consents then decide about them."""
    if resource_type in RECORDED:
        return False
    return (
        resource_type in REFERRING or resource_type in COMPARTMENTS["Patient"] or resource_type == "Patient"
    )


def reads_patients(restriction: Restriction) -> bool:
    """Whether a caller may read anything at all that can be somebody's."""
    if isinstance(restriction, Permits):
        return any(
            "r" in permit.actions and any(map(may_be_hidden, permit.types)) for permit in restriction.permits
        )
    return isinstance(restriction, Everything)


def may_be_hidden(resource_type: str) -> bool:
    """Whether consents may hide rows of a type."""
    return is_about_patients(resource_type) or resource_type in FOLLOWING


def narrowed_to(
    types: frozenset[str], actions: frozenset[str], place: Place, criteria: tuple[tuple[str, str], ...] = ()
) -> list[Permit]:
    """`actions` on types within a Patient compartment; of what is nobody's record, reading alone."""
    reading = actions & frozenset("rs")
    inside = frozenset(type_ for type_ in types if in_compartment("Patient", type_))
    found = [Permit(inside, actions, (place,), criteria)] if inside else []
    if reading and (shared := types & SHARED):
        found.append(Permit(shared, reading, (), criteria))
    if reading and (owned := types & OWNED):
        found.append(Permit(owned, reading, (Unowned(),), criteria))
    return found
