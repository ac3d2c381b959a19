"""A hostile expression cannot burn a worker: steps, items, characters, time, and nothing else comes out."""

import time
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.fhir.fhirpath import Environment, FHIRPathError, Limits, TooCostly, compile_expression
from fhirserver.fhir.fhirpath.functions import FUNCTIONS

PATIENT = {"resourceType": "Patient", "id": "p", "name": [{"given": ["a", "b"]}, {"family": "c"}]}
LIMITS = Limits(steps_max=200_000, time_s=0.5, items_max=20_000, characters_max=50_000)


def evaluate(expression: str, limits: Limits = LIMITS) -> list:
    program = compile_expression(expression, "Patient")
    return program.evaluate(PATIENT, "Patient", environment=Environment(limits=limits))


TEN = "(1|2|3|4|5|6|7|8|9|10)"


@pytest.mark.parametrize(
    "expression",
    [
        f"{TEN}.select({TEN}).select({TEN}).select({TEN}).select({TEN}).select({TEN})",
        f"{TEN}.select({TEN}.select({TEN}.select({TEN}.select({TEN}.select({TEN}.count())))))",
        f"{TEN}.aggregate(iif($total.empty(), 'xxxxxxxxxx', $total & $total & $total & $total), {{}})",
        f"{TEN}.aggregate($total.combine($total).combine($total).combine($total), 1)",
        "1.repeat($this + 1)",
        "''.replace('', 'x')" + ".replace('x', 'xxxxxxxxxxxxxxxx')" * 6,
        "'a'.replaceMatches('a', 'aaaaaaaaaaaaaaaa')" + ".replaceMatches('a', 'aaaaaaaaaaaaaaaa')" * 5,
        "'x'" + ".select($this & $this)" * 20,
        "name" + ".combine(name)" * 2 + ".select(%resource.descendants())" * 4,
        "('"
        + "ab " * 2_000
        + "').toChars()"
        + ".combine($this)" * 3
        + ".select(%resource.descendants()).sort()",
    ],
)
def test_refused_at_a_limit(expression: str):
    before = time.monotonic()
    with pytest.raises(TooCostly):
        evaluate(expression)
    assert time.monotonic() - before < 5


@pytest.mark.parametrize(
    "call",
    [
        "matches('^(([a-z])+.)+[A-Z]([a-z])+$')",
        "matches('(x+x+)+y')",
        "matches('^(.*?,){50}P')",
        "replaceMatches('(x+x+)+y', 'z')",
        "matchesFull('((((x{1,1000}){1,1000}){1,1000}){1,1000})y')",
    ],
)
def test_regular_expressions_are_interrupted(call: str):
    before = time.monotonic()
    with suppress(TooCostly):
        evaluate(f"'{'x' * 5_000},{'1,' * 3_000}'.{call}")
    assert time.monotonic() - before < 5


UNROLLED = [
    "a{999999999}",
    "\\\\p{L}{99999999}",
    "(a{100}){100}",
    "(?:(?:a{50}b){50}c){50,}",
    "(?<n>(?>a{90}))(x|(?i:[]()]{80}){80})",
    "(?=a{5001})",
    "[[:alpha:]]{100000}",
    "[^]]{100000}",
    # read otherwise than it looks: a comment, free spacing, sets within sets
    "(?#[)(a{1000}){1000}(?#])",
    "(?x)(a{1000} #[\\n){1000}#]",
    "(?V1)(?:a{1000}[[b])(]){1000}",
    "(?:a{1000}[[b])(]){1000}",
    # takes memory while it runs
    "(?R)",
    "(a|b(?1)c)",
    "(?<n>a(?&n)?)",
    "(?P<n>a(?P>n)?)",
]


@pytest.mark.parametrize(
    "pattern",
    [
        "[A-Z]([A-Za-z0-9_]){0,254}",
        "urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|urn:oid:[0-2](\\\\.(0|[1-9][0-9]*))+",
        "(?i)a(?:b)(?=c)?(?!d)(?<!e)(?<n>f)?(?P=n)?(?>g)?|h{,3}[[:alpha:]]{2,}",
        "{a}{}{1,x}a{1000000",
        "(a{1,1000000}){0,1000000}",
    ],
)
def test_regular_expressions_of_every_form(pattern: str):
    assert evaluate(f"'a'.matches('{pattern}')") != []


@pytest.mark.parametrize(
    "expression",
    [
        "'a'.matches('(')",
        "'a'.matches('" + "(" * 2_000 + "')",
        "'a'.matches('" + "a" * 3_000 + "')",
        "'a'.replaceMatches('(a)', '$7')",
        *(f"'a'.matches('{pattern}')" for pattern in UNROLLED),
    ],
)
def test_bad_regular_expressions_are_errors(expression: str):
    with pytest.raises(FHIRPathError):
        evaluate(expression)


def test_numbers_stay_small():
    for expression in (
        "2147483647 + 1",
        "2.power(100)",
        "10.0.power(1000)",
        "1000000.exp()",
        "9999999999999999999999999999.9 * 10",
        "1 / 0",
        "(-1).sqrt()",
        "0.ln()",
        "1.log(1)",
        "@9999-12-31 + 1 day",
        "@0001-01-01 - 1 year",
    ):
        assert evaluate(expression) == []


EVERYTHING = {
    "resourceType": "Patient",
    "active": None,
    "_active": {"extension": [{"url": "u", "valueBoolean": True}]},
    "extension": [
        {"url": "a", **value}
        for value in (
            {"valueDecimal": Decimal("1E+999999")},
            {"valueDecimal": Decimal("1E-999999")},
            {"valueDecimal": Decimal("-0.0")},
            {"valueInteger": 7},
            {"valueBoolean": False},
            {"valueDate": "2015-02"},
            {"valueDate": "2015-02-31"},
            {"valueDateTime": "2015-02-04T14:34:60.123456789+14:00"},
            {"valueTime": "14:34:00"},
            {
                "valueQuantity": {
                    "value": Decimal("1E+999999"),
                    "code": "a",
                    "system": "http://unitsofmeasure.org",
                }
            },
            {"valueQuantity": {"value": 1, "comparator": "<"}},
            {"valueQuantity": {"value": 1, "code": "nonsense", "system": "http://unitsofmeasure.org"}},
            {"valueQuantity": {"value": 7, "code": "Cel", "system": "http://unitsofmeasure.org"}},
            {"_valueString": {"extension": [{"url": "u", "valueCode": "x"}]}},
            {"valueReference": {"reference": "#nobody"}},
            {"valueReference": {"reference": "Patient/1"}},
            {"valueCodeableConcept": {"coding": [{"code": "a"}, {"system": "b"}]}},
        )
    ],
}

SMALL = st.sampled_from(
    ["extension[0].value", "extension[1].value", "extension[5].value", "extension[9].value",
     "extension.value", "active", "extension.value.ofType(Quantity)[1]", "extension.value.ofType(dateTime)",
     "3 'cm'", "extension[13].value",
     "1", "0", "-2.5", "'a'", "''", "true", "{}", "name", "name.given", "id", "$this", "@2015", "@T12:00",
     "@2015-02-04T14:34:28Z", "4 'mg'", "2 days", "%resource", "$index", "$total", "'a+'", "(1|2|2)"]
)  # fmt: skip
OPERATORS = st.sampled_from(
    ["+", "-", "*", "/", "div", "mod", "&", "|", "=", "!=", "~", "!~", "<", ">=", "in", "contains", "and",
     "or", "xor", "implies"]
)  # fmt: skip


def calls(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    name = st.sampled_from(sorted(FUNCTIONS))
    arguments = st.lists(inner, max_size=2).map(", ".join)
    types = st.sampled_from(["string", "Quantity", "System.Integer", "Patient"])
    return (
        st.tuples(inner, OPERATORS, inner).map(" ".join)
        | st.builds("({}).{}({})".format, inner, name, arguments)
        | st.builds("({}).{}({})".format, inner, st.sampled_from(["ofType", "as", "is"]), types)
        | st.builds("({})[{}]".format, inner, inner)
        | st.builds("-({})".format, inner)
    )


@given(st.recursive(SMALL, calls, max_leaves=8))
def test_nothing_but_fhirpath_errors_come_out(expression: str):
    """Whatever is written: a collection, or an error of the language."""
    for resource in (PATIENT, EVERYTHING):
        with suppress(FHIRPathError):
            program = compile_expression(expression, "Patient")
            for node in program.evaluate(resource, "Patient", environment=Environment(limits=LIMITS)):
                assert isinstance(node.type, str)
