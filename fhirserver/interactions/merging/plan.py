"""What would become of two Patients, merged or not: the rules, which only read.

https://build.fhir.org/patient-operation-merge.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.db.sql import TRUE
from fhirserver.errors import Conflict, Invalid, Issue, Structure, Unprocessable
from fhirserver.fhir.structure import Resource
from fhirserver.fhir.validate import validate
from fhirserver.identity.merging import Restored, has, links, replaced, replacing, restored
from fhirserver.interactions.call import Services
from fhirserver.interactions.draft import labelled
from fhirserver.interactions.terms import conform
from fhirserver.store import merges, read
from fhirserver.store.merges import Merge
from fhirserver.store.version import Version

CONFLICTS_MAX: Final = 100
"""Conflicts that are named."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Source and target as they become; `conflicts` are elements that a merge and others changed."""

    source: Resource
    target: Resource
    conflicts: tuple[Issue, ...] = ()


async def require_free(connection: Connection, services: Services, merge: Merge) -> None:
    """Raise Conflict while another merge of one of the two is under way."""
    ids = [merge.source, merge.target]
    other = await merges.under_way(connection, services.tenant, merge.type, ids)
    if other is not None and other.id != merge.id:
        raise Conflict(
            f"a merge of {other.type}/{other.source} and {other.type}/{other.target} is under way:"
            f" see Task/{other.task}"
        )


async def require_distinct(connection: Connection, services: Services, merge: Merge) -> None:
    """Raise Unprocessable unless both are there as they are: neither the same nor merged into others."""
    if merge.source == merge.target:
        raise Unprocessable(f"source and target are both {merge.type}/{merge.source}")
    ids = [merge.source, merge.target]
    found = await merges.in_force(connection, services.tenant, merge.type, ids)
    for id_ in ids:
        if id_ in found:
            raise Unprocessable(
                f"{merge.type}/{id_} was merged into {merge.type}/{found[id_].target} already"
            )


def require_based(merge: Merge, target: Version) -> None:
    """Raise Conflict where `result-patient` was made of another version of the target than there is."""
    based = merge.request.get("based")
    if based is not None and based != str(target.version):
        raise Conflict(
            f"'result-patient' was made of version {based} of {target.path}, which has version"
            f" {target.version} now"
        )


def merged(services: Services, merge: Merge, source: Version, target: Version) -> Pair:
    """What the two become, the target as the request gives it, if it does. Raises Unprocessable."""
    own_bases, now = services.own_bases, target.resource()
    if now.get("active") is False:
        raise Unprocessable(f"{target.path} is inactive: only an active record can stand for another")
    for one, version in ((source, source), (target, target)):
        others = [
            link
            for link in one.resource().get("link", ())
            if link.get("type") == "replaced-by"
            and not links({**one.resource(), "link": [link]}, "replaced-by", target.id, own_bases)
        ]
        if others:
            raise Unprocessable(f"{version.path} says that another one replaces it")
    given = merge.request.get("result")
    if given is None:
        return Pair(replaced(source.resource(), target.id), replacing(now, source.resource()))
    return Pair(replaced(source.resource(), target.id), labelled({**given, "id": target.id}, target))


def require_result(
    services: Services, given: Resource, source: Version, target: Version, asked: list[dict[str, Any]]
) -> None:
    """Raise Invalid unless `result-patient` is the target, with the link to the source and all identifiers
    that were asked for."""
    if given.get("id") != target.id:
        raise Invalid(f"'result-patient' is the target: its id is {target.id!r}, not {given.get('id')!r}")
    if not links(given, "replaces", source.id, services.own_bases):
        raise Invalid(f"'result-patient' needs a link of type replaces to {source.path}", "Patient.link")
    is_replaced = any(link.get("type") == "replaced-by" for link in given.get("link", ()))
    if is_replaced or given.get("active") is False:
        raise Invalid(
            "'result-patient' is the one that stays: active, and replaced by nobody", "Patient.active"
        )
    for one in asked:
        if not has(given, one, services.definitions.known.systems):
            raise Invalid(
                f"'result-patient' lacks the identifier {one.get('system', '')}|{one.get('value', '')}",
                "Patient.identifier",
            )


async def require_undoable(connection: Connection, services: Services, merge: Merge) -> Merge:
    """The merge that is to be undone. Raises Unprocessable."""
    type_, ids = merge.type, [merge.source, merge.target]
    found = await merges.in_force(connection, services.tenant, type_, ids)
    of = found.get(merge.source)
    if of is None or of.target != merge.target:
        raise Unprocessable(f"{type_}/{merge.source} is not merged into {type_}/{merge.target}")
    if merge.target in found:
        other = found[merge.target].target
        raise Unprocessable(
            f"{type_}/{merge.target} was itself merged into {type_}/{other} since: undo that first"
        )
    return of


async def unmerged(
    connection: Connection, services: Services, of: Merge, source: Version, target: Version, back: bool | None
) -> Pair:
    """What the two become without the merge, with what was edited since.

    What merges of before it brought is no part of the target any more where these were undone since.
    """
    earlier = [
        await _changed(connection, services, one.type, one.target, one.versions[1])
        for one in await merges.undone_since(connection, services.tenant, of.id)
    ]
    found: list[Restored] = []
    for now, after, gone in zip((source, target), of.versions, ([], earlier), strict=True):
        was, did = await _changed(connection, services, of.type, now.id, after)
        for change in gone:
            was, did = (restored(*change, one, False).patient for one in (was, did))
        found.append(restored(was, did, now.resource(), back))
    return Pair(found[0].patient, found[1].patient, (*found[0].conflicts, *found[1].conflicts))


async def _changed(
    connection: Connection, services: Services, type_: str, id_: str, version: int
) -> tuple[Resource, Resource]:
    """A resource before it became a version, and as this version."""
    before, after = [
        await read.numbered(connection, services.tenant, type_, id_, number, TRUE)
        for number in (version - 1, version)
    ]
    assert before is not None and after is not None
    return before.resource(), after.resource()


def require_valid(services: Services, patient: Resource, before: Version) -> None:
    """Raise Unprocessable where what undoing makes of a Patient after `before` nobody could store."""
    known = services.definitions.known
    try:
        validate(patient)
        conform(services, patient, known.library)
        known.systems.require_valid(patient)
    except (Structure, Unprocessable) as error:
        note = Issue(
            "error",
            "conflict",
            f"{before.path} would not be valid without the merge, but with what was written since",
        )
        raise Unprocessable(issues=[note, *error.issues]) from None


def require_no_conflicts(conflicts: list[Issue]) -> None:
    """Raise Unprocessable naming what was changed by a merge and by others."""
    if conflicts:
        more = len(conflicts) - CONFLICTS_MAX
        note = [Issue("information", "incomplete", f"and {more} more")] if more > 0 else []
        raise Unprocessable(issues=[*conflicts[:CONFLICTS_MAX], *note])
