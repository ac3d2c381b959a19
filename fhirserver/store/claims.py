"""Identifiers that only one resource may have, kept so by all who write.

A writer holds the stripes of what its resources claim from when they are written until it commits, so of
many at once each sees what those before it have claimed; the unique index stands behind that. Claims are
derived from the resources that are current, as index entries are.

A record whose links of type `replaced-by` lead to one that is there and stays gives up what it claims: that
one may have it. A link that leads to nobody, or around in a circle, frees nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.db.queries import Queries
from fhirserver.db.retry import Outdated
from fhirserver.errors import Conflict, Issue
from fhirserver.identity.unique import TYPES, Claim, System, Systems, end_of
from fhirserver.store.locks import CLAIM_CLASS, STRIPES, waiting
from fhirserver.store.version import Draft

QUERIES: Final = Queries(Path(__file__).with_name("claims.sql"))
BUILD_TIMEOUT_S: Final = 600
LINKS_MAX: Final = 100
"""Links of type `replaced-by` that are followed, from one record to the next."""


@dataclass(frozen=True, slots=True)
class Clash:
    """A draft claims what the resource `holder` of the same type has; both may be written together."""

    draft: Draft
    claim: Claim
    holder: str

    def issue(self, pointer: str = "") -> Issue:
        """`pointer`: where the other one is, for those who may see it."""
        text = f"another {self.draft.type} has the identifier {self.claim.system}|{self.claim.value}{pointer}"
        return Issue("error", "duplicate", text, self.claim.path)


class Taken(Conflict):
    """Identifiers that only one resource may have belong to another one already (409).

    Raised inside the writer's transaction, which has to be rolled back. Does not say to whom.
    """

    code = "duplicate"
    clashes: tuple[Clash, ...] = ()

    @classmethod
    def by(cls, clashes: Sequence[Clash]) -> Taken:
        made = cls(issues=[clash.issue() for clash in clashes])
        made.clashes = tuple(clashes)
        return made


def matters(draft: Draft) -> bool:
    """Whether writing the draft claims or releases anything."""
    return draft.claims is not None and (bool(draft.claims) or draft.after is not None)


async def claim(connection: Connection, tenant: int, drafts: Sequence[Draft]) -> None:
    """Claim for the drafts, which are just written in this transaction, what they have, and release what they
    had. Raises Taken."""
    by_type: dict[str, list[Draft]] = defaultdict(list)
    for draft in drafts:
        if matters(draft):
            by_type[draft.type].append(draft)
    stripes = {
        int.from_bytes(one.key[:4], "big") % STRIPES
        for own in by_type.values()
        for draft in own
        for one in draft.claims or ()
    }
    with waiting():
        if stripes:
            await connection.execute(QUERIES["lock"], CLAIM_CLASS, sorted(stripes))
        clashes = [
            clash
            for type_ in sorted(by_type)
            for clash in await _claim(connection, tenant, type_, by_type[type_])
        ]
    if clashes:
        raise Taken.by(clashes)


async def _claim(connection: Connection, tenant: int, type_: str, drafts: Sequence[Draft]) -> list[Clash]:
    wanted = [(draft, one) for draft in drafts for one in draft.claims or ()]
    keys, ids = [one.key for _, one in wanted], [draft.id for draft, _ in wanted]
    others = [one.replaced_by for _, one in wanted]
    replacing = [draft.id for draft in drafts if draft.after is not None]
    if replacing:
        await connection.execute(QUERIES["release"], tenant, type_, replacing, keys, ids, others)
    if not wanted:
        return []
    having: dict[bytes, dict[str, str | None]] = defaultdict(dict)
    for key, id_, other in await connection.fetch(QUERIES["take"], tenant, type_, keys, ids, others):
        having[key][id_] = other
    for draft, one in wanted:
        having[one.key][draft.id] = one.replaced_by
    shared = {key: found for key, found in having.items() if len(found) > 1}
    return list(_clashes(wanted, await _bound(connection, tenant, type_, shared)))


def _clashes(wanted: Sequence[tuple[Draft, Claim]], bound: Bound) -> Iterator[Clash]:
    """Of drafts that want the same, the first one has it, unless somebody has it already."""
    ids = {(one.key, draft.id) for draft, one in wanted}
    seen = {key: [id_ for id_ in found if (key, id_) not in ids] for key, found in bound.items()}
    for draft, one in wanted:
        ends = bound.get(one.key, {})
        if draft.id not in ends:
            continue
        other = next((id_ for id_ in seen[one.key] if ends[id_] != ends[draft.id]), None)
        if other is not None:
            yield Clash(draft, one, other)
        seen[one.key].append(draft.id)


Shared = Mapping[bytes, Mapping[str, str | None]]
"""By key the ids of all that have claimed it, each with the id of the one that stands in its place."""
Bound = Mapping[bytes, Mapping[str, str]]
"""By key the ids of those whose claim binds others, each with where its links end."""


async def _bound(connection: Connection, tenant: int, type_: str, shared: Shared) -> Bound:
    """Without those that have given up what they claim, to one that is there and stays."""
    known = {id_: other for found in shared.values() for id_, other in found.items()}
    for _ in range(LINKS_MAX):
        unknown = {other for other in known.values() if other is not None} - known.keys()
        if not unknown:
            break
        found = await connection.fetch(QUERIES.on("standing", type_), tenant, sorted(unknown))
        if not found:
            break
        known |= dict(found)
    bound: dict[bytes, dict[str, str]] = {}
    for key, found in shared.items():
        ends = {id_: end_of(id_, known) for id_ in found}
        bound[key] = {id_: end for id_, end in ends.items() if id_ == end or known.get(end, end) is not None}
    return bound


async def release(connection: Connection, tenant: int, type_: str, rids: Sequence[int]) -> None:
    """Release what versions claimed that were just deleted in this transaction."""
    if type_ in TYPES:
        await connection.execute(QUERIES.on("release_buried", type_), tenant, type_, rids)


async def require_current(connection: Connection, tenant: int, drafts: Sequence[Draft], known: int) -> None:
    """Raise Outdated where systems became unique, or ceased to be, before the drafts were written: from then
    on the transaction holds that up."""
    if any(draft.type in TYPES for draft in drafts):
        since: Any = await connection.fetchval(QUERIES["since"], tenant)
        if (since or 0) > known:
            raise Outdated


# -- which systems there are


async def systems(connection: Connection, tenant: int) -> Systems:
    """What is in force."""
    rows: Any = await connection.fetch(QUERIES["systems"], tenant)
    return Systems.of(System(*row) for row in rows)


async def naming_systems(connection: Connection, tenant: int) -> Sequence[Any]:
    """Id and content of those NamingSystems that may declare something."""
    return await connection.fetch(QUERIES["naming_systems"], tenant)


async def change(
    connection: Connection, tenant: int, before: Systems, after: Mapping[tuple[str, str], System]
) -> dict[str, list[str]]:
    """Put other systems in force, with the claims of all that is stored; by type the systems of whose
    identifiers several resources have the same already.

    The caller holds the lock of definitions, has advanced their version, and rolls back where there are any
    of these.
    """
    changed = [one for one in {*before.named.values(), *after.values()} if one not in before.named.values()]
    changed += [one for one in before.named.values() if one not in after.values()]
    types = sorted({one.type for one in changed if one.is_unique})
    for type_ in types:
        await hold(connection, type_)
    await connection.execute(QUERIES["changed"], tenant)
    await connection.execute(QUERIES["forget_systems"], tenant)
    await connection.executemany(QUERIES["add_system"], [(tenant, *one) for one in after.values()])
    return {type_: found for type_ in types if (found := await rebuild(connection, tenant, type_))}


async def hold(connection: Connection, type_: str) -> None:
    """Wait for those who write resources of a type, and let nobody until the transaction ends."""
    await connection.execute(f"SET LOCAL statement_timeout = '{BUILD_TIMEOUT_S}s'")
    await connection.execute(QUERIES["hold_writers"], type_, timeout=BUILD_TIMEOUT_S)


async def rebuild(connection: Connection, tenant: int, type_: str) -> list[str]:
    """Make all claims of a type anew, whose writers are held; the systems of what is claimed twice."""
    found = await connection.fetch(_over("shared", type_), tenant, type_, timeout=BUILD_TIMEOUT_S)
    await connection.execute(QUERIES["release_all"], tenant, type_, timeout=BUILD_TIMEOUT_S)
    await connection.execute(_over("build", type_), tenant, type_, timeout=BUILD_TIMEOUT_S)
    shared: dict[bytes, dict[str, str | None]] = defaultdict(dict)
    for row in found:
        shared[row["key"]][row["id"]] = row["replaced_by"]
    bound = await _bound(connection, tenant, type_, shared)
    doubled = {key for key, ends in bound.items() if len(set(ends.values())) > 1}
    return sorted({row["canonical"] for row in found if row["key"] in doubled})


async def differences(connection: Connection, tenant: int, type_: str) -> int:
    """How many claims are not as they should be."""
    found: Any = await connection.fetchval(
        _over("differences", type_), tenant, type_, timeout=BUILD_TIMEOUT_S
    )
    return found


def _over(name: str, type_: str) -> str:
    return QUERIES.on(name, type_).replace("{wanted}", QUERIES.on("wanted", type_))
