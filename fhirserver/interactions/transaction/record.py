"""What is recorded of a transaction, in it: its writes together, its reads one by one, Provenance."""

from __future__ import annotations

from collections.abc import Sequence

from fhirserver.db.pool import Connection
from fhirserver.interactions.audit.events import of_transaction
from fhirserver.interactions.audit.provenance import provenance_of
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
            if item.answer is not None and not (item.puts or (item.deletes and item.before)):
                ledger.answered(item.call, item.answer)
    await ledger.close(connection)
    if call.services.settings.provenance and (changed := [one for one in writes if not one[0].deletes]):
        targets = [(version, bool(item.before)) for item, version in changed]
        services = call.services
        await along.put(connection, services.tenant, drafts(services, [provenance_of(call, targets)]))


def _written(item: Item) -> Sequence[Version]:
    """What an entry wrote, or found there already; what it deleted."""
    if item.deletes:
        return item.before
    version = item.answer.version if item.puts and item.answer is not None else None
    return [] if version is None else [version]


def _number(item: Item, version: Version) -> int:
    return version.version + 1 if item.deletes else version.version
