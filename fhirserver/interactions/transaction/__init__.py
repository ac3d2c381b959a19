"""transaction: all entries or none: https://hl7.org/fhir/R4/http.html#trules

In the specification's order: deletes, creates, updates and patches, conditional references; reads come
last and see all of it. Searches and locks come first, the locks in one order (stripes of criteria, then
rows by type and id), so two transactions over the same resources wait for each other instead of
deadlocking.
"""

from __future__ import annotations

import asyncio

from fhirserver.db.pool import Connection
from fhirserver.errors import Invalid
from fhirserver.interactions.bundle import bundle
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.entries import entries_of, located, response_entry
from fhirserver.interactions.matching import lock_criteria
from fhirserver.interactions.permission import shown
from fhirserver.interactions.transaction.item import Item, read_item
from fhirserver.interactions.transaction.links import Links
from fhirserver.interactions.transaction.record import record_transaction
from fhirserver.interactions.transaction.resolve import (
    delete_all,
    lock_all,
    resolve,
    verify_criteria,
    verify_identities,
)
from fhirserver.interactions.transaction.write import write_all
from fhirserver.interactions.turns import in_turn
from fhirserver.store import write as store

ENTRIES_BETWEEN_PAUSES = 100
"""Entries prepared before other requests of this process get their turn."""


async def transaction(connection: Connection, call: Call) -> Answer:
    """200 with a transaction-response in the order of the request, or an error and no change."""
    items = await _prepare(call)
    links = Links(items, call)

    async def once() -> None:
        for item in items:
            item.reset()
        links.undo()
        async with connection.transaction():
            await _process(connection, call, items, links)

    def written() -> list[tuple[str, str]]:
        return [identity for item in items for identity in item.identities]

    try:
        await in_turn(connection, call, written, once)
    except BaseException:
        links.undo()  # whoever runs the request again finds it as it came
        raise
    answers = [
        response_entry(item.call, item.method, await shown(connection, item.call, _answer(item)))
        for item in items
    ]
    body = bundle("transaction-response", answers)
    return Answer(200, body, recorded=call.services.trail is not None)


def _answer(item: Item) -> Answer:
    assert item.answer is not None, item.interaction
    return item.answer


async def _prepare(call: Call) -> list[Item]:
    """Every entry read and validated before the database is touched."""
    items: list[Item] = []
    seen: dict[str, int] = {}
    for index, entry in enumerate(entries_of(call, call.resource)):
        if index % ENTRIES_BETWEEN_PAUSES == ENTRIES_BETWEEN_PAUSES - 1:
            await asyncio.sleep(0)
        with located(index, entry):
            items.append(read_item(call, index, entry))
            _require_unique(items[-1], seen)
    return items


def _require_unique(item: Item, seen: dict[str, int]) -> None:
    """bdl-7: a fullUrl stands once, for it names what references mean."""
    if item.full_url is None:
        return
    other = seen.setdefault(item.full_url, item.index)
    if other != item.index:
        raise Invalid(f"the same fullUrl as entry {other}", "fullUrl")


async def _process(connection: Connection, call: Call, items: list[Item], links: Links) -> None:
    writes = [item for item in items if item.puts or item.deletes]
    if writes:
        searched = [item.criteria for item in writes if item.criteria]
        await lock_criteria(connection, searched, links.criteria())
        seen = await resolve(connection, writes)
        verify_identities(writes)
        latest = await lock_all(connection, call, writes, seen)
        writer = await store.begin(connection, call.services.tenant)
        await delete_all(connection, call, writes, latest, writer)
        await write_all(connection, call, writes, latest, links, writer)
        await verify_criteria(connection, writes)
    await _read_all(connection, items)
    await record_transaction(connection, call, items)


async def _read_all(connection: Connection, items: list[Item]) -> None:
    # Imported here: the runner knows this package.
    from fhirserver.interactions.run import run

    for item in items:
        if not (item.puts or item.deletes):
            with item.located():
                item.answer = await run(connection, item.call)
