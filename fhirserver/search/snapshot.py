"""The states of the database that a search can look at, besides the present one.

A version is in the state of a snapshot when the transaction that wrote it had committed and the one that
ended it had not. A version is in the state of an instant T when it was written at T or before and what
followed it was written after T. Either way few of the rows that are current no longer were so then, and those
are found by `died`: what has to be looked at is small however large the type is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fhirserver.db.sql import Fragment, sql, table
from fhirserver.errors import Invalid
from fhirserver.fhir import primitives
from fhirserver.fhir.dates import bounds, moment
from fhirserver.params.condition import Scope

AS_OF: Final = "_asOf"
"""The parameter of searches and reads that names an instant: what was current then is wanted."""


def parse_as_of(text: str) -> datetime:
    """Its value, an instant in UTC. A blank in place of the `+` of an offset is understood. Raises Invalid.

    No other form of a date will do: whether a day is meant from its beginning or at its end nobody can say.
    """
    written = text.replace(" ", "+")
    fault = primitives.fault("instant", written)
    if fault is not None:
        raise Invalid(f"{AS_OF}: {fault}")
    try:
        return moment(bounds(written)[0])
    except (ValueError, OverflowError):
        raise Invalid(f"{AS_OF}: '{text}' is not a time in the years 1 to 9999") from None


@dataclass(frozen=True, slots=True)
class Committed:
    """What a statement saw; `text` is `pg_current_snapshot()::text`.

    Those name top-level transactions only, and so do `born` and `died`, whatever savepoints a writer sets.
    """

    text: str

    def written(self, scope: Scope) -> Fragment:
        """The versions that were there already."""
        return sql("pg_visible_in_snapshot({}.born, {})", scope.alias, self._value())

    def ended(self, scope: Scope) -> Fragment:
        """The rows that have ended since."""
        alias, value = scope.alias, self._value()
        return sql(
            "{}.died >= pg_snapshot_xmin({}) AND NOT pg_visible_in_snapshot({}.died, {})"
            " AND pg_visible_in_snapshot({}.born, {})",
            *(alias, value, alias, value, alias, value),
        )

    def _value(self) -> Fragment:
        """Read from its text once for a statement, not once for a row."""
        return sql("(SELECT {}::text::pg_snapshot)", self.text)


@dataclass(frozen=True, slots=True)
class AsOf:
    """The state at `instant`, which has to be older than every running writer (`store.instants`).

    `since` is a transaction id (xid8): whatever an earlier one ended was over at the instant.
    """

    instant: datetime
    since: int

    def written(self, scope: Scope) -> Fragment:
        """The versions that were there already."""
        return sql("{}.updated <= {}", scope.alias, self.instant)

    def ended(self, scope: Scope) -> Fragment:
        """The rows that have ended since: what follows them, perhaps a deletion, came after the instant."""
        alias = scope.alias
        # What is contained ends with its container.
        rows = sql("resource") if scope.contained else table(scope.resource_type)
        same = (
            sql("n.type = {}.container_type AND n.id = {}.container_id", alias, alias)
            if scope.contained
            else sql("n.id = {}.id", alias)
        )
        return sql(
            "{}.died >= {}::text::xid8 AND {}.updated <= {} AND {}.method <> 'DELETE'"
            " AND NOT EXISTS (SELECT FROM {} n WHERE n.tenant = {}.tenant AND {}"
            " AND n.version = {}.version + 1 AND n.updated <= {} OFFSET 0)",
            *(alias, str(self.since), alias, self.instant, alias),
            *(rows, alias, same, alias, self.instant),
        )


Snapshot = Committed | AsOf


def seen(snapshot: Snapshot | None) -> Fragment:
    """The text of the state that a statement looks at, for those that follow it; null for an instant, which
    is the same for all of them."""
    match snapshot:
        case None:
            return sql("(SELECT pg_current_snapshot()::text)")
        case Committed(text):
            return sql("{}::text", text)
        case AsOf():
            return sql("NULL::text")
