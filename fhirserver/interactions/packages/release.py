"""Removing a package: what no other one has, and nothing that people have made their own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.db.retry import retrying
from fhirserver.errors import Conflict, NotFound
from fhirserver.fhir.package.versions import order
from fhirserver.interactions.call import Call
from fhirserver.interactions.definitions import renewed, undefine
from fhirserver.interactions.integrity import verify_unreferenced
from fhirserver.interactions.packages.effect import take_effect
from fhirserver.observe import log
from fhirserver.store import packages
from fhirserver.store import write as store
from fhirserver.store.packages import Installed, Owned

SHOWN_MAX: Final = 20

_logger: Any = log.get("packages")


@dataclass(slots=True)
class Removed:
    """Labels of the packages that went, and how many resources went with them and stayed."""

    packages: list[str] = field(default_factory=list)
    deleted: int = 0
    kept: int = 0


async def remove(
    connection: Connection, call: Call, name: str, version: str | None, *, force: bool, dependencies: bool
) -> Removed:
    """Remove a package; with `dependencies` also those that were installed for it alone.

    Raises NotFound; Conflict where another package depends on it or people have changed what it brought,
    unless `force`: then it goes all the same.
    """

    async def once() -> Removed:
        async with connection.transaction():
            await packages.lock(connection, call.services.tenant)
            installed = await packages.everything(connection, call.services.tenant)
            going = _going(installed, _named(installed, name, version), dependencies)
            _require_unneeded(installed, going, force)
            return await _removed(connection, call, going, force)

    removed = await retrying(once, lambda error: renewed(connection, call, error))
    await call.services.definitions.refresh(connection)
    by = call.principal.id or "nobody signs in"
    _logger.info(
        "package_removed",
        packages=removed.packages,
        tenant=call.services.tenant,
        by=by,
        deleted=removed.deleted,
    )
    return removed


async def _removed(connection: Connection, call: Call, going: list[Installed], force: bool) -> Removed:
    tenant, removed = call.services.tenant, Removed()
    gone: list[tuple[str, str]] = []
    for one in going:
        rows = await packages.of(connection, tenant, one.name, one.version)
        deleted = await release(connection, call, one.label, rows, force=force)
        await packages.delete(connection, tenant, one.name, one.version)
        removed.packages.append(one.label)
        removed.deleted += len(deleted)
        removed.kept += len(rows) - len(deleted)
        gone += deleted
    await undefine(connection, call, gone)
    await take_effect(connection, call, ())
    return removed


async def release(
    connection: Connection, call: Call, label: str, rows: Sequence[Owned], *, force: bool = False
) -> list[tuple[str, str]]:
    """Delete those of the resources that belong to no other package and that packages have brought; which.

    The caller lets them cease to be in force. Raises Conflict for those that people have changed, unless
    `force`.
    """
    tenant = call.services.tenant
    going: dict[str, dict[str, Owned]] = defaultdict(dict)
    for row in rows:
        if not row.shared and not row.found:
            going[row.type][row.id] = row
    buried: dict[str, list[int]] = {}
    identities: list[tuple[str, str]] = []
    changed: list[str] = []
    for type_ in sorted(going):
        latest = await store.lock_latest(connection, tenant, type_, sorted(going[type_]))
        there = [one for one in latest.values() if not one.deleted]
        changed += [f"{type_}/{one.id}" for one in there if one.version != going[type_][one.id].written]
        buried[type_] = [one.rid for one in there]
        identities += [(type_, one.id) for one in there]
    if changed and not force:
        raise Conflict(f"people have changed what {label} brought: {_listed(changed)}. Nothing was removed")
    writer = await store.begin(connection, tenant)
    await store.write_many(connection, tenant, [], writer, {}, buried)
    await verify_unreferenced(connection, call, identities)
    return identities


def _named(installed: Sequence[Installed], name: str, version: str | None) -> Installed:
    versions = sorted((one for one in installed if one.name == name), key=lambda one: order(one.version))
    found = [one for one in versions if version in (None, one.version)]
    if not found:
        here = f"; here is {', '.join(one.label for one in versions)}" if versions else ""
        raise NotFound(f"{name}{f'@{version}' if version else ''} is not installed{here}")
    if len(found) > 1:
        raise Conflict(f"say which version: {', '.join(one.label for one in found)}")
    return found[0]


def _going(installed: Sequence[Installed], first: Installed, dependencies: bool) -> list[Installed]:
    """The package and, if wanted, those that only it needed and nobody asked for; in that order."""
    going = [first]
    while dependencies:
        left = [one for one in installed if one not in going]
        needed = {label for one in left for label in one.needs}
        no_more = {label for one in going for label in one.needs} - needed
        more = [one for one in left if one.label in no_more and not one.asked]
        if not more:
            break
        going += more
    return going


def _require_unneeded(installed: Sequence[Installed], going: list[Installed], force: bool) -> None:
    labels = {one.label for one in going}
    needing = [one.label for one in installed if one not in going and labels.intersection(one.needs)]
    if needing and not force:
        raise Conflict(f"{going[0].label} is needed by {_listed(needing)}. Nothing was removed")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN_MAX} more" if len(names) > SHOWN_MAX else ""
    return ", ".join(sorted(names)[:SHOWN_MAX]) + more
