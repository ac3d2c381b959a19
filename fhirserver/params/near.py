"""`near` of Location: positions within a distance of a place, on a sphere.

https://hl7.org/fhir/R4/location.html#search. R4 leaves the accuracy and the distance of a search that
gives none to the server: distances are great circles on a sphere of the Earth's mean radius, off from
those on the ellipsoid of WGS 84 by half a percent at most, and the default is DEFAULT_KM.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from fhirserver.db.sql import Fragment, and_, join, or_, sql
from fhirserver.errors import Invalid, NotSupported
from fhirserver.fhir import ucum
from fhirserver.fhir.keys import Keys
from fhirserver.params import text as syntax
from fhirserver.params.condition import Condition, Rank, Rids, Scope, exists
from fhirserver.params.entries import Entries, Indexer, Node
from fhirserver.params.registry import SearchParam

DEFAULT_KM: Final = 10
_EARTH_RADIUS_M: Final = 6_371_008.8
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,4}(\.[0-9]{1,20})?")


@dataclass(frozen=True, slots=True)
class NearValue:
    """A circle on the globe: degrees, metres, and the UCUM unit in which distances are given back."""

    latitude: float
    longitude: float
    radius_m: float
    unit: str = "km"


def parse(param: SearchParam, text: str) -> NearValue:
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
        return NearValue(latitude, longitude, DEFAULT_KM * 1_000.0)
    unit = parts[3] if len(parts) == 4 and parts[3] else "km"
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,12})?", parts[2]) is None:
        raise Invalid(f"'{parts[2]}' is not a distance")
    metres = ucum.convert(Decimal(parts[2]), unit, "m")
    if metres is None:
        raise Invalid(f"'{unit}' is not a UCUM unit of length")
    return NearValue(latitude, longitude, float(metres), unit)


def key_of(keys: Keys, resource_type: str, code: str) -> int:
    """The key of positions in `qty`: latitude stands in `lo`, longitude in `hi`."""
    return keys.of("near", resource_type, code)


def indexer(keys: Keys, resource_type: str, code: str) -> Indexer:
    """Writes what `compile` asks for."""
    key = key_of(keys, resource_type, code)

    def index(nodes: Sequence[Node], entries: Entries) -> None:
        for node in nodes:
            if _point(node.value) is not None:
                position: Mapping[str, Any] = node.value
                entries.qty.append((key, Decimal(position["latitude"]), Decimal(position["longitude"])))

    return index


def _point(position: Any) -> tuple[float, float] | None:
    """Latitude and longitude, if the position is on earth. Some count the longitude up to 360 degrees."""
    if not isinstance(position, dict):
        return None
    latitude, longitude = position.get("latitude"), position.get("longitude")
    if not isinstance(latitude, (int, Decimal)) or not isinstance(longitude, (int, Decimal)):
        return None
    if abs(latitude) > 90 or abs(longitude) > 360:
        return None
    return float(latitude), float(longitude)


def compile(scope: Scope, code: str, values: Sequence[NearValue]) -> Condition:
    """Great-circle distance on a sphere, the band of latitudes first."""
    key = key_of(scope.keys, scope.resource_type, code)
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


# -- the distance of a match

_DIGITS: Final = 4
"""Decimals of a distance: a tenth of a metre in kilometres."""


def distance(values: Sequence[NearValue], position: Any) -> dict[str, Any] | None:
    """How far a Location.position is from the nearest of the places, as a Distance in the unit asked for.

    None for what is no position.
    """
    point = _point(position)
    if point is None or not values:
        return None
    metres, nearest = min(((_metres(value, *point), value) for value in values), key=lambda one: one[0])
    found = ucum.convert(Decimal(repr(metres)), "m", nearest.unit)
    assert found is not None
    value = round(float(found), _DIGITS)
    return {"value": value, "unit": nearest.unit, "system": ucum.SYSTEM, "code": nearest.unit}


def _metres(value: NearValue, latitude: float, longitude: float) -> float:
    """The great circle, by the haversine, as in the statement."""
    one, other = math.radians(value.latitude), math.radians(latitude)
    gap = math.radians(longitude - value.longitude)
    chord = math.sin((other - one) / 2) ** 2 + math.cos(one) * math.cos(other) * math.sin(gap / 2) ** 2
    return 2 * _EARTH_RADIUS_M * math.asin(math.sqrt(min(1.0, chord)))


def _within(value: NearValue) -> Fragment:
    margin = math.degrees(value.radius_m / _EARTH_RADIUS_M) + 1e-9
    band = sql(
        "x.lo >= {}::numeric AND x.lo <= {}::numeric",
        Decimal(repr(max(value.latitude - margin, -90.0))),
        Decimal(repr(min(value.latitude + margin, 90.0))),
    )
    angle = min(value.radius_m / _EARTH_RADIUS_M, math.pi)
    return and_(band, sql("{} <= {}::float8", _haversine(value), math.sin(angle / 2) ** 2 + 1e-15))


def _haversine(value: NearValue) -> Fragment:
    """Half the angle between the position `x` and the place, squared sine of it."""
    return sql(
        "power(sind((x.lo::float8 - {}::float8) / 2), 2) + cosd({}::float8) * cosd(x.lo::float8)"
        " * power(sind((x.hi::float8 - {}::float8) / 2), 2)",
        value.latitude,
        value.latitude,
        value.longitude,
    )


def millimetres(scope: Scope, code: str, values: Sequence[NearValue]) -> Fragment:
    """How far the row is from the nearest of the places, in millimetres; null without a position."""
    return sql(
        "(SELECT min(round({}::float8 * asin(least(1, sqrt({}))))::bigint) FROM qty x"
        " WHERE x.rid = {}.rid AND x.key IS NOT DISTINCT FROM {})",
        2_000 * _EARTH_RADIUS_M,
        sql("least({})", join(", ", (_haversine(value) for value in values))),
        scope.alias,
        key_of(scope.keys, scope.resource_type, code),
    )
