"""What compiling a search needs beside the search: who asks, when, and against which snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import Final

from fhirserver.db.sql import Fragment, or_, sql
from fhirserver.fhir.keys import Keys
from fhirserver.params.condition import Scope
from fhirserver.params.kinds import Reading
from fhirserver.params.registry import Registry
from fhirserver.policy.restriction import EVERYTHING, Restriction

ROW: Final = sql("r")
"""The alias under which `store` and `search` read rows."""

_INNER: Final = (
    sql("i1"),
    sql("i2"),
    sql("i3"),
    sql("i4"),
    sql("i5"),
    sql("i6"),
    sql("i7"),
    sql("i8"),
    sql("i9"),
)


_UTC: Final = Reading(UTC, ())


@dataclass(frozen=True, slots=True)
class Context:
    """`now` is in microseconds. `snapshot` (`pg_current_snapshot()::text`) is that of the first page;
    None on the first page itself and for everything that is not paged."""

    registry: Registry
    keys: Keys
    now: int
    restriction: Restriction = EVERYTHING
    snapshot: str | None = None
    reading: Reading = _UTC

    @property
    def tenant(self) -> int:
        return self.keys.tenant

    @property
    def as_snapshot(self) -> Fragment:
        """The snapshot of the first page as text: this statement's own where it is the first."""
        if self.snapshot is None:
            return sql("(SELECT pg_current_snapshot()::text)")
        return sql("{}::text", self.snapshot)

    def scope(self, resource_type: str, depth: int = 0) -> Scope:
        """Where conditions on the row at a depth of chaining are compiled."""
        return Scope(self.keys, resource_type, ROW if depth == 0 else _INNER[depth - 1], self.now)

    def contained(self, resource_type: str) -> Scope:
        """Where conditions on the resources that others contain are compiled."""
        return Scope(self.keys, resource_type, ROW, self.now, contained=True)

    def current(self, alias: Fragment) -> Fragment:
        """Of the rows that are current now: those that already were in the snapshot.

        Written so that the partial indexes on current rows apply.
        """
        if self.snapshot is None:
            return sql("{}.died IS NULL", alias)
        return sql(
            "{}.died IS NULL AND pg_visible_in_snapshot({}.born, {}::text::pg_snapshot)",
            alias,
            alias,
            self.snapshot,
        )

    def ended(self, alias: Fragment) -> Fragment:
        """The rows that were current in the snapshot and have ended since; few, found by `died`."""
        return sql(
            "{}.died IS NOT NULL AND {}.died >= pg_snapshot_xmin({}::text::pg_snapshot)"
            " AND NOT pg_visible_in_snapshot({}.died, {}::text::pg_snapshot)"
            " AND pg_visible_in_snapshot({}.born, {}::text::pg_snapshot)",
            alias,
            alias,
            self.snapshot,
            alias,
            self.snapshot,
            alias,
            self.snapshot,
        )

    def alive(self, alias: Fragment) -> Fragment:
        """Current in the snapshot, for rows that are found by `rid`."""
        if self.snapshot is None:
            return self.current(alias)
        return or_(self.current(alias), self.ended(alias))
