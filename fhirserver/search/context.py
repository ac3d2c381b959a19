"""What compiling a search needs beside the search: who asks, when, and of which state."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import Final

from fhirserver.db.sql import TRUE, Fragment, and_, or_, sql
from fhirserver.fhir.keys import Keys
from fhirserver.params.condition import Scope
from fhirserver.params.kinds import Reading
from fhirserver.params.registry import Registry
from fhirserver.policy.restriction import EVERYTHING, Restriction
from fhirserver.search.snapshot import Snapshot

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
    """`now` is in microseconds. `snapshot` is the state that is searched: that of the first page, or of an
    instant; None stands for the present one, as on the first page itself."""

    registry: Registry
    keys: Keys
    now: int
    restriction: Restriction = EVERYTHING
    snapshot: Snapshot | None = None
    reading: Reading = _UTC

    @property
    def tenant(self) -> int:
        return self.keys.tenant

    def scope(self, resource_type: str, depth: int = 0) -> Scope:
        """Where conditions on the row at a depth of chaining are compiled."""
        return Scope(self.keys, resource_type, ROW if depth == 0 else _INNER[depth - 1], self.now)

    def contained(self, resource_type: str) -> Scope:
        """Where conditions on the resources that others contain are compiled."""
        return Scope(self.keys, resource_type, ROW, self.now, contained=True)

    def current(self, scope: Scope) -> Fragment:
        """Of the rows that are current now: those that already were in the snapshot.

        Written so that the partial indexes on current rows apply.
        """
        return and_(sql("{}.died IS NULL", scope.alias), self.written(scope))

    def written(self, scope: Scope) -> Fragment:
        """The versions that already were there in the snapshot, whether or not they have ended."""
        return TRUE if self.snapshot is None else self.snapshot.written(scope)

    def ended(self, scope: Scope) -> Fragment:
        """The rows that were current in the snapshot and have ended since; few, found by `died`."""
        assert self.snapshot is not None
        return and_(sql("{}.died IS NOT NULL", scope.alias), self.snapshot.ended(scope))

    def alive(self, scope: Scope) -> Fragment:
        """Current in the snapshot, for rows that are found by `rid`."""
        if self.snapshot is None:
            return self.current(scope)
        return or_(self.current(scope), self.ended(scope))
