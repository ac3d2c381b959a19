"""Parameters that stand for no element's value: `_id`, `_lastUpdated`, compartments, and `near`.

https://hl7.org/fhir/R4/search.html#id, #lastUpdated, https://hl7.org/fhir/R4/location.html#near
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from fhirserver.db.sql import Fragment, and_, or_, sql, table
from fhirserver.errors import Invalid, NotSupported
from fhirserver.fhir import reference, ucum
from fhirserver.fhir.keys import Keys
from fhirserver.params import date, spelling
from fhirserver.params import text as syntax
from fhirserver.params.condition import Condition, Ids, Rank, Rids, Scope, Span, exists
from fhirserver.params.date import DateValue
from fhirserver.params.entries import Entries, Indexer, Node
from fhirserver.params.registry import SearchParam

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EARTH_RADIUS_M: Final = 6_371_008.8
_NEAR_DEFAULT_M: Final = 10_000.0
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,4}(\.[0-9]{1,20})?")


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
        return Condition(filter_, (_span(values[0], scope.now),), Rank.ORDER)
    rows, other = table(scope.resource_type), sql("o")
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
        case _:
            return Span(None, hi)


def _updated(alias: Fragment, value: DateValue, now: int) -> Fragment:
    """The instant is a point, so lt and eb are the same."""
    lo, hi = date.widened(value, now) if value.prefix == "ap" else (value.lo, value.hi)
    first, last = _moment(lo), _moment(hi)
    match value.prefix:
        case "eq" | "ap":
            return sql("{}.updated >= {} AND {}.updated < {}", alias, first, alias, last)
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


# -- near


@dataclass(frozen=True, slots=True)
class NearValue:
    """A circle on the globe: degrees and metres."""

    latitude: float
    longitude: float
    radius_m: float


def parse_near(param: SearchParam, text: str) -> NearValue:
    """`latitude|longitude|distance|units`; without units kilometres. Raises Invalid, NotSupported."""
    if param.code != "near":
        raise NotSupported(f"search parameter '{param.code}' is not supported")
    parts = [syntax.unescape(part) for part in syntax.split(text, "|")]
    if not 2 <= len(parts) <= 4 or any(_NUMBER.fullmatch(part) is None for part in parts[:2]):
        raise Invalid(f"'{text}' is not latitude|longitude|distance|units")
    latitude, longitude = float(parts[0]), float(parts[1])
    if abs(latitude) > 90 or abs(longitude) > 180:
        raise Invalid(f"'{text}' is no place on earth: latitude to 90, longitude to 180 degrees")
    if len(parts) == 2 or not parts[2]:
        return NearValue(latitude, longitude, _NEAR_DEFAULT_M)
    unit = parts[3] if len(parts) == 4 and parts[3] else "km"
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,12})?", parts[2]) is None:
        raise Invalid(f"'{parts[2]}' is not a distance")
    metres = ucum.convert(Decimal(parts[2]), unit, "m")
    if metres is None:
        raise Invalid(f"'{unit}' is not a UCUM unit of length")
    return NearValue(latitude, longitude, float(metres))


def near_key(keys: Keys, resource_type: str, code: str) -> int:
    """The key of positions in `qty`: latitude stands in `lo`, longitude in `hi`."""
    return keys.of("near", resource_type, code)


def near_indexer(keys: Keys, resource_type: str, code: str) -> Indexer:
    """Writes what `compile_near` asks for."""
    key = near_key(keys, resource_type, code)

    def index(nodes: Sequence[Node], entries: Entries) -> None:
        for node in nodes:
            position: Mapping[str, Any] = node.value
            latitude, longitude = position.get("latitude"), position.get("longitude")
            if not isinstance(latitude, (int, Decimal)) or not isinstance(longitude, (int, Decimal)):
                continue
            if abs(latitude) <= 90 and abs(longitude) <= 360:
                entries.qty.append((key, Decimal(latitude), Decimal(longitude)))

    return index


def compile_near(scope: Scope, code: str, values: Sequence[NearValue]) -> Condition:
    """Great-circle distance on a sphere, the band of latitudes first."""
    key = near_key(scope.keys, scope.resource_type, code)
    tests = [_within(value) for value in values]
    filter_ = exists(
        sql(
            "FROM qty x WHERE x.rid = {}.rid AND x.key IS NOT DISTINCT FROM {} AND {}",
            scope.alias,
            key,
            or_(*tests),
        )
    )
    drivers = tuple(Rids(sql("SELECT x.rid FROM qty x WHERE x.key = {} AND {}", key, one)) for one in tests)
    return Condition(filter_, drivers, Rank.RANGE)


def _within(value: NearValue) -> Fragment:
    margin = math.degrees(value.radius_m / _EARTH_RADIUS_M) + 1e-9
    band = sql(
        "x.lo >= {}::numeric AND x.lo <= {}::numeric",
        Decimal(repr(max(value.latitude - margin, -90.0))),
        Decimal(repr(min(value.latitude + margin, 90.0))),
    )
    angle = min(value.radius_m / _EARTH_RADIUS_M, math.pi)
    haversine = sql(
        "power(sind((x.lo::float8 - {}::float8) / 2), 2) + cosd({}::float8) * cosd(x.lo::float8)"
        " * power(sind((x.hi::float8 - {}::float8) / 2), 2) <= {}::float8",
        value.latitude,
        value.latitude,
        value.longitude,
        math.sin(angle / 2) ** 2 + 1e-15,
    )
    return and_(band, haversine)
