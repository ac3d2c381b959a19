"""Quantities in different units, and what else a quantity can be: every prefix, against exact fractions.

https://hl7.org/fhir/R4/search.html#quantity, https://hl7.org/fhir/R4/search.html#prefix
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirserver.search import plan
from tests.db.search import oracle
from tests.db.search.harness import BOUNDS, Runner
from tests.support.share import share

Resource = dict[str, Any]
UCUM = "http://unitsofmeasure.org"
CURRENCY = "urn:iso:std:iso:4217"
F = Fraction

GROUPS: dict[str, dict[str, tuple[Fraction, Fraction]]] = {
    "mass": {
        "g": (F(1), F(0)),
        "mg": (F(1, 1000), F(0)),
        "kg": (F(1000), F(0)),
        "[lb_av]": (F("453.59237"), F(0)),
    },
    "temperature": {
        "K": (F(1), F(0)),
        "Cel": (F(1), F("273.15")),
        "mCel": (F(1, 1000), F("273.15")),
        "[degF]": (F(5, 9), F("459.67") * F(5, 9)),
    },
    "pressure": {"Pa": (F(1), F(0)), "kPa": (F(1000), F(0)), "mm[Hg]": (F("133.322"), F(0))},
    "frequency": {
        "/min": (F(1, 60), F(0)),
        "Hz": (F(1), F(0)),
        "/s": (F(1), F(0)),
        "{beats}/min": (F(1, 60), F(0)),
    },
    "cells": {
        "10*9/L": (F(1), F(0)),
        "10*3/uL": (F(1), F(0)),
        "/nL": (F(1), F(0)),
        "10*6/L": (F(1, 1000), F(0)),
    },
    "share": {"%": (F(1, 100), F(0)), "1": (F(1), F(0)), "[ppm]": (F(1, 10**6), F(0))},
    "acidity": {"[pH]": (F(1), F(0))},
    "unheard of": {"bananas": (F(1), F(0))},
}
"""The units that compare with each other, each as factor and offset to a common one."""

VALUES = {
    "mass": ["1", "1000", "0.001", "453.59237", "0.45359237", "2.0"],
    "temperature": ["37", "98.6", "310.15", "37.0", "-40", "36.6", "97.88", "37000", "0"],
    "pressure": ["120", "16", "15998.64", "15.99864", "16.0"],
    "frequency": ["60", "1", "72", "1.2", "1.0"],
    "cells": ["5.4", "5400", "5.40", "4"],
    "share": ["0.5", "50", "5000", "500000", "1"],
    "acidity": ["7.4", "7", "7.40"],
    "unheard of": ["3", "3.0", "4"],
}
GROUP = {unit: name for name, units in GROUPS.items() for unit in units}


def _population() -> list[Resource]:
    found: list[Resource] = []
    for name, units in GROUPS.items():
        for unit in units:
            for value in VALUES[name]:
                quantity = {"value": Decimal(value), "unit": unit, "system": UCUM, "code": unit}
                found.append({"resourceType": "Observation", "valueQuantity": quantity})
    for comparator in ("<", "<=", ">", ">="):
        quantity = {
            "value": Decimal(37),
            "comparator": comparator,
            "system": UCUM,
            "code": "Cel",
            "unit": "C",
        }
        found.append({"resourceType": "Observation", "valueQuantity": quantity})
    for value, code in (("37", "Cel"), ("5", "tablets")):
        quantity = {"value": Decimal(value), "unit": code, "system": "urn:own", "code": code}
        found.append({"resourceType": "Observation", "valueQuantity": quantity})
    origin = {"value": Decimal(30), "system": UCUM, "code": "Cel", "unit": "Cel"}
    sampled = {
        "origin": origin,
        "factor": Decimal("0.5"),
        "period": 1,
        "dimensions": 1,
        "data": "0 E 14 L 7 U",
    }
    found.append({"resourceType": "Observation", "valueSampledData": sampled})
    found.append({"resourceType": "Observation", "valueQuantity": {"unit": "Cel"}})
    return [resource | {"id": f"q{index}"} for index, resource in enumerate(found)]


POPULATION = _population()
INVOICES: list[Resource] = [
    {
        "resourceType": "Invoice",
        "id": f"i{index}",
        "totalGross": {"value": Decimal(value), "currency": currency},
    }
    for index, (value, currency) in enumerate(
        [("100", "USD"), ("100", "EUR"), ("100.00", "USD"), ("99.5", "USD"), ("110", "USD"), ("0", "EUR")]
    )
]


@pytest.fixture(scope="module", params=BOUNDS, ids=["driven", "in stages", "in order"])
def db(database: str, request: pytest.FixtureRequest) -> Iterator[Runner]:
    runner = Runner(database)
    runner.run(runner.harness.clear())
    runner.run(runner.harness.put_all([*POPULATION, *INVOICES]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "BOUNDS", request.param)
        yield runner
    runner.close()


examples = settings(
    max_examples=share(400),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
PREFIXES = ["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]
TINY = Fraction(1, 10**12)


def _stored(resource: Resource) -> tuple[Fraction, Fraction, Resource] | None:
    """The closed range that a resource says and its unit."""
    if "valueSampledData" in resource:
        # 30, 37 and 33.5: from the lowest to the highest.
        return F(30), F(37), resource["valueSampledData"]["origin"]
    quantity = resource["valueQuantity"]
    if "value" not in quantity:
        return None
    value = F(quantity["value"])
    ends = {
        "<": (-oracle.INF, value - TINY),
        "<=": (-oracle.INF, value),
        ">": (value + TINY, oracle.INF),
        ">=": (value, oracle.INF),
    }
    return *ends.get(quantity.get("comparator", ""), (value, value)), quantity


def _holds(prefix: str, text: str, lo: Fraction, hi: Fraction, scale: Fraction, offset: Fraction) -> bool:
    """The stored range, brought into the unit asked for, against the value as it is written there."""
    target = oracle.Range((lo - offset) / scale, (hi - offset) / scale, True)
    return oracle.number_holds(prefix, text, target)


def expected(prefix: str, text: str, form: str, unit: str) -> set[str]:
    found: set[str] = set()
    for resource in POPULATION:
        stored = _stored(resource)
        if stored is None:
            continue
        lo, hi, of = stored
        scale, offset = F(1), F(0)
        if form == "||":
            same = unit in (of.get("code"), of.get("unit"))
        elif form == "own":
            same = (of.get("system"), of.get("code")) == ("urn:own", unit)
        elif form == "ucum":
            same = of.get("system") == UCUM and of["code"] in GROUPS[GROUP[unit]]
            if same:
                factor, shift = GROUPS[GROUP[unit]][of["code"]]
                lo, hi = lo * factor + shift, hi * factor + shift
                scale, offset = GROUPS[GROUP[unit]][unit]
        else:
            same = True
        if same and _holds(prefix, text, lo, hi, scale, offset):
            found.add(resource["id"])
    return found


units = st.sampled_from(sorted(GROUP))
asked = units.flatmap(lambda unit: st.tuples(st.just(unit), st.sampled_from(VALUES[GROUP[unit]])))


def suffix(form: str, unit: str) -> str:
    return {"": "", "||": f"||{unit}", "own": f"|urn:own|{unit}", "ucum": f"|{UCUM}|{unit}"}[form]


@examples
@given(st.sampled_from(PREFIXES), asked, st.sampled_from(["ucum", "ucum", "||", ""]))
def test_quantities(db: Runner, prefix: str, asked: tuple[str, str], form: str) -> None:
    unit, text = asked
    found = db.ids(f"Observation?value-quantity={quote(prefix + text + suffix(form, unit), safe='')}")
    assert found == expected(prefix, text, form, unit)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_temperatures(db: Runner, prefix: str) -> None:
    """Scales with an offset: 37 Cel is 98.6 [degF], and a tenth of it is 3.7 Cel."""
    for text, unit in (("37", "Cel"), ("98.6", "[degF]"), ("310.15", "K"), ("-40", "Cel"), ("-40", "[degF]")):
        wanted = expected(prefix, text, "ucum", unit)
        assert wanted
        url = f"Observation?value-quantity={quote(prefix + text + suffix('ucum', unit), safe='')}"
        assert db.ids(url) == wanted, url


@pytest.mark.parametrize("prefix", PREFIXES)
def test_other_systems(db: Runner, prefix: str) -> None:
    """A unit of another system is compared with itself alone, one that UCUM does not know as well."""
    for text, form, unit in (("37", "own", "Cel"), ("5", "own", "tablets"), ("3", "ucum", "bananas")):
        found = db.ids(f"Observation?value-quantity={quote(prefix + text + suffix(form, unit), safe='')}")
        assert found == expected(prefix, text, form, unit)


def test_equal_amounts_in_unequal_units(db: Runner) -> None:
    """Written with enough digits, one measurement is found in each of its units."""
    for group in (
        ("37.0|Cel", "98.60|[degF]", "310.15|K"),
        ("1.0000|[lb_av]", "453.59237|g", "0.45359237|kg"),
    ):
        found = []
        for one in group:
            value, unit = one.split("|")
            found.append(expected("", value, "ucum", unit))
            assert (
                db.ids(f"Observation?value-quantity={quote(value + suffix('ucum', unit), safe='')}")
                == found[-1]
            )
        assert len(set.intersection(*found)) >= 3


@pytest.mark.parametrize("prefix", PREFIXES)
def test_money(db: Runner, prefix: str) -> None:
    """A currency is a unit of ISO 4217: https://hl7.org/fhir/R4/datatypes.html#Money"""
    for text in ("100", "100.00", "99.5"):
        for unit in ("", "||USD", f"|{CURRENCY}|USD", f"|{CURRENCY}|EUR"):
            wanted = set()
            for resource in INVOICES:
                money = resource["totalGross"]
                value = F(money["value"])
                same = unit.endswith(money["currency"]) or not unit
                if same and oracle.number_holds(prefix, text, oracle.Range(value, value, True)):
                    wanted.add(resource["id"])
            assert db.ids(f"Invoice?totalgross={quote(prefix + text + unit, safe='')}") == wanted
