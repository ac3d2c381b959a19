"""All composite parameters of R4: their parts hold for the same element.

https://hl7.org/fhir/R4/search.html#composite. What each one's element and parts are is written out here
from https://hl7.org/fhir/R4/searchparameter-registry.html, and compared by the oracle.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirserver.params.registry import concrete_types
from fhirserver.search import plan
from tests.db.search import oracle
from tests.db.search.harness import BOUNDS, REGISTRY, Runner
from tests.db.search.test_oracle import MOMENT
from tests.support.share import share

Resource = dict[str, Any]
Part = tuple[str, Any]
"""The type of a part and its value."""
SYSTEMS = [None, "urn:a", "urn:b"]
CODES = [None, "x", "Y"]
UCUM = "http://unitsofmeasure.org"
RELATIONS = "http://hl7.org/fhir/document-relationship-type"
COMPOSITES = sorted(
    (param.code, type_)
    for param in REGISTRY.params
    if param.type == "composite"
    for type_ in concrete_types(param)
)


# -- resources


def _coding(pick: random.Random) -> Resource:
    found = {"system": pick.choice(SYSTEMS), "code": pick.choice(CODES)}
    return {key: value for key, value in found.items() if value}


def _concept(pick: random.Random) -> Resource:
    return {"coding": [_coding(pick) for _ in range(pick.randint(0, 2))], "text": "t"}


def _quantity(pick: random.Random) -> Resource:
    unit = pick.choice(["mg", "g", "kg"])
    found: Resource = {
        "value": Decimal(pick.choice(["1", "2.0", "2000", "0.002"])),
        "unit": unit,
        "code": unit,
    }
    return found | ({"system": UCUM} if pick.random() < 0.8 else {})


def _range(pick: random.Random) -> Resource:
    unit = {"system": UCUM, "code": "mg", "unit": "mg"}
    low, high = sorted(Decimal(pick.choice(["1", "2", "3", "2000"])) for _ in range(2))
    found = {"low": {"value": low, **unit}, "high": {"value": high, **unit}}
    if pick.random() < 0.4:
        del found[pick.choice(["low", "high"])]
    return found


def _choice(pick: random.Random, **ways: Callable[[random.Random], Any]) -> Resource:
    key = pick.choice(list(ways))
    return {key: ways[key](pick)}


def _many(pick: random.Random, make: Callable[[random.Random], Resource]) -> list[Resource]:
    return [make(pick) for _ in range(pick.randint(0, 3))]


def _context(pick: random.Random) -> Resource:
    value = _choice(pick, valueCodeableConcept=_concept, valueQuantity=_quantity, valueRange=_range)
    return {"code": _coding(pick)} | value


def _characteristic(pick: random.Random) -> Resource:
    boolean = lambda pick: pick.random() < 0.5  # noqa: E731
    return {"code": _concept(pick), **_choice(pick, valueCodeableConcept=_concept, valueBoolean=boolean)}


def _related(pick: random.Random) -> Resource:
    literal = f"DocumentReference/{pick.randint(1, 3)}" + pick.choice(["", "/_history/7"])
    base = pick.choice(["", "", "http://elsewhere/fhir/"])
    return {"code": pick.choice(["replaces", "appends"]), "target": {"reference": base + literal}}


def _sequence(pick: random.Random) -> Resource:
    return {
        "referenceSeq": {
            "chromosome": _concept(pick),
            "referenceSeqId": _concept(pick),
            "windowStart": pick.choice([1, 10, 100]),
            "windowEnd": pick.choice([10, 100, 1000]),
        },
        "variant": _many(
            pick, lambda pick: {"start": pick.choice([1, 10, 100]), "end": pick.choice([10, 100, 1000])}
        ),
    }


def _date(pick: random.Random) -> str:
    return pick.choice(["2020", "2020-02", "2020-02-29", "2021-01-01T10:00:00Z"])


def _period(pick: random.Random) -> Resource:
    return {"start": "2020-02", **({"end": "2020-05-01"} if pick.random() < 0.5 else {})}


def _observation(pick: random.Random) -> Resource:
    part = lambda pick: {  # noqa: E731
        "code": _concept(pick),
        **_choice(pick, valueQuantity=_quantity, valueCodeableConcept=_concept),
    }
    value = _choice(
        pick,
        valueQuantity=_quantity,
        valueCodeableConcept=_concept,
        valueDateTime=_date,
        valuePeriod=_period,
        valueString=lambda pick: pick.choice(["Müller", "mule", "Ox"]),
    )
    return {"code": _concept(pick), "component": _many(pick, part), **value}


MAKERS: dict[str, tuple[int, Callable[[random.Random], Resource]]] = {
    "Group": (40, lambda pick: {"characteristic": _many(pick, _characteristic)}),
    "DocumentReference": (40, lambda pick: {"relatesTo": _many(pick, _related)}),
    "MolecularSequence": (60, _sequence),
    "Observation": (120, _observation),
}
BY_CONTEXT = (60, lambda pick: {"useContext": _many(pick, _context)})


def _population() -> list[Resource]:
    pick = random.Random(20260505)
    found: list[Resource] = []
    for type_ in sorted({type_ for _, type_ in COMPOSITES}):
        count, make = MAKERS.get(type_, BY_CONTEXT)
        found += [{"resourceType": type_, "id": f"r{index}", **make(pick)} for index in range(count)]
    return found


POPULATION = _population()


# -- the elements of each composite, each as its parts


def _pairs(concept: Resource) -> list[tuple[str | None, str | None]]:
    return [(coding.get("system"), coding.get("code")) for coding in concept.get("coding", ())]


def _code(concept: Resource) -> list[Part]:
    return [("token", pair) for pair in _pairs(concept)]


def _effective(element: Resource) -> list[Part]:
    if "valueDateTime" in element:
        return [("date", oracle.date_range(element["valueDateTime"]))]
    if "valuePeriod" not in element:
        return []
    period = element["valuePeriod"]
    end = oracle.date_range(period["end"]).hi if "end" in period else datetime(9999, 1, 1, tzinfo=UTC)
    return [("date", oracle.Range(oracle.date_range(period["start"]).lo, end, False))]


def _amount(element: Resource) -> list[Part]:
    if "valueQuantity" in element:
        value = Fraction(element["valueQuantity"]["value"])
        return [("quantity", (value, value, element["valueQuantity"]))]
    if "valueRange" not in element:
        return []
    low, high = element["valueRange"].get("low"), element["valueRange"].get("high")
    least = Fraction(low["value"]) if low else -oracle.INF
    return [("quantity", (least, Fraction(high["value"]) if high else oracle.INF, low or high))]


def _said(element: Resource) -> list[Part]:
    if "valueBoolean" in element:
        return [("token", (None, "true" if element["valueBoolean"] else "false"))]
    return _code(element.get("valueCodeableConcept", {}))


def _with_components(resource: Resource) -> list[Resource]:
    return [resource, *resource.get("component", [])]


Elements = list[tuple[list[Part], ...]]


def elements(code: str, r: Resource) -> Elements:
    """Each element that the composite looks at, as the values of its parts."""
    match code:
        case "context-type-quantity":
            return [([("token", _pairs({"coding": [c["code"]]})[0])], _amount(c)) for c in r["useContext"]]
        case "context-type-value":
            return [([("token", _pairs({"coding": [c["code"]]})[0])], _said(c)) for c in r["useContext"]]
        case "relationship":
            return [
                ([("token", (RELATIONS, c["code"]))], [("reference", c["target"]["reference"])])
                for c in r["relatesTo"]
            ]
        case "characteristic-value":
            return [(_code(c["code"]), _said(c)) for c in r["characteristic"]]
        case "code-value-date":
            return [(_code(r["code"]), _effective(r))]
        case "code-value-string":
            return [(_code(r["code"]), [("string", r["valueString"])] if "valueString" in r else [])]
    if code.endswith("-coordinate"):
        first = _code(r["referenceSeq"]["chromosome" if code.startswith("chromosome") else "referenceSeqId"])
        if "variant" in code:
            return [(first, [("number", v["start"])], [("number", v["end"])]) for v in r["variant"]]
        window = r["referenceSeq"]
        return [(first, [("number", window["windowStart"])], [("number", window["windowEnd"])])]
    value = _amount if code.endswith("quantity") else _said
    of = {"code": [r], "component": r["component"], "combo": _with_components(r)}[code.partition("-")[0]]
    return [(_code(element["code"]), value(element)) for element in of]


# -- comparing


def part_holds(asked: str, part: Part) -> bool:
    kind, target = part
    match kind:
        case "token":
            return _token(asked, *target)
        case "reference":
            return target == asked or target.startswith(f"{asked}/_history/")
        case "string":
            return oracle.string_holds("", asked, target)
    prefix = asked[:2] if asked[:2].isalpha() else ""
    text = asked.removeprefix(prefix)
    if kind == "number":
        return oracle.number_holds(prefix, text, oracle.Range(Fraction(target), Fraction(target), True))
    if kind == "date":
        return oracle.date_holds(prefix, text, target, MOMENT)
    return _quantity_holds(prefix, text, *target)


def _token(asked: str, system: str | None, code: str | None) -> bool:
    if asked.endswith("|"):
        return system == asked[:-1]
    return oracle.token_holds(asked, system, code, False)


def _quantity_holds(prefix: str, text: str, lo: Fraction, hi: Fraction, unit: Resource) -> bool:
    number, *said = text.split("|")
    if not said:
        return oracle.number_holds(prefix, number, oracle.Range(lo, hi, True))
    if not said[0]:
        same = said[1] in (unit.get("code"), unit.get("unit"))
        return same and oracle.number_holds(prefix, number, oracle.Range(lo, hi, True))
    factor, own = oracle.GRAM[said[1]], oracle.GRAM[unit["code"]]
    inside = oracle.number_holds(prefix, number, oracle.Range(lo * own, hi * own, True), factor)
    return unit.get("system") == UCUM and inside


def expected(code: str, type_: str, asked: list[tuple[str, ...]]) -> set[str]:
    return {
        resource["id"]
        for resource in POPULATION
        if resource["resourceType"] == type_
        and any(
            all(any(part_holds(text, one) for one in part) for text, part in zip(value, parts, strict=True))
            for parts in elements(code, resource)
            for value in asked
        )
    }


# -- what is asked

TOKEN = st.builds(
    lambda system, code: (system + "|" if system is not None else "") + code,
    st.sampled_from([None, None, "urn:a", "urn:b", ""]),
    st.sampled_from(["x", "y", "z"]),
) | st.sampled_from(["urn:a|", "urn:b|", "urn:c|"])
BOOLEAN = st.sampled_from(["true", "false"]) | TOKEN
PREFIX = st.sampled_from(["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"])
NUMBER = st.builds(str.__add__, PREFIX, st.sampled_from(["1", "10", "100", "99.5", "1000"]))
UNIT = st.sampled_from(["", "||mg", "||g", f"|{UCUM}|mg", f"|{UCUM}|g", f"|{UCUM}|kg"])
QUANTITY = st.builds(
    lambda p, n, u: p + n + u, PREFIX, st.sampled_from(["1", "2", "2.0", "2000", "2e3"]), UNIT
)
DATE = st.builds(
    str.__add__, PREFIX, st.sampled_from(["2020", "2020-02", "2020-02-29", "2021-01-01T10:00:00Z"])
)
STRING = st.sampled_from(["mul", "MÜLLER", "o", "zz"])
REFERENCE = st.builds(
    lambda base, id_, version: f"{base}DocumentReference/{id_}{version}",
    st.sampled_from(["", "http://elsewhere/fhir/"]),
    st.integers(1, 4),
    st.sampled_from(["", "", "/_history/7", "/_history/8"]),
)
RELATION = st.sampled_from(
    ["replaces", "appends", f"{RELATIONS}|replaces", f"{RELATIONS}|", "urn:x|replaces"]
)


def parts_of(code: str) -> Any:
    """One value of a composite, as its parts."""
    if code == "relationship":
        return st.tuples(RELATION, REFERENCE)
    if code.endswith("-coordinate"):
        return st.tuples(TOKEN, NUMBER, NUMBER)
    plain = QUANTITY if code.endswith("quantity") else TOKEN
    second = {"characteristic-value": BOOLEAN, "code-value-date": DATE, "code-value-string": STRING}
    return st.tuples(TOKEN, second.get(code, plain))


asked = st.sampled_from(COMPOSITES).flatmap(
    lambda of: st.tuples(st.just(of), st.lists(parts_of(of[0]), min_size=1, max_size=2))
)
examples = settings(
    max_examples=share(400),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


@pytest.fixture(scope="module", params=BOUNDS, ids=["driven", "in stages", "in order"])
def db(database: str, request: pytest.FixtureRequest) -> Iterator[Runner]:
    runner = Runner(database)
    runner.run(runner.harness.clear())
    runner.run(runner.harness.put_all(POPULATION))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "BOUNDS", request.param)
        yield runner
    runner.close()


def found(db: Runner, code: str, type_: str, values: list[tuple[str, ...]]) -> set[str]:
    text = ",".join("$".join(value) for value in values)
    return db.ids(f"{type_}?{code}={quote(text, safe='')}")


@examples
@given(asked)
def test_composites(db: Runner, asked: tuple[tuple[str, str], list[tuple[str, ...]]]) -> None:
    (code, type_), values = asked
    assert found(db, code, type_, values) == expected(code, type_, values), values


def test_each_composite_of_each_type(db: Runner) -> None:
    """Every one finds something, and not everything of which the parts are somewhere."""
    assert sum(param.type == "composite" for param in REGISTRY.params) == 46
    second = {"quantity": f"ge1|{UCUM}|mg", "date": "ge2020", "string": "m", "coordinate": "ge1$le1000"}
    for code, type_ in COMPOSITES:
        other = second.get(code.rpartition("-")[2], "x")
        if code == "relationship":
            values = [("replaces", "DocumentReference/2"), (f"{RELATIONS}|", "DocumentReference/1")]
        else:
            values = [tuple(f"{first}${other}".split("$")) for first in ("x", "urn:a|y", "urn:b|", "urn:a|")]
        wanted = [expected(code, type_, [value]) for value in values]
        assert [found(db, code, type_, [value]) for value in values] == wanted, (code, type_)
        # What one finds that the other does not are elements told apart.
        assert any(wanted) and any(one != wanted[0] for one in wanted), (code, type_)
