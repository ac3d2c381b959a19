"""UCUM: against the essence, the functional tests where they are at hand, and algebra."""

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from fhirserver.fhir import ucum
from fhirserver.settings import data_path

DATA = Path(__file__).parents[3] / "../shared/data"
NS = "{http://unitsofmeasure.org/ucum-essence}"
TABLE = json.loads((data_path("conformance") / "ucum.json").read_text())

REDEFINED = {
    "mol", "eV", "u", "[h]", "[k]", "[eps_0]", "[mu_0]", "[e]", "[m_e]", "[m_p]", "[G]", "Gb", "Oe",
    "mho", "[c]",
}  # fmt: skip
"""Physical constants of which version 2.2 has newer values than 2.0.1, and what is derived from them."""


def functional(section: str) -> list[dict[str, str]]:
    for path in DATA.glob("ucum/**/UcumFunctionalTests.xml"):
        found = etree.parse(path).getroot().find(section)
        return [dict(case.attrib) for case in found.iter("case")]
    pytest.skip("UcumFunctionalTests.xml is not among the test data")


def test_functional_validation():
    cases = functional("validation")
    wrong = [case["id"] for case in cases if ucum.is_valid(case["unit"]) is not (case["valid"] == "true")]
    assert wrong == []


def test_functional_conversion():
    wrong = []
    for case in functional("conversion"):
        got = ucum.convert(Decimal(case["value"]), case["srcUnit"], case["dstUnit"])
        expected = Decimal(case["outcome"])
        half = Decimal((0, (5,), expected.as_tuple().exponent - 1))
        if got is None or abs(got - expected) > half:
            wrong.append((case["id"], got))
    assert wrong == []


def essence_units() -> list[etree._Element]:
    path = DATA / "ucum/ucum/ucum-essence.xml"
    if not path.exists():
        pytest.skip("the UCUM essence is not among the test data")
    return list(etree.parse(path).getroot().iter(NS + "unit"))


def test_every_unit_of_the_essence_has_its_definition():
    checked = 0
    for node in essence_units():
        code, value = node.get("Code"), node.find(NS + "value")
        if code not in TABLE["units"] or value.find(NS + "function") is not None:
            continue
        unit = ucum.unit(code)
        if node.get("isArbitrary") == "yes" and value.get("Unit") == "1":
            assert unit.dimensions == ((code, 1),)
            continue
        definition = ucum.unit(value.get("Unit"))
        assert unit.dimensions == definition.dimensions, code
        if code not in REDEFINED:
            assert unit.factor == definition.factor * Fraction(value.get("value")), code
        checked += 1
    assert checked > 200


def test_every_unit_of_the_table_can_be_worked_out():
    for code in TABLE["units"]:
        assert ucum.is_valid(code), code
    for prefix in TABLE["prefixes"]:
        assert ucum.unit(f"{prefix}m").factor == Fraction(TABLE["prefixes"][prefix])


@pytest.mark.parametrize(
    ("value", "code", "expected"),
    [
        ("37", "Cel", ("310.15", "K")),
        ("98.6", "[degF]", ("310.15", "K")),
        ("120", "mm[Hg]", ("15998640", "g.m-1.s-2")),
        ("1", "g%", ("10000", "g.m-3")),
        ("5", "mg/dL", ("50", "g.m-3")),
        ("4.5", "10*6/uL", ("4.5E15", "m-3")),
        ("4.5", "10^6/uL", ("4.5E15", "m-3")),
        ("3", "k[IU]/mL", ("3E9", "[iU].m-3")),
        ("3", "[arb'U]/mL", ("3E6", "[arb'U].m-3")),
        ("2", "{cells}/uL", ("2E9", "m-3")),
        ("50", "%", ("0.5", "1")),
        ("20", "dB[SPL]", ("0.2", "g.m-1.s-2")),  # 2 lg(p / 20 uPa) bel, so ten times 20 uPa
        ("1", "[in_i'H2O]", ("249088.91", "g.m-1.s-2")),
        ("7.4", "[pH]", ("7.4", "[pH]")),
        ("1", "[lb_av]", ("453.59237", "g")),
    ],
)
def test_canonical_values(value: str, code: str, expected: tuple[str, str]):
    assert ucum.canonical(Decimal(value), code) == (Decimal(expected[0]), expected[1])


@pytest.mark.parametrize(
    "code",
    [
        "", "m/", "mg2/dl3/", "12h", "iU", "kin_i", "k[in_i]", "mmHg", "Cel2", "Cel/s", "K.Cel", "m..s",
        "(m", "m)", "m{a", "m{ä}", "{a}m", "m s", "0", "m/0", "m100", "10*100", "[]", "µg",
        "(" * 9 + "m" + ")" * 9, "m" * 129,
    ],
)  # fmt: skip
def test_what_is_no_unit(code: str):
    assert not ucum.is_valid(code)
    assert ucum.canonical(Decimal(1), code) is None
    with pytest.raises(ucum.UnitError):
        ucum.unit(code)


CODES = st.sampled_from(
    ["m", "g/L", "mm[Hg]", "min", "[lb_av]", "kat", "mmol/L", "10*3/uL", "Ohm", "[iU]/mL", "deg", "a", "%"]
)
VALUES = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=4)


@given(CODES, CODES, st.integers(-3, 3))
def test_products_and_powers(left: str, right: str, exponent: int):
    a, b = ucum.unit(left), ucum.unit(right)
    product = ucum.unit(f"({left}).({right})")
    quotient = ucum.unit(f"({left})/({right})")
    assert product.factor == a.factor * b.factor
    assert quotient.factor == a.factor / b.factor
    assert ucum.unit(f"({left})/({left})").canonical == "1"
    assert ucum.unit(f"m{exponent}").factor == 1
    assert ucum.unit(f"cm{exponent}").factor == Fraction(1, 100) ** exponent
    assert ucum.unit(product.canonical).dimensions == product.dimensions


@given(
    VALUES,
    st.sampled_from(
        [("Cel", "[degF]"), ("Cel", "K"), ("[degF]", "[degRe]"), ("mm[Hg]", "kPa"), ("[lb_av]", "kg")]
    ),
)
def test_conversion_there_and_back(value: Decimal, pair: tuple[str, str]):
    there = ucum.convert(value, *pair)
    assert there is not None
    back = ucum.convert(there, *reversed(pair))
    assert back is not None
    assert abs(back - value) <= Decimal("1e-20") * max(1, abs(value))


@given(
    VALUES,
    VALUES,
    st.sampled_from(["Cel", "[degF]", "[pH]", "[hp'_C]", "mm[Hg]", "[lb_av]", "%[slope]", "[m/s2/Hz^(1/2)]"]),
)
def test_canonical_values_keep_their_order(one: Decimal, other: Decimal, code: str):
    first, second = ucum.canonical(one, code), ucum.canonical(other, code)
    assert first is not None and second is not None
    assert first[1] == second[1]
    assert (first[0] <= second[0]) is (one <= other) or abs(one - other) < Decimal("1e-3")


@pytest.mark.parametrize(
    ("value", "source", "target", "expected"),
    [
        ("7", "[pH]", "mol/l", "1E-7"),
        ("1E-7", "mol/l", "[pH]", "7"),
        ("3", "B", "1", "1000"),
        ("3", "bit_s", "1", "8"),
        ("2", "[hp'_C]", "1", "0.0001"),
        ("100", "%[slope]", "deg", "45"),
        ("1", "m", "s", None),
        ("-1", "1", "B", None),
        ("1", "[iU]", "[arb'U]", None),
    ],
)
def test_special_units(value: str, source: str, target: str, expected: str | None):
    found = ucum.convert(Decimal(value), source, target)
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert abs(found - Decimal(expected)) < Decimal("1e-14") * abs(Decimal(expected))


def test_values_out_of_any_range_have_no_canonical_form():
    assert ucum.canonical(Decimal("1e9"), "B") is None
    assert ucum.canonical(Decimal("1e999999"), "km") is None


def test_the_ucum_codes_of_the_official_examples():
    folder = DATA / "r4-examples-json"
    if not folder.exists():
        pytest.skip("the R4 examples are not there")
    codes: set[str] = set()

    def visit(value: object) -> None:
        if isinstance(value, dict):
            if value.get("system") == ucum.SYSTEM and isinstance(value.get("code"), str) and "value" in value:
                codes.add(value["code"])
            for inner in value.values():
                visit(inner)
        elif isinstance(value, list):
            for inner in value:
                visit(inner)

    for path in folder.glob("*.json"):
        visit(json.loads(path.read_bytes()))
    assert len(codes) > 40
    wrong = {"TAB", "drop", "ea", "mEq", "mcg", "ml/hr", "month", "tbl"}
    assert {code for code in codes if not ucum.is_valid(code)} == wrong
