"""What is recorded of a transaction, in it: its writes together, its reads one by one, Provenance."""

from __future__ import annotations

from collections.abc import Sequence

from fhirserver.db.pool import Connection
from fhirserver.interactions.audit.events import of_transaction
from fhirserver.interactions.audit.provenance import Change, Made, provenances_of
from fhirserver.interactions.audit.record import Ledger, drafts
from fhirserver.interactions.call import Call
from fhirserver.interactions.transaction.item import Item
from fhirserver.store import along
from fhirserver.store.version import Version


async def record_transaction(connection: Connection, call: Call, items: Sequence[Item]) -> None:
    """Record all that was done. Raises Again where the definitions have changed, Unavailable where it cannot
    be recorded."""
    writes = [(item, version) for item in items for version in _written(item)]
    made = [(item.call, version, item.before, _number(item, version)) for item, version in writes]
    ledger = Ledger(call)
    if ledger.is_kept:
        ledger.add(of_transaction(call, made))
        for item in items:
            if item.answer is not None and not _written(item):
                ledger.answered(item.call, item.answer)
    await ledger.close(connection)
    if call.services.settings.provenance and writes:
        told = provenances_of(call, [Made(version, _change(item), item.before) for item, version in writes])
        await along.put(connection, call.services.tenant, drafts(call.services, told))


def _written(item: Item) -> Sequence[Version]:
    """What an entry wrote, unless it found it there already; what it deleted."""
    if item.deletes:
        return item.before
    version = item.answer.version if item.puts and item.answer is not None else None
    if version is None or version.version in [one.version for one in item.before]:
        return []
    found = item.interaction == "create" and item.answer is not None and item.answer.status == 200
    return [] if found else [version]


def _change(item: Item) -> Change:
    if item.deletes:
        return "DELETE"
    return "CREATE" if all(one.deleted for one in item.before) else "UPDATE"


def _number(item: Item, version: Version) -> int:
    return version.version + 1 if item.deletes else version.version
