"""The refusal of identifiers that only one resource may have: who has them, for those who may see it.

docs/how-to/identifiers.md
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fhirserver.db.pool import Connection
from fhirserver.errors import Conflict, Issue
from fhirserver.interactions.call import Call
from fhirserver.interactions.permission import permitted_identities
from fhirserver.interactions.transaction.item import Item
from fhirserver.store.claims import Clash, Taken
from fhirserver.store.version import Draft


async def explained(connection: Connection, call: Call, error: Taken) -> Conflict:
    """The refusal, with where the other resources are as far as the caller may see them."""
    return Conflict(issues=await _issues(connection, call, error.clashes))


async def explained_in(connection: Connection, made: Iterable[tuple[Item, Draft]], error: Taken) -> Conflict:
    """The same in a transaction: the issues name the entries."""
    items = {(draft.type, draft.id): item for item, draft in made}
    issues: list[Issue] = []
    for clash in error.clashes:
        item = items[clash.draft.type, clash.draft.id]
        other = items.get((clash.draft.type, clash.holder))
        if other is not None:
            issues.append(item.about(clash.issue(f": entry {other.index}")))
        else:
            issues += [item.about(issue) for issue in await _issues(connection, item.call, [clash])]
    return Conflict(issues=issues)


async def _issues(connection: Connection, call: Call, clashes: Sequence[Clash]) -> list[Issue]:
    held = {(clash.draft.type, clash.holder) for clash in clashes}
    seen = await permitted_identities(connection, call, held, "r")
    return [
        clash.issue(f": {clash.draft.type}/{clash.holder}")
        if (clash.draft.type, clash.holder) in seen
        else clash.issue()
        for clash in clashes
    ]
