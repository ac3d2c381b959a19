"""What must hold of all values: order, arithmetic, three-valued logic, sets."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.fhir.fhirpath import Environment, Node, compile_expression

TRUTHS = (True, False, None)


def value(expression: str, **variables: Node | list[Node]) -> object:
    """The only result's value, None for none."""
    given_ = {name: node if isinstance(node, list) else [node] for name, node in variables.items()}
    program = compile_expression(expression, "Patient", variables=frozenset(given_))
    found = program.evaluate(
        {"resourceType": "Patient"}, "Patient", environment=Environment(variables=given_)
    )
    assert len(found) <= 1
    return found[0].value if found else None


def literal(truth: bool | None) -> str:
    return "{}" if truth is None else str(truth).lower()


def kleene_and(a: bool | None, b: bool | None) -> bool | None:
    if a is False or b is False:
        return False
    return None if a is None or b is None else True


def negated(a: bool | None) -> bool | None:
    return None if a is None else not a


@pytest.mark.parametrize(("a", "b"), list(product(TRUTHS, TRUTHS)))
def test_logic_is_kleenes(a: bool | None, b: bool | None):
    left, right = literal(a), literal(b)
    either = negated(kleene_and(negated(a), negated(b)))
    assert value(f"{left} and {right}") is kleene_and(a, b)
    assert value(f"{left} or {right}") is either
    assert value(f"{left} xor {right}") is (None if a is None or b is None else a is not b)
    assert value(f"{left} implies {right}") is negated(kleene_and(a, negated(b)))


DATES = st.dates(date(1, 1, 2), date(9999, 12, 30))
CUT = {4: "year", 7: "month", 10: "day"}


def dated(text: str) -> Node:
    return Node(text, "System.Date")


@given(DATES, DATES, st.sampled_from(list(CUT)), st.sampled_from(list(CUT)))
def test_dates_are_ordered_where_all_they_may_mean_is(one: date, other: date, cut: int, other_cut: int):
    """Against the definition: every day that the first may mean lies before every one of the second."""
    a, b = one.isoformat()[:cut], other.isoformat()[:other_cut]
    (low, high), (other_low, other_high) = span(a), span(b)
    expected = True if high < other_low else False if low > other_high else None
    if expected is None and cut == other_cut:
        expected = False
    assert value("%a < %b", a=dated(a), b=dated(b)) is expected
    assert value("%b > %a", a=dated(a), b=dated(b)) is expected
    equal = True if a == b else None if low <= other_high and other_low <= high else False
    assert value("%a = %b", a=dated(a), b=dated(b)) is equal


def span(text: str) -> tuple[str, str]:
    return text + "-01-01"[len(text) - 4 :], text + "-12-31"[len(text) - 4 :]


@given(DATES, st.integers(-40_000, 40_000))
def test_days_are_added_as_the_calendar_counts(start: date, days: int):
    try:
        expected = (start + timedelta(days=days)).isoformat()
    except OverflowError:
        expected = None
    assert value(f"%a + ({days} days)", a=dated(start.isoformat())) == expected
    weeks = f"%a + ({days // 7} weeks) = %a + ({days // 7 * 7} days)"
    assert value(weeks, a=dated(start.isoformat())) in (True, None)


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)),
    st.integers(-(10**9), 10**9),
    st.sampled_from(["Z", "+05:30", "-11:00", ""]),
)
def test_seconds_are_added_to_instants(start: datetime, milliseconds: int, zone: str):
    whole = start.replace(microsecond=start.microsecond // 1000 * 1000)
    expected = (whole + timedelta(milliseconds=milliseconds)).isoformat(timespec="milliseconds") + zone
    node = Node(whole.isoformat(timespec="milliseconds") + zone, "System.DateTime")
    assert value(f"%a + ({milliseconds} milliseconds)", a=node) == expected


NUMBERS = st.integers(-(10**6), 10**6) | st.decimals(-(10**6), 10**6, places=3)


def numeric(number: int | Decimal) -> Node:
    return Node(number, "System.Integer" if isinstance(number, int) else "System.Decimal")


@given(NUMBERS, NUMBERS)
def test_arithmetic(one: int | Decimal, other: int | Decimal):
    a, b = numeric(one), numeric(other)
    assert value("%a + %b", a=a, b=b) == Decimal(one) + Decimal(other)
    assert value("%a - %b + %b = %a", a=a, b=b) is True
    if other != 0:
        assert value("(%a div %b) * %b + (%a mod %b) = %a", a=a, b=b) is True
    assert value("%a < %b", a=a, b=b) is (one < other)


@given(st.lists(st.integers(0, 6), max_size=12), st.lists(st.integers(0, 6), max_size=12))
def test_sets(one: list[int], other: list[int]):
    a, b = [numeric(n) for n in one], [numeric(n) for n in other]
    program = compile_expression

    def found(expression: str) -> list[object]:
        compiled = program(expression, "Patient", variables=frozenset({"a", "b"}))
        environment = Environment(variables={"a": a, "b": b})
        return [node.value for node in compiled.evaluate({}, "Patient", environment=environment)]

    assert found("%a | %b") == list(dict.fromkeys(one + other))
    assert found("%a.intersect(%b)") == list(dict.fromkeys(n for n in one if n in other))
    assert found("%a.exclude(%b)") == [n for n in one if n not in other]
    assert found("%a.combine(%b).count()") == [len(one) + len(other)]
    assert found("%a.subsetOf(%b)") == [set(one) <= set(other)]
    assert found("%a.sort()") == sorted(one)
    assert found("%a ~ %b") == [sorted(one) == sorted(other)]
    assert found("%a.distinct().isDistinct()") == [True]


TEXTS = st.text(alphabet="abAB xy.|$\\'", max_size=12)


@given(TEXTS, TEXTS, st.integers(-2, 14), st.integers(-2, 14))
def test_strings(one: str, other: str, start: int, length: int):
    a, b = Node(one, "System.String"), Node(other, "System.String")
    assert value("%a.contains(%b)", a=a, b=b) is (other in one)
    assert value("%a.indexOf(%b)", a=a, b=b) == one.find(other)
    cut = one[start : start + max(0, length)] if 0 <= start < len(one) else None
    assert value(f"%a.substring({start}, {length})", a=a) == cut
    if other:
        assert value("%a.split(%b).join(%b)", a=a, b=b) == one
        assert value("%a.replace(%b, 'Q')", a=a, b=b) == one.replace(other, "Q")
    for form in ("base64", "urlbase64", "hex"):
        assert value(f"%a.encode('{form}').decode('{form}')", a=a) == one
    for target in ("html", "json"):
        assert value(f"%a.escape('{target}').unescape('{target}')", a=a) == one


UNITS = {"mg": ("g", Decimal("0.001")), "cm": ("m", Decimal("0.01")), "min": ("s", Decimal(60))}


@given(st.decimals(-1000, 1000, places=2), st.sampled_from(sorted(UNITS)))
def test_quantities_are_equal_in_every_unit(amount: Decimal, unit: str):
    base, factor = UNITS[unit]
    assert value(f"({amount} '{unit}') = ({amount * factor} '{base}')") is True
    assert value(f"({amount} '{unit}') < (({amount} '{unit}') + (1 '{base}'))") is True
    assert value(f"(({amount} '{unit}') + (1 '{base}')) - (1 '{base}') = ({amount} '{unit}')") is True
