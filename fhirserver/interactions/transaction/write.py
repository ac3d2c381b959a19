"""The versions that a transaction writes.

Resources without conditional references go first, so that conditional references find them.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence

from fhirserver.db.pool import Connection
from fhirserver.errors import Gone, NotFound, Unprocessable
from fhirserver.interactions.answer import written
from fhirserver.interactions.app_state import require_same
from fhirserver.interactions.call import Call
from fhirserver.interactions.conditions import require_match
from fhirserver.interactions.create import exists
from fhirserver.interactions.definitions import faults, undefine
from fhirserver.interactions.draft import draft, draft_of_change, labelled
from fhirserver.interactions.identifiers import explained_in
from fhirserver.interactions.integrity import missing_targets, verify_unreferenced
from fhirserver.interactions.merging.tracing import unless_repeated
from fhirserver.interactions.own import own_identities
from fhirserver.interactions.patch import asks, patched
from fhirserver.interactions.permission import outside, permitted_identities, require_read
from fhirserver.interactions.transaction.item import Item
from fhirserver.interactions.transaction.links import Links, find
from fhirserver.interactions.transaction.resolve import Identity, LatestOf
from fhirserver.interactions.update import require_free_choice, require_unused
from fhirserver.store import read
from fhirserver.store import write as store
from fhirserver.store.claims import Taken
from fhirserver.store.version import Draft, Version
from fhirserver.store.write import Writer

DRAFTS_BETWEEN_PAUSES = 100


async def write_all(
    connection: Connection,
    call: Call,
    writes: Sequence[Item],
    latest: LatestOf,
    links: Links,
    writer: Writer,
) -> None:
    """Write what is left to write and give every item its answer."""
    links.learn(latest)
    pending = [item for item in writes if item.answer is None and not _is_echo(item)]
    current = await _contents(connection, call, pending, latest)
    for item in pending:
        item.before = [current[item.identity]] if item.identity in current else []
    plain = [item for item in pending if not links.is_conditional(item)]
    later = [item for item in pending if links.is_conditional(item)]

    async def write(items: Sequence[Item]) -> list[tuple[Item, Draft]]:
        return await _write(connection, call, items, current, latest, links, writer)

    made = await write(plain)
    if later:
        await _resolve(connection, call, later, links, write)
        made += await write(later)
    _answer_echoes(writes)
    for action, existed in (("c", False), ("u", True)):
        of_action = [pair for pair in made if (pair[0].identity in current) is existed]
        await _require_permitted(connection, of_action, action)
    await _verify(connection, call, writes, made)


async def _require_permitted(connection: Connection, made: Sequence[tuple[Item, Draft]], action: str) -> None:
    """What was written has to lie within what its writer, the same for all, may write. Raises Forbidden."""
    if not made:
        return
    written = [(draft.type, draft.id) for _, draft in made]
    may = await permitted_identities(connection, made[0][0].call, written, action)
    own = await own_identities(connection, made[0][0].call, written)
    for (item, _), identity in zip(made, written, strict=True):
        with item.located():
            if identity in own:
                raise own[identity]
            if identity not in may:
                raise await outside(connection, item.call, identity[0])


async def _resolve(
    connection: Connection,
    call: Call,
    later: Sequence[Item],
    links: Links,
    write: Callable[[Sequence[Item]], Awaitable[object]],
) -> None:
    """Settle the conditional references, which may also find what is itself still to be written.

    Such resources are written on trial, with those references as they stand, for the searches to find.
    """
    types = {item.call.resource_type for item in later}
    searches = links.sought_by(later)
    among = {text: search for text, search in searches.items() if search.type in types}
    links.settle(await find(connection, call, {k: v for k, v in searches.items() if k not in among}))
    if not among:
        return
    trial = connection.transaction()
    await trial.start()
    try:
        await write(later)
        found = await find(connection, call, among)
    finally:
        await trial.rollback()
    for item in later:
        item.answer = None
    links.settle(found)


async def _verify(
    connection: Connection, call: Call, writes: Sequence[Item], made: Sequence[tuple[Item, Draft]]
) -> None:
    """After all entries, referential integrity, as what refers to each other may come and go together; and
    the definitions that they bring and take away."""
    drafts = [version for _, version in made]
    missing = await missing_targets(connection, call, drafts)
    issues = [item.about(issue) for (item, _), found in zip(made, missing, strict=False) for issue in found]
    if issues:
        raise Unprocessable(issues=issues)
    for item in writes:
        if item.deletes:
            with item.located():
                await verify_unreferenced(connection, call, item.identities)
    await undefine(
        connection, call, [identity for item in writes if item.deletes for identity in item.identities]
    )
    wrong = await faults(connection, call, drafts)
    issues = [item.about(issue) for (item, _), found in zip(made, wrong, strict=True) for issue in found]
    if issues:
        raise Unprocessable(issues=issues)


def _is_echo(item: Item) -> bool:
    """A create with the same criteria as an earlier one of the Bundle is that one."""
    return item.interaction == "create" and item.id != item.new_id


def _answer_echoes(writes: Sequence[Item]) -> None:
    versions = {item.identity: item.answer.version for item in writes if item.answer and item.answer.version}
    for item in writes:
        if item.answer is None and (version := versions.get(item.identity)):
            item.answer = exists(item.call, version)


async def _contents(
    connection: Connection, call: Call, items: Sequence[Item], latest: LatestOf
) -> dict[Identity, Version]:
    """Current versions of what is updated or patched. Raises Forbidden for a patch that would tell what is
    not to be read."""
    patches = [item for item in items if item.method == "PATCH" and asks(item.call)]
    for item in patches:
        if (row := latest.get(item.identity)) is not None and not row.deleted:
            with item.located():
                await require_read(connection, item.call, [item.identity])
    rids: dict[str, list[int]] = defaultdict(list)
    for item in items:
        row = latest.get(item.identity)
        if item.interaction != "create" and row is not None and not row.deleted:
            rids[item.call.resource_type].append(row.rid)
    found: dict[Identity, Version] = {}
    for resource_type, wanted in rids.items():
        for version in await read.by_rid(connection, resource_type, wanted):
            found[version.type, version.id] = version
    return found


async def _write(
    connection: Connection,
    call: Call,
    items: Sequence[Item],
    current: dict[Identity, Version],
    latest: LatestOf,
    links: Links,
    writer: Writer,
) -> list[tuple[Item, Draft]]:
    drafts: list[tuple[Item, Draft]] = []
    ended: dict[str, list[int]] = defaultdict(list)
    for number, item in enumerate(items):
        if number % DRAFTS_BETWEEN_PAUSES == DRAFTS_BETWEEN_PAUSES - 1:
            await asyncio.sleep(0)
        with item.located():
            made = await _draft(connection, item, current.get(item.identity), latest, links)
        if made is None:
            continue
        drafts.append((item, made))
        if item.identity in current:
            ended[made.type].append(latest[item.identity].rid)
    made_all = [made for _, made in drafts]
    try:
        versions = await store.write_many(connection, call.services.tenant, made_all, writer, ended, {})
    except Taken as error:
        raise await explained_in(connection, drafts, error) from error
    for (item, made), version in zip(drafts, versions, strict=True):
        status, done = (200, "updated") if item.identity in current else (201, "created")
        item.answer = written(item.call, version, status, done, made)
    return drafts


async def _draft(
    connection: Connection, item: Item, current: Version | None, latest: LatestOf, links: Links
) -> Draft | None:
    """The item's version, or None when it changes nothing and is answered with what is there."""
    call, resource = item.call, links.rewritten(item)
    if item.interaction == "create":
        return draft(call.services, resource, item.identity[1], "POST")
    row = latest.get(item.identity)
    require_match(call, row)
    if current is None:
        if item.method == "PATCH":
            path = "/".join(item.identity)
            raise Gone(f"{path} was deleted") if row else NotFound(f"{path} is not known")
        require_free_choice(call, resource, row)
        return draft(call.services, resource, item.identity[1], "PUT", row)
    if item.unmatched:
        require_unused(current)
    if item.method == "PATCH":
        resource = await patched(call, current)
    else:
        require_same(call, resource, current.resource())
        resource = labelled(resource, current)
    if links.is_pinned(item):
        return draft(call.services, resource, current.id, item.method, current)
    made = draft_of_change(call.services, resource, item.method, current)
    made = await unless_repeated(connection, call.services, made, current)
    if made is None:
        item.answer = written(call, current, 200, "is unchanged")
    return made
