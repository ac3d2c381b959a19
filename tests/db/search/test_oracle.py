"""What the index writes, the statements find: PostgreSQL against the slow oracle on one population."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirserver.search import plan
from tests.db.search import oracle
from tests.db.search.harness import KEYS, NOW, REGISTRY, Harness, harness

PREFIXES = ["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]
NUMBERS = ["0", "1", "1.0", "2", "2.0", "1.95", "2.05", "5.4", "5.40", "100", "1e2", "95", "105", "-3"]
NUMBERS += ["0.001", "1000", "99.5", "5.40e-3", "0.0054"]
DATES = ["2019", "2020", "2020-01", "2020-02", "2020-02-29", "2020-03-01", "2021", "2023-11-14", "1950-05-05"]
DATES += ["2020-02-29T12:00:00Z", "2020-02-29T12:00:00+01:00", "2020-02-29T12:00Z"]
TEXTS = ["Müller", "muller", "MULLER", "Mul", "straße", "Strasse", "van  den Berg", "den", "100%", "a_b"]
TEXTS += ["Ångström", "ﬁn", "İstanbul", "日本", "O'Neil", "x" * 700 + "tail", "x" * 650]
SHORT_TEXTS = [*(text for text in TEXTS if len(text) < 100), "tail", "xta", "x" * 99]
SYSTEMS = [None, "urn:a", "http://b"]
CODES = [None, "A", "a", "b", "8480-6", "final", "x|y", "q,r", "ß"]
UNITS = [None, "g", "mg", "kg", "ug", "m", "cm", "[in_i]"]
ALL_UNITS = oracle.GRAM | oracle.METRE
QUANTITIES = ["value-quantity", "component-value-quantity", "combo-value-quantity"]
SORTS = ["", "&_sort=date", "&_sort=-status", "&_sort=value-quantity"]
MOMENT = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def population() -> list[dict[str, Any]]:
    """Resources whose values meet, miss and straddle what is asked for."""
    pick = random.Random(20260101)
    found: list[dict[str, Any]] = []
    for index in range(160):
        found.append(_observation(pick, index))
    for index in range(160):
        found.append(_patient(pick, index))
    for index in range(60):
        found.append(_risk(pick, index))
    for index in range(80):
        found.append(_encounter(pick, index))
    return found


def _coding(pick: random.Random) -> dict[str, Any]:
    system, code = pick.choice(SYSTEMS), pick.choice(CODES)
    return {k: v for k, v in (("system", system), ("code", code), ("display", "d")) if v is not None}


def _concept(pick: random.Random) -> dict[str, Any]:
    return {"coding": [_coding(pick) for _ in range(pick.randint(0, 2))], "text": "t"}


def _quantity(pick: random.Random) -> dict[str, Any]:
    unit = pick.choice(UNITS)
    found: dict[str, Any] = {"value": Decimal(pick.choice(NUMBERS))}
    if pick.random() < 0.2:
        found["comparator"] = pick.choice(["<", "<=", ">", ">="])
    if unit is not None:
        found |= {"unit": unit, "code": unit}
        if pick.random() < 0.8:
            found["system"] = "http://unitsofmeasure.org"
    return found


def _observation(pick: random.Random, index: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "resourceType": "Observation",
        "id": f"o{index}",
        "status": "final",
        "code": _concept(pick),
    }
    if pick.random() < 0.7:
        found["valueQuantity"] = _quantity(pick)
    if pick.random() < 0.4:
        found["component"] = [
            {"code": _concept(pick), "valueQuantity": _quantity(pick)} for _ in range(pick.randint(1, 3))
        ]
    if pick.random() < 0.8:
        found |= _effective(pick, "effectiveDateTime", "effectivePeriod")
    return found


def _effective(pick: random.Random, point: str, period: str) -> dict[str, Any]:
    if pick.random() < 0.6:
        return {point: pick.choice(DATES)}
    ends = sorted((pick.choice(DATES) for _ in range(2)), key=lambda text: oracle.date_range(text).lo)
    chosen = {"start": ends[0], "end": ends[1]}
    if pick.random() < 0.4:
        del chosen[pick.choice(["start", "end"])]
    return {period: chosen}


def _patient(pick: random.Random, index: int) -> dict[str, Any]:
    found: dict[str, Any] = {"resourceType": "Patient", "id": f"p{index}"}
    if pick.random() < 0.8:
        found["name"] = [
            {"family": pick.choice(TEXTS), "given": [pick.choice(TEXTS)]} for _ in range(pick.randint(1, 2))
        ]
    if pick.random() < 0.7:
        found["birthDate"] = pick.choice([d for d in DATES if len(d) <= 10])
    if pick.random() < 0.7:
        found["identifier"] = [
            {k: v for k, v in (("system", pick.choice(SYSTEMS)), ("value", pick.choice(CODES[1:]))) if v}
            for _ in range(pick.randint(1, 2))
        ]
    if pick.random() < 0.5:
        found["maritalStatus"] = _concept(pick)
    return found


def _risk(pick: random.Random, index: int) -> dict[str, Any]:
    """RiskAssessment.prediction.probability is the number parameter with a Range."""
    predictions: list[dict[str, Any]] = []
    for _ in range(pick.randint(0, 2)):
        if pick.random() < 0.6:
            predictions.append({"probabilityDecimal": Decimal(pick.choice(NUMBERS))})
        else:
            low, high = sorted(Decimal(pick.choice(NUMBERS)) for _ in range(2))
            predictions.append({"probabilityRange": {"low": {"value": low}, "high": {"value": high}}})
    return {"resourceType": "RiskAssessment", "id": f"r{index}", "status": "final", "prediction": predictions}


def _encounter(pick: random.Random, index: int) -> dict[str, Any]:
    found: dict[str, Any] = {"resourceType": "Encounter", "id": f"e{index}", "status": "finished"}
    locations = [{"location": {"display": "x"}} for _ in range(pick.randint(0, 2))]
    for location in locations:
        if pick.random() < 0.8:
            ends = sorted((pick.choice(DATES) for _ in range(2)), key=lambda text: oracle.date_range(text).lo)
            location["period"] = {"start": ends[0], "end": ends[1]}  # type: ignore[assignment]
    return found | ({"location": locations} if locations else {})


RESOURCES = population()


class Runner:
    """The harness for tests that are not coroutines."""

    def __init__(self, dsn: str) -> None:
        self._loop = asyncio.Runner()
        self._open = harness(dsn)
        self.harness: Harness = self.run(self._open.__aenter__())

    def run(self, coroutine: Any) -> Any:
        return self._loop.run(coroutine)

    def close(self) -> None:
        self.run(self._open.__aexit__(None, None, None))
        self._loop.close()

    def ids(self, url: str) -> set[str]:
        found = self.run(self.harness.ids(url))
        assert len(found) == len(set(found)), url
        return set(found)


@pytest.fixture(scope="module", params=[plan.DRIVEN_MAX, 3], ids=["driven", "in order"])
def db(database: str, request: pytest.FixtureRequest) -> Iterator[Runner]:
    """The population, searched through drivers, and as if they yielded too much to be sorted."""
    runner = Runner(database)
    runner.run(runner.harness.clear())
    runner.run(runner.harness.put_all(RESOURCES))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "DRIVEN_MAX", request.param)
        yield runner
    runner.close()


examples = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


def expected(type_: str, holds: Callable[[dict[str, Any]], bool]) -> set[str]:
    return {r["id"] for r in RESOURCES if r["resourceType"] == type_ and holds(r)}


# -- numbers


def _probabilities(resource: dict[str, Any]) -> list[oracle.Range]:
    """A Range is no number: search_params/corrections.json narrows the choice to decimal."""
    values = [
        Fraction(one["probabilityDecimal"]) for one in resource["prediction"] if "probabilityDecimal" in one
    ]
    return [oracle.Range(value, value, True) for value in values]


@examples
@given(st.sampled_from(PREFIXES), st.sampled_from(NUMBERS))
def test_number(db: Runner, prefix: str, text: str) -> None:
    def holds(resource: dict[str, Any]) -> bool:
        return any(oracle.number_holds(prefix, text, one) for one in _probabilities(resource))

    assert db.ids(f"RiskAssessment?probability={prefix}{text}") == expected("RiskAssessment", holds)


# -- quantities


def _span(quantity: dict[str, Any]) -> tuple[Fraction, Fraction, bool, bool]:
    """lo, hi, and whether each end is open."""
    value = Fraction(quantity["value"])
    match quantity.get("comparator"):
        case "<":
            return -oracle.INF, value, False, True
        case "<=":
            return -oracle.INF, value, False, False
        case ">":
            return value, oracle.INF, True, False
        case ">=":
            return value, oracle.INF, False, False
        case _:
            return value, value, False, False


TINY = Fraction(1, 10**12)


def _quantity_holds(prefix: str, text: str, form: str, unit: str, quantity: dict[str, Any]) -> bool:
    lo, hi, lo_open, hi_open = _span(quantity)
    lo, hi = lo + (TINY if lo_open else 0), hi - (TINY if hi_open else 0)
    if form == "":
        return oracle.number_holds(prefix, text, oracle.Range(lo, hi, True))
    if form == "||":
        same = unit in (quantity.get("code"), quantity.get("unit"))
        return same and oracle.number_holds(prefix, text, oracle.Range(lo, hi, True))
    if "system" not in quantity:
        return False
    table = oracle.GRAM if unit in oracle.GRAM else oracle.METRE
    if quantity["code"] not in table:
        return False
    factor = table[quantity["code"]]
    return oracle.number_holds(prefix, text, oracle.Range(lo * factor, hi * factor, True), table[unit])


def _suffix(form: str, unit: str) -> str:
    return {"": "", "||": f"||{unit}", "ucum": f"|http://unitsofmeasure.org|{unit}"}[form]


prefixed = st.sampled_from(PREFIXES)
numbers = st.sampled_from(NUMBERS)
forms = st.sampled_from(["", "||", "ucum"])
units = st.sampled_from([unit for unit in UNITS if unit])


@examples
@given(prefixed, numbers, forms, units, st.sampled_from(QUANTITIES))
def test_quantity(db: Runner, prefix: str, text: str, form: str, unit: str, code: str) -> None:
    def values(resource: dict[str, Any]) -> list[dict[str, Any]]:
        own = (
            [resource["valueQuantity"]]
            if "valueQuantity" in resource and code != "component-value-quantity"
            else []
        )
        parts = (
            [c["valueQuantity"] for c in resource.get("component", ())] if code != "value-quantity" else []
        )
        return own + parts

    def holds(resource: dict[str, Any]) -> bool:
        return any(_quantity_holds(prefix, text, form, unit, one) for one in values(resource))

    assert db.ids(f"Observation?{code}={prefix}{text}{_suffix(form, unit)}") == expected("Observation", holds)


def _tokens(concept: dict[str, Any]) -> list[tuple[str | None, str | None]]:
    return [(coding.get("system"), coding.get("code")) for coding in concept["coding"]]


tokens = st.builds(
    lambda system, code: {None: "", "": "|"}.get(system, f"{system}|") + code,
    st.sampled_from([None, "", "urn:a", "http://b", "urn:z"]),
    st.sampled_from([code for code in CODES if code] + ["zz"]),
)


def escaped(text: str) -> str:
    """As a client writes a token whose code holds separators."""
    head, bar, tail = text.partition("|") if not text.startswith(("x|y",)) else ("", "", text)
    code = tail if bar or text.startswith("x|y") else head
    code = code.replace("\\", "\\\\").replace(",", "\\,").replace("|", "\\|").replace("$", "\\$")
    return quote((head + bar if bar else "") + code, safe="|/:\\")


def _parts(text: str) -> tuple[str | None, str]:
    if text == "x|y":
        return None, text
    head, bar, tail = text.partition("|")
    return (head, tail) if bar else (None, head)


def _token_holds(text: str, pair: tuple[str | None, str | None], exact: bool) -> bool:
    system, code = _parts(text)
    target_system, target = pair
    if target is None or (code != target if exact else code.casefold() != target.casefold()):
        return False
    return system is None or (target_system is None if system == "" else target_system == system)


@examples
@given(
    prefixed,
    numbers,
    st.sampled_from(["", "ucum"]),
    units,
    tokens,
    st.sampled_from(["component-code-value-quantity", "code-value-quantity", "combo-code-value-quantity"]),
)
def test_composite(db: Runner, prefix: str, text: str, form: str, unit: str, token: str, code: str) -> None:
    def pairs(resource: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        own = [resource] if "valueQuantity" in resource and not code.startswith("component") else []
        parts = resource.get("component", []) if not code.startswith("code") else []
        return [(part["code"], part["valueQuantity"]) for part in [*own, *parts]]

    def holds(resource: dict[str, Any]) -> bool:
        return any(
            any(_token_holds(token, pair, False) for pair in _tokens(concept))
            and _quantity_holds(prefix, text, form, unit, quantity)
            for concept, quantity in pairs(resource)
        )

    asked = f"Observation?{code}={escaped(token)}${prefix}{text}{_suffix(form, unit)}"
    assert db.ids(asked) == expected("Observation", holds)


@examples
@given(prefixed, numbers, tokens)
def test_code_and_quantity(db: Runner, prefix: str, text: str, token: str) -> None:
    def holds(resource: dict[str, Any]) -> bool:
        return any(_token_holds(token, pair, False) for pair in _tokens(resource["code"])) and (
            "valueQuantity" in resource and _quantity_holds(prefix, text, "", "", resource["valueQuantity"])
        )

    found = db.ids(f"Observation?code={escaped(token)}&value-quantity={prefix}{text}")
    assert found == expected("Observation", holds)


# -- dates

END = datetime(9999, 1, 1, tzinfo=UTC)
START = datetime(1, 1, 2, tzinfo=UTC)


def _period(period: dict[str, Any]) -> oracle.Range:
    lo = oracle.date_range(period["start"]).lo if "start" in period else START
    hi = oracle.date_range(period["end"]).hi if "end" in period else END
    return oracle.Range(lo, hi, False)


def _effectives(resource: dict[str, Any]) -> list[oracle.Range]:
    if "effectiveDateTime" in resource:
        return [oracle.date_range(resource["effectiveDateTime"])]
    return [_period(resource["effectivePeriod"])] if "effectivePeriod" in resource else []


@examples
@given(prefixed, st.sampled_from(DATES), st.sampled_from(SORTS))
def test_clinical_date(db: Runner, prefix: str, text: str, sort: str) -> None:
    def holds(resource: dict[str, Any]) -> bool:
        return any(oracle.date_holds(prefix, text, one, MOMENT) for one in _effectives(resource))

    found = db.ids(f"Observation?date={prefix}{quote(text)}{sort}")
    assert found == expected("Observation", holds)


@examples
@given(prefixed, st.sampled_from(DATES))
def test_birthdate(db: Runner, prefix: str, text: str) -> None:
    def holds(resource: dict[str, Any]) -> bool:
        return "birthDate" in resource and oracle.date_holds(
            prefix, text, oracle.date_range(resource["birthDate"]), MOMENT
        )

    assert db.ids(f"Patient?birthdate={prefix}{quote(text)}") == expected("Patient", holds)


@examples
@given(prefixed, st.sampled_from(DATES))
def test_repeated_period(db: Runner, prefix: str, text: str) -> None:
    def holds(resource: dict[str, Any]) -> bool:
        periods = [_period(one["period"]) for one in resource.get("location", ()) if "period" in one]
        return any(oracle.date_holds(prefix, text, one, MOMENT) for one in periods)

    assert db.ids(f"Encounter?location-period={prefix}{quote(text)}") == expected("Encounter", holds)


# -- strings


@examples
@given(st.sampled_from(["", ":exact", ":contains"]), st.sampled_from(SHORT_TEXTS))
def test_string(db: Runner, modifier: str, text: str) -> None:
    def holds(resource: dict[str, Any]) -> bool:
        names = [part for name in resource.get("name", ()) for part in (name["family"], *name["given"])]
        return any(oracle.string_holds(modifier.removeprefix(":"), text, name) for name in names)

    assert db.ids(f"Patient?name{modifier}={quote(text)}") == expected("Patient", holds)


# -- tokens


@examples
@given(tokens, st.booleans())
def test_concept(db: Runner, token: str, negated: bool) -> None:
    def holds(resource: dict[str, Any]) -> bool:
        return any(_token_holds(token, pair, False) for pair in _tokens(resource["code"])) is not negated

    found = db.ids(f"Observation?code{':not' if negated else ''}={escaped(token)}")
    assert found == expected("Observation", holds)


@examples
@given(st.lists(tokens, min_size=1, max_size=3), st.booleans())
def test_identifiers(db: Runner, asked: list[str], negated: bool) -> None:
    def holds(resource: dict[str, Any]) -> bool:
        pairs = [(one.get("system"), one["value"]) for one in resource.get("identifier", ())]
        return any(_token_holds(token, pair, True) for token in asked for pair in pairs) is not negated

    text = ",".join(escaped(token) for token in asked)
    assert db.ids(f"Patient?identifier{':not' if negated else ''}={text}") == expected("Patient", holds)


@examples
@given(st.sampled_from([*QUANTITIES, "date", "component-code"]), st.booleans())
def test_missing(db: Runner, code: str, missing: bool) -> None:
    def has(resource: dict[str, Any]) -> bool:
        match code:
            case "value-quantity":
                return "valueQuantity" in resource
            case "date":
                return bool(_effectives(resource))
            case "combo-value-quantity":
                return "valueQuantity" in resource or "component" in resource
            case _:
                return "component" in resource

    found = db.ids(f"Observation?{code}:missing={'true' if missing else 'false'}")
    assert found == expected("Observation", lambda resource: has(resource) is not missing)


def test_the_moment_is_the_harness_moment() -> None:
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=NOW) == MOMENT
    assert KEYS.tenant == 1
    assert REGISTRY.get("Observation", "code") is not None
