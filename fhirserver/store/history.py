"""History of instance, type and system, newest first: https://hl7.org/fhir/R4/http.html#history.

A feed of a type or of the system serves only versions older than the oldest running writer
(`instants.horizon`), so polling with `_since` sees every version at least once, and following
the next links of one answer sees each exactly once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from fhirserver.db.pool import Connection
from fhirserver.db.sql import TRUE, Fragment, and_, sql, table
from fhirserver.store.version import COLUMNS, Version

Restriction = Callable[[Fragment], Fragment]
"""From the alias of a row to whether the caller may see it."""


@dataclass(frozen=True, slots=True)
class Window:
    """What part of a history is asked for; instants in UTC, `[at_low, at_high)` the range of `_at`.

    `until` is the instant that the whole feed is older than; `after` the (updated, rid) of the last
    row of the page before. `among` is a condition on the row `r`.
    """

    count: int
    since: datetime | None = None
    at_low: datetime | None = None
    at_high: datetime | None = None
    until: datetime | None = None
    after: tuple[datetime, int] | None = None
    among: Fragment = TRUE


@dataclass(frozen=True, slots=True)
class Row:
    """A version in a feed with the row id that orders versions of one instant."""

    version: Version
    rid: int


async def of_instance(
    connection: Connection,
    tenant: int,
    resource_type: str,
    id_: str,
    window: Window,
    restriction: Restriction,
) -> list[Row]:
    """Versions of one resource; its row lock orders them, so no horizon is needed."""
    where = and_(sql("r.id = {}", id_), _within(resource_type, window, restriction))
    return await _fetch(connection, tenant, resource_type, where, window.count)


async def of_types(
    connection: Connection,
    tenant: int,
    resource_types: list[str] | None,
    window: Window,
    restriction: Restriction,
) -> list[Row]:
    """Versions of the given types, or of all when None."""
    if resource_types is not None and len(resource_types) == 1:
        where = _within(resource_types[0], window, restriction)
        return await _fetch(connection, tenant, resource_types[0], where, window.count)
    where = _within(None, window, restriction)
    if resource_types is not None:
        where = and_(sql("r.type = ANY ({}::text[])", resource_types), where)
    return await _fetch(connection, tenant, None, where, window.count)


def _within(resource_type: str | None, window: Window, restriction: Restriction) -> Fragment:
    """The rows of the window that the caller may see. For `_at` no version counts that they may not see:
    when something left what they may see is not theirs to know."""
    clauses = [restriction(sql("r")), window.among]
    if window.until is not None:
        clauses.append(sql("r.updated < {}", window.until))
    if window.since is not None:
        clauses.append(sql("r.updated >= {}", window.since))
    if window.after is not None:
        clauses.append(sql("(r.updated, r.rid) < ({}::timestamptz, {}::bigint)", *window.after))
    if window.at_low is not None and window.at_high is not None:
        clauses.append(sql("r.updated < {}", window.at_high))
        clauses.append(
            sql(
                "NOT EXISTS (SELECT FROM {} n WHERE n.tenant = r.tenant AND n.type = r.type AND n.id = r.id"
                " AND n.version = r.version + 1 AND n.updated <= {} AND {})",
                _table(resource_type),
                window.at_low,
                restriction(sql("n")),
            )
        )
    return and_(*clauses)


def _table(resource_type: str | None) -> Fragment:
    return table(resource_type) if resource_type else sql("resource")


async def _fetch(
    connection: Connection, tenant: int, resource_type: str | None, where: Fragment, count: int
) -> list[Row]:
    text, args = sql(
        "SELECT {}, r.rid FROM {} r WHERE r.tenant = {} AND {} ORDER BY r.updated DESC, r.rid DESC LIMIT {}",
        COLUMNS,
        _table(resource_type),
        tenant,
        where,
        count,
    ).numbered()
    return [Row(Version.of(record), record["rid"]) for record in await connection.fetch(text, *args)]


async def is_known(
    connection: Connection, tenant: int, resource_type: str, id_: str, restriction: Restriction
) -> bool:
    """Whether there is any version of the resource that the caller may see."""
    text, args = sql(
        "SELECT EXISTS (SELECT FROM {} r WHERE r.tenant = {} AND r.id = {} AND {})",
        _table(resource_type),
        tenant,
        id_,
        restriction(sql("r")),
    ).numbered()
    return bool(await connection.fetchval(text, *args))
