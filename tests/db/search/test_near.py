"""`near` against vectors in space: https://hl7.org/fhir/R4/location.html#search"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirserver.params import near
from fhirserver.params.registry import r4
from fhirserver.search import plan
from tests.db.search.harness import BOUNDS, Runner
from tests.support.share import share

RADIUS_KM = 6371.0088
UNITS = {"km": 1, "m": 1000, "[mi_i]": 1 / 1.609344, "[nmi_i]": 1 / 1.852, "cm": 100_000}
NEAR = r4().get("Location", "near")
assert NEAR is not None

PLACES: list[tuple[str, str]] = [
    *[("90", "0"), ("-90", "0"), ("90", "123.4"), ("89.99", "45"), ("89.99", "-135"), ("-89.5", "180")],
    *[("0", "180"), ("0", "-180"), ("0", "179.99"), ("0", "-179.99"), ("10", "190"), ("10", "-170")],
    *[
        ("0", "0"),
        ("0", "0.05"),
        ("0.05", "0"),
        ("52.52", "13.405"),
        ("52.5201", "13.4051"),
        ("48.1", "11.6"),
    ],
]


def _population() -> list[dict[str, Any]]:
    pick = random.Random(20260404)
    places = [
        *PLACES,
        *((f"{pick.uniform(-90, 90):.4f}", f"{pick.uniform(-180, 180):.4f}") for _ in range(60)),
    ]
    found: list[dict[str, Any]] = [{"resourceType": "Location", "id": "nowhere", "name": "x"}]
    for index, (latitude, longitude) in enumerate(places):
        position = {"latitude": Decimal(latitude), "longitude": Decimal(longitude)}
        found.append({"resourceType": "Location", "id": f"l{index}", "position": position})
    role = {"resourceType": "PractitionerRole", "id": "berlin", "location": [{"reference": "Location/l15"}]}
    return [*found, role]


POPULATION = _population()


def _vector(latitude: float, longitude: float) -> tuple[float, float, float]:
    phi, lam = math.radians(latitude), math.radians(longitude)
    return math.cos(phi) * math.cos(lam), math.cos(phi) * math.sin(lam), math.sin(phi)


def _km(one: tuple[float, float], other: tuple[float, float]) -> float:
    """The angle between two unit vectors, by the length of the chord between them."""
    chord = math.dist(_vector(*one), _vector(*other))
    return 2 * RADIUS_KM * math.asin(min(1.0, chord / 2))


def _distances(latitude: float, longitude: float) -> dict[str, float]:
    return {
        r["id"]: _km(
            (latitude, longitude), (float(r["position"]["latitude"]), float(r["position"]["longitude"]))
        )
        for r in POPULATION
        if "position" in r
    }


@pytest.fixture(scope="module", params=BOUNDS, ids=["driven", "in stages", "in order"])
def db(database: str, request: pytest.FixtureRequest) -> Iterator[Runner]:
    runner = Runner(database)
    runner.run(runner.harness.clear())
    runner.run(runner.harness.put_all(POPULATION))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "BOUNDS", request.param)
        yield runner
    runner.close()


examples = settings(
    max_examples=share(150),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
coordinates = st.sampled_from([p for p in PLACES if abs(float(p[1])) <= 180]) | st.tuples(
    st.floats(-90, 90).map(lambda x: f"{x:.4f}"), st.floats(-180, 180).map(lambda x: f"{x:.4f}")
)
kilometres = st.sampled_from([0.1, 1, 5.6, 50, 500, 5000, 10007.6, 20015.2, 30000.0]) | st.floats(0.01, 21000)


@examples
@given(coordinates, kilometres, st.sampled_from(sorted(UNITS)))
def test_within_a_distance(db: Runner, place: tuple[str, str], km: float, unit: str) -> None:
    text = f"{km * UNITS[unit]:.6f}"
    radius = float(text) / UNITS[unit]
    distances = _distances(float(place[0]), float(place[1]))
    found = db.ids(f"Location?near={place[0]}|{place[1]}|{text}|{unit}")
    # Nobody can tell on which side of the circle a point on it lies.
    edge = {id_ for id_, distance in distances.items() if abs(distance - radius) < 1e-3}
    assert found - edge == {id_ for id_, distance in distances.items() if distance <= radius} - edge


@examples
@given(coordinates, coordinates, st.sampled_from(sorted(UNITS)))
def test_the_distance_given_back(place: tuple[str, str], other: tuple[str, str], unit: str) -> None:
    asked = near.parse(NEAR, f"{place[0]}|{place[1]}|1|{unit}")
    found = near.distance([asked], {"latitude": Decimal(other[0]), "longitude": Decimal(other[1])})
    assert found is not None
    wanted = _km((float(place[0]), float(place[1])), (float(other[0]), float(other[1]))) * UNITS[unit]
    assert found["value"] == pytest.approx(wanted, abs=2e-4, rel=1e-9)
    assert (found["unit"], found["code"], found["system"]) == (unit, unit, "http://unitsofmeasure.org")


def test_defaults_and_forms(db: Runner) -> None:
    """Without a distance it is 10 km, without a unit kilometres; several places are alternatives."""
    around = {id_ for id_, km in _distances(52.52, 13.405).items() if km <= 10}
    assert around == {"l15", "l16"}
    for text in ("52.52|13.405", "52.52|13.405||", "52.52|13.405||km", "52.52|13.405|10", "52.52|13.405|10|"):
        assert db.ids(f"Location?near={text}") == around
    assert db.ids("Location?near=52.52|13.405|1,48.1|11.6|1") == around | {"l17"}
    assert db.ids("Location?near=52.52|13.405|1&near=48.1|11.6|1") == set()
    assert db.ids("PractitionerRole?location.near=52.52|13.405|1") == {"berlin"}
    assert db.ids("Location?near=52.52|13.405|0.001") == {"l15"}


def test_missing(db: Runner) -> None:
    assert db.ids("Location?near:missing=true") == {"nowhere"}
    assert len(db.ids("Location?near:missing=false")) == len(POPULATION) - 2
    assert db.ids("Location?_filter=near%20pr%20false") == {"nowhere"}


def test_the_nearest_of_several_places_counts() -> None:
    values = [near.parse(NEAR, text) for text in ("0|0|1|km", "0|1|1|m", "0|3")]
    found = near.distance(values, {"latitude": Decimal(0), "longitude": Decimal("1.5")})
    assert found is not None
    assert found["code"] == "m"
    assert near.distance(values, {"latitude": Decimal(0)}) is None
    assert near.distance(values, None) is None
