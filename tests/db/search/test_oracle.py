"""What the index writes, the statements find: PostgreSQL against the slow oracle on one population."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirserver.search import plan
from fhirserver.search.recheck import holds
from tests.db.search import oracle
from tests.db.search.harness import BASES, BOUNDS, KEYS, NOW, REGISTRY, Runner, query
from tests.db.search.population import CODES, DATES, NUMBERS, RESOURCES, TEXTS, UNITS
from tests.support.share import share

PREFIXES = ["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]
SHORT_TEXTS = [*(text for text in TEXTS if len(text) < 100), "tail", "xta", "x" * 99]
SHORT_TEXTS += ["dangelo", "saint exupery", "saintexupery", "exupery", "quinones", "lopez", "vega", "lukasz"]
SHORT_TEXTS += ["oster", "aero", "garcialopez y", "lopez y", "j r", "den b"]
QUANTITIES = ["value-quantity", "component-value-quantity", "combo-value-quantity"]
SORTS = ["", "&_sort=date", "&_sort=-status", "&_sort=value-quantity"]
ORDERED = ["Patient?_sort=family", "Patient?_sort=birthdate", "Patient?birthdate=ge1900&_sort=family"]
ORDERED += ["Observation?_sort=date", "Observation?_sort=value-quantity", "Observation?_sort=_id"]
ORDERED += ["Observation?value-quantity=ge0&_sort=date", "Observation?status=final&_sort=value-quantity"]
MOMENT = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


@pytest.fixture(scope="module", params=BOUNDS, ids=["driven", "in stages", "in order"])
def db(database: str, request: pytest.FixtureRequest) -> Iterator[Runner]:
    """The population, searched through drivers, and as if they yielded too much to be sorted."""
    runner = Runner(database)
    runner.run(runner.harness.clear())
    runner.run(runner.harness.put_all(RESOURCES))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "BOUNDS", request.param)
        yield runner
    runner.close()


examples = settings(
    max_examples=share(120),
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
    forms,
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
@given(
    st.sampled_from(["", ":exact", ":contains"]),
    st.sampled_from(SHORT_TEXTS),
    st.sampled_from(["name", "family", "given"]),
)
def test_string(db: Runner, modifier: str, text: str, code: str) -> None:
    def holds(resource: dict[str, Any]) -> bool:
        kind = modifier.removeprefix(":")
        names = resource.get("name", ())
        families = [name["family"] for name in names if code != "given"]
        givens = [given for name in names for given in name["given"] if code != "family"]
        return any(oracle.string_holds(kind, text, one, True) for one in families) or any(
            oracle.string_holds(kind, text, one) for one in givens
        )

    assert db.ids(f"Patient?{code}{modifier}={quote(text)}") == expected("Patient", holds)


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


# -- order


def _least(values: list[Any], descending: bool) -> Any:
    return (max(values) if descending else min(values)) if values else None


def _sort_value(resource: dict[str, Any], code: str, descending: bool) -> Any:
    match code:
        case "family":
            names = [oracle.bare(name["family"])[:600] for name in resource.get("name", ())]
            return _least(names, descending)
        case "birthdate":
            return oracle.date_range(resource["birthDate"]).lo if "birthDate" in resource else None
        case "date":
            return _least([one.lo for one in _effectives(resource)], descending)
        case "value-quantity":
            if "valueQuantity" not in resource:
                return None
            lo, _, is_open, _ = _span(resource["valueQuantity"])
            return lo + (TINY if is_open else 0)
        case _:
            return resource["id"]


@examples
@given(
    st.sampled_from(ORDERED),
    st.booleans(),
)
def test_order(db: Runner, url: str, descending: bool) -> None:
    """What has no value comes last, whatever the direction."""
    code = url.rpartition("=")[2]
    url = url.replace("_sort=", "_sort=-") if descending else url
    by_id = {resource["id"]: resource for resource in RESOURCES}
    found = [_sort_value(by_id[id_], code, descending) for id_ in db.run(db.harness.ids(url))]
    present = [value for value in found if value is not None]
    assert len(present) > 20
    assert found == sorted(present, reverse=descending) + [None] * (len(found) - len(present))


@examples
@given(st.lists(tokens, min_size=1, max_size=2), st.booleans(), st.sampled_from(["identifier", "marital"]))
def test_a_match_bears_looking_at(db: Runner, asked: list[str], negated: bool, kind: str) -> None:
    """The keys and the values agree on every resource."""
    text = ",".join(escaped(token) for token in asked)
    type_, code = ("Patient", "identifier") if kind == "identifier" else ("Observation", "code")
    url = f"{type_}?{code}{':not' if negated else ''}={text}"
    found = db.ids(url)
    looked_at = query(url)
    assert found == expected(type_, lambda resource: holds(looked_at, REGISTRY, BASES, resource))


def test_the_moment_is_the_harness_moment() -> None:
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=NOW) == MOMENT
    assert KEYS.tenant == 1
    assert REGISTRY.get("Observation", "code") is not None
