"""Parameters that the row itself answers: `_id` and `_lastUpdated`.

https://hl7.org/fhir/R4/search.html#id, https://hl7.org/fhir/R4/search.html#lastUpdated
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from fhirserver.db.sql import FALSE, Fragment, or_, sql
from fhirserver.errors import Invalid
from fhirserver.fhir import reference
from fhirserver.params import date, spelling
from fhirserver.params import text as syntax
from fhirserver.params.condition import ORD, Condition, Ids, Range, Rank, Rids, Scope, Span
from fhirserver.params.date import DateValue

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


# -- _id


def parse_id(text: str) -> str:
    """A value of `_id`; what can be no id matches nothing, so it is passed on, but for a reference."""
    value = syntax.unescape(text)
    if not value:
        raise Invalid("_id must not be empty")
    if (found := reference.parse(value)).type is not None and found.id is not None:
        raise Invalid(f"'{text}' is not an id{spelling.did_you_mean([found.id])}")
    return value


def compile_ids(scope: Scope, ids: Sequence[str]) -> Condition:
    """The rows with one of the ids; those that are no ids cannot be stored."""
    wanted = [id_ for id_ in ids if reference.is_id(id_)]
    return Condition(sql("{}.id = any({}::text[])", scope.alias, wanted), (Ids(tuple(wanted)),), Rank.ID)


# -- _lastUpdated


def _moment(micros: int) -> datetime:
    """Within what timestamptz and Python share."""
    return _EPOCH + timedelta(microseconds=max(min(micros, 253_402_300_799_000_000), -62_135_596_800_000_000))


def compile_updated(scope: Scope, values: Sequence[DateValue], is_order: bool) -> Condition:
    """Comparison with the instant of the version. `is_order`: the type is ordered by it."""
    filter_ = or_(*(_updated(scope.alias, value, scope.now) for value in values))
    if any(value.prefix == "ne" for value in values):
        return Condition(filter_)
    if len(values) == 1 and is_order:
        span = _span(values[0], scope.now)
        range_ = None if scope.contained else Range(ORD, span.lo, span.hi)
        return Condition(filter_, (span,), Rank.ORDER, range=range_)
    rows, other = scope.rows, sql("o")
    selects = [
        sql(
            "SELECT o.rid FROM {} o WHERE o.tenant = {} AND {}",
            rows,
            scope.keys.tenant,
            _updated(other, value, scope.now),
        )
        for value in values
    ]
    return Condition(filter_, tuple(Rids(select) for select in selects), Rank.OPEN_RANGE)


def _span(value: DateValue, now: int) -> Span:
    """Where in the default order of a type without clinical date; a microsecond wider than needed."""
    lo, hi = date.widened(value, now) if value.prefix == "ap" else (value.lo, value.hi)
    match value.prefix:
        case "eq" | "ap":
            return Span(lo - 1, hi)
        case "gt" | "sa" | "ge":
            return Span(lo - 1, None)
        case "co" | "po":
            return Span(lo - 1, hi)
        case _:
            return Span(None, hi)


def _updated(alias: Fragment, value: DateValue, now: int) -> Fragment:
    """The instant is a point, so lt and eb are the same."""
    lo, hi = date.widened(value, now) if value.prefix == "ap" else (value.lo, value.hi)
    first, last = _moment(lo), _moment(hi)
    match value.prefix:
        case "eq" | "ap" | "po":
            return sql("{}.updated >= {} AND {}.updated < {}", alias, first, alias, last)
        case "co":
            contained = hi - lo <= 1
            return sql("{}.updated = {}", alias, first) if contained else FALSE
        case "ne":
            return sql("NOT ({}.updated >= {} AND {}.updated < {})", alias, first, alias, last)
        case "gt":
            return sql("{}.updated >= {}", alias, _moment(value.after))
        case "sa":
            return sql("{}.updated >= {}", alias, last)
        case "ge":
            return sql("{}.updated >= {}", alias, first)
        case "lt" | "eb":
            return sql("{}.updated < {}", alias, first)
        case "le":
            return sql("{}.updated < {}", alias, last)
