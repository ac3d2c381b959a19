"""What changes for everybody when packages come and go: search parameters, and what the server announces."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from fhirserver.db.pool import Connection
from fhirserver.db.sql import TRUE
from fhirserver.errors import Issue
from fhirserver.fhir.profile.library import Library
from fhirserver.fhir.profile.snapshot import Missing
from fhirserver.interactions import naming, shapes
from fhirserver.interactions.call import Call
from fhirserver.interactions.definitions import adopt
from fhirserver.interactions.packages.plan import Part
from fhirserver.params import definition
from fhirserver.store import packages, read
from fhirserver.store.packages import Announced

_GUIDE = "ImplementationGuide"


@dataclass(frozen=True, slots=True)
class Effect:
    """`idle` are SearchParameters that were written and cannot be searched by, by URL, with the first reason;
    `other_versions` is how many more are not in force because another version of them is."""

    idle: dict[str, str]
    other_versions: int


async def take_effect(connection: Connection, call: Call, written: Collection[str]) -> Effect:
    """Let search parameters of packages take effect: those `written`, by id, and those that could not until
    now, because another package had the same. What is announced follows.

    The rows are locked by the caller, or were committed before.
    """
    services = call.services
    ids = sorted({*written, *await packages.idle_parameters(connection, services.tenant)})
    current = await read.latest_of(connection, services.tenant, definition.TYPE, ids, TRUE)
    found = {id_: version.resource() for id_, version in current.items() if not version.deleted}
    faults = await adopt(connection, services, found)
    await shapes.change(connection, services, {})
    await naming.change(connection, services, {})
    reasons = {id_: issues[0] for id_, issues in sorted(faults.items())}
    mine = [(id_, one) for id_, one in reasons.items() if id_ in written]
    idle = {str(found[id_]["url"]): one.diagnostics for id_, one in mine if not _is_other(one)}
    return Effect(idle, sum(_is_other(one) for _, one in mine))


def unusable(library: Library, canonicals: Iterable[str]) -> dict[str, str]:
    """StructureDefinitions that nothing can be judged by as it stands, with the reasons. Takes a while."""
    found: dict[str, str] = {}
    for canonical in sorted(canonicals):
        definition = library.find(canonical)
        try:
            fault = None if definition is None else library.fault(definition)
        except Missing as error:
            fault = str(error)
        if fault is not None:
            found[canonical] = fault
    return found


def _is_other(reason: Issue) -> bool:
    """Whether what keeps a parameter from being in force is that its URL is in force already."""
    return (reason.code, reason.expression) == ("duplicate", f"{definition.TYPE}.url")


def announcement(part: Part) -> Announced:
    """What the CapabilityStatement says of a package: its guide, what it asks of servers, its profiles."""
    items = part.items.values()
    profiles: dict[str, list[str]] = {}
    for item in items:
        if item.profiles is not None:
            profiles.setdefault(item.profiles, []).append(item.canonical)
    guides = [item.canonical for item in items if item.type == _GUIDE]
    manifest = part.manifest
    if not guides and manifest.canonical is not None:
        guides = [f"{manifest.canonical}/{_GUIDE}/{manifest.name}|{manifest.version}"]
    return Announced.of(guides, (item.canonical for item in items if item.serves), profiles)
