"""Every kind of date, with every prefix: date, dateTime, instant, Period, Timing and the last update.

https://hl7.org/fhir/R4/search.html#date; what each prefix compares is in docs/adr/0008-date-prefixes.md.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirserver.search import plan
from tests.db.search import oracle
from tests.db.search.harness import BOUNDS, Runner
from tests.db.search.test_oracle import MOMENT
from tests.support.share import share

Resource = dict[str, Any]
START, END = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
MOMENTS = ["2020-02-29T12:00:00Z", "2020-02-29T13:00:00+01:00", "2020-02-29T12:00:00.500Z"]
MOMENTS += ["2020-02-28T23:30:00-05:00", "2020-03-01T00:00:00Z", "2019-12-31T23:59:59.999Z"]
DATES = ["2019", "2020", "2020-02", "2020-02-29", "2020-03-01", "2021-06"]
PREFIXES = ["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]


def _period(pick: random.Random) -> Resource:
    ends = sorted(
        (pick.choice([*DATES, *MOMENTS]) for _ in range(2)), key=lambda text: oracle.date_range(text).lo
    )
    found = dict(zip(("start", "end"), ends, strict=True))
    if pick.random() < 0.4:
        del found[pick.choice(["start", "end"])]
    return found


def _timing(pick: random.Random) -> Resource:
    found: Resource = {}
    if pick.random() < 0.6:
        found["event"] = [pick.choice([*DATES, *MOMENTS]) for _ in range(pick.randint(1, 3))]
    if pick.random() < 0.5:
        found["repeat"] = {"boundsPeriod": _period(pick), "frequency": 1, "period": 1, "periodUnit": "d"}
    elif pick.random() < 0.5:
        found["repeat"] = {"count": 3}
    return found


def _of(pick: random.Random, name: str, instants: bool) -> Resource:
    kind = pick.choice(["DateTime", "Period", "Timing", *(["Instant"] if instants else [])])
    value = {
        "DateTime": lambda: pick.choice([*DATES, *MOMENTS]),
        "Instant": lambda: pick.choice(MOMENTS),
        "Period": lambda: _period(pick),
        "Timing": lambda: _timing(pick),
    }[kind]()
    return {name + kind: value}


def _population() -> list[Resource]:
    pick = random.Random(20260606)
    found: list[Resource] = []
    for index in range(150):
        found.append({"resourceType": "Observation", "id": f"o{index}", **_of(pick, "effective", True)})
        found.append({"resourceType": "ServiceRequest", "id": f"s{index}", **_of(pick, "occurrence", False)})
        if index < 60:
            found.append({"resourceType": "Appointment", "id": f"a{index}", "start": pick.choice(MOMENTS)})
            found.append({"resourceType": "Person", "id": f"p{index}", "birthDate": pick.choice(DATES)})
    return found


POPULATION = _population()
UPDATES = [
    datetime(2020, 2, 29, 12, tzinfo=UTC) + timedelta(microseconds=n) for n in (-1, 0, 1, 500_000, 999_999)
]
UPDATES += [datetime(2019, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2020, 3, 1, tzinfo=UTC)]
UPDATES += [datetime(2021, 6, 30, tzinfo=UTC)]


def _bounds(period: Resource) -> oracle.Range | None:
    if not period:
        return None
    lo = oracle.date_range(period["start"]).lo if "start" in period else START
    return oracle.Range(lo, oracle.date_range(period["end"]).hi if "end" in period else END, False)


def _outer(timing: Resource) -> oracle.Range | None:
    """The outer limits: what lies between them is ignored."""
    ranges = [oracle.date_range(event) for event in timing.get("event", ())]
    limits = _bounds(timing.get("repeat", {}).get("boundsPeriod", {}))
    ranges += [limits] if limits else []
    if not ranges:
        return None
    return oracle.Range(min(one.lo for one in ranges), max(one.hi for one in ranges), False)


def _point(text: str) -> oracle.Range:
    """An instant has no width, which here is a microsecond, however few digits are written."""
    lo = oracle.date_range(text).lo
    return oracle.Range(lo, lo + timedelta(microseconds=1), False)


def _value(resource: Resource) -> oracle.Range | None:
    for key, value in resource.items():
        if key == "start" or key.endswith("Instant"):
            return _point(value)
        if key == "birthDate" or key.endswith("DateTime"):
            return oracle.date_range(value)
        if key.endswith("Period"):
            return _bounds(value)
        if key.endswith("Timing"):
            return _outer(value)
    return None


PARAMS = {"Observation": "date", "ServiceRequest": "occurrence", "Appointment": "date", "Person": "birthdate"}


def expected(type_: str, prefix: str, text: str) -> set[str]:
    return {
        resource["id"]
        for resource in POPULATION
        if resource["resourceType"] == type_
        and (value := _value(resource)) is not None
        and oracle.date_holds(prefix, text, value, MOMENT)
    }


@pytest.fixture(scope="module", params=BOUNDS, ids=["driven", "in stages", "in order"])
def db(database: str, request: pytest.FixtureRequest) -> Iterator[Runner]:
    runner = Runner(database)
    runner.run(runner.harness.clear())
    runner.run(runner.harness.put_all(POPULATION))
    updated = [{"resourceType": "Basic", "id": f"b{index}"} for index in range(len(UPDATES))]
    runner.run(runner.harness.put_all(updated))
    for index, moment in enumerate(UPDATES):
        micros = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        change = "UPDATE resource SET updated = $1, ord = $2 WHERE type = 'Basic' AND id = $3"
        runner.run(runner.harness.connection.execute(change, moment, micros, f"b{index}"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "BOUNDS", request.param)
        yield runner
    runner.close()


examples = settings(
    max_examples=share(300),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
TEXTS = [*DATES, *MOMENTS, "2020-02-29T12:00Z", "2020-02-29T12:00", "2020-02-29T12:00:00.0005Z"]


@examples
@given(st.sampled_from(sorted(PARAMS)), st.sampled_from(PREFIXES), st.sampled_from(TEXTS))
def test_each_kind(db: Runner, type_: str, prefix: str, text: str) -> None:
    found = db.ids(f"{type_}?{PARAMS[type_]}={prefix}{quote(text)}")
    assert found == expected(type_, prefix, text)


def test_every_prefix_tells_dates_apart(db: Runner) -> None:
    for type_, code in PARAMS.items():
        for prefix in PREFIXES:
            for text in ("2020-02-29", "2020-02-29T12:00:00Z"):
                wanted = expected(type_, prefix, text)
                assert db.ids(f"{type_}?{code}={prefix}{text}") == wanted
            assert expected(type_, prefix, "2020-02") != set() or type_ == "Appointment"


def _instant_holds(prefix: str, text: str, updated: datetime) -> bool:
    asked = oracle.date_range(text)
    moment = asked.hi - asked.lo <= timedelta(seconds=1)
    gap = max(abs(MOMENT - asked.lo), abs(MOMENT - asked.hi)) // timedelta(microseconds=10)
    margin = timedelta(microseconds=gap)
    return {
        "": asked.lo <= updated < asked.hi,
        "ne": not asked.lo <= updated < asked.hi,
        "gt": updated > asked.lo if moment else updated >= asked.hi,
        "lt": updated < asked.lo,
        "ge": updated >= asked.lo,
        "le": updated < asked.hi,
        "sa": updated >= asked.hi,
        "eb": updated < asked.lo,
        "ap": asked.lo - margin <= updated < asked.hi + margin,
    }[prefix.replace("eq", "")]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_last_update(db: Runner, prefix: str) -> None:
    """An instant to the microsecond has no width: a value that it equals, it neither exceeds nor precedes."""
    for text in TEXTS:
        wanted = {f"b{index}" for index, one in enumerate(UPDATES) if _instant_holds(prefix, text, one)}
        assert db.ids(f"Basic?_lastUpdated={prefix}{quote(text)}") == wanted, text
        assert db.ids(f"Basic?_lastUpdated={prefix}{quote(text)}&_sort=_id") == wanted, text
