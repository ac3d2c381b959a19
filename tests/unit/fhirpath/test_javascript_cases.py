"""The cases of another implementation, as far as they are about R4 and its language."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from fhirserver.fhir.fhirpath import FHIRPathError, Node, compile_expression
from fhirserver.fhir.fhirpath.quantity import Quantity
from fhirserver.fhir.structure import STRUCTURES

DATA = Path(__file__).parents[3] / "../shared/data/fhirpath-r4"

OTHER_MODELS = ("fhir-r5", "factory", "bigint", "7_aggregate", "8_variables")
"""Files about other versions of FHIR, about functions of that library alone, or about its interface."""
BEYOND = re.compile(r"\dL\b|[a-z]+Of\(|toLong|%factory|matches(Full)?\([^)]*, ?'")
"""Literals and functions of later drafts of the language, and that library's own."""

DIFFERENT = {
    "data that is no FHIR": (
        "Observation.value", "Observation.descendants().where(resourceType", "contained.where(resourceType",
        "%context.n1", "coll.all(", "Functions.attrtrue.extension", "(( (10-(", "Patient.address[1].id",
    ),
    "the order of descendants is not defined": (
        "Observation.descendants().value", "name.given.descendants()",
    ),
    "N1, escapes: what is no escape sequence is an error": (
        r"'\u1", r"'\uZ", r"`bad\u", r"'\\1<2\\'.unescape",
    ),
    "N1 has no unquoted T within a string": ("'T14:34:28'.toTime()",),
    "without value, but with extensions: an item all the same": (
        "Patient.name.given", "Patient.name.given.ofType(string)",
    ),
    "FHIR and System types are told apart": (
        "Patient.name.given.ofType(FHIR.string) =", "Patient.name.given.ofType(System.String)",
        "Patient.contact.name.family.extension", "Patient.id is System.String",
        "Patient.communication.preferred.extension",
    ),
    "N1, as: several items; R4's search parameters need it": ("Patient.name.as(HumanName).use",),
    "N1, singleton evaluation: several are no truth value": ("Patient.name.exists(given)",),
    "div is a primitive of R4": ("Patient.text.`div`.hasValue()",),
    "type() gives the base type as well": ("Patient.name.given.type()",),
    "N1, decode has no error for what is not encoded": ("'6B6C6D6E6'.decode",),
    "math functions of Quantities are of later drafts": (
        "1.1 'kg'.ceiling()", "2.5 's'.floor()", "2.315 's'.round(2)", "(-1.56 's').truncate()",
    ),
    "decimals to 28 digits instead of 16": ("(-1.203972804325936).exp()", "0.3.ln()"),
    "years and months have no definite length; weeks and less are UCUM's": (
        r"'1 \'mo\''.toQuantity('days')", "1 'mo' = 30 days", "1 month = 30 days", "1 'a' > 1 day",
        "1 'a'.comparable", "1 year.comparable", "Observation.value.comparable(1 year)", "1 'a'", "1 second",
        "1 'm' *", "1 year *", "1 's' *", "(1 'a')", "(1 year", "1 year /", "1 'mo' /",
        "(1 'mo')", "1 month /",
        "1 / 3 months", "3 minutes /", "3 years /", "3 month /", "1 week /", "1 'kg' / ", "3 's' /",
        "1 seconds + 1 'a'", "(30 days)", "(1 'day')", "(1 'hour')", "@2025",
    ),
    "N1, dates: the offset stays; a Time goes round the clock; the date stands left": (
        "@2018-02-18T12:23:45-05:00 + 2 years", "1 year + @", "@T09:45:23 + 2 years", "@T23:59:23 + 2 days",
        "@T23:59:60 + 1 minute", "Patient.birthDate + 1 day",
    ),
    "the official suite: 4 'g' ~ 4040 'mg'": (
        "4 'g' !~ 4040", "4040 'mg' !~", "23 'Cel' !~",
    ),
    "units on special scales": ("1 'B'",),
    "N1: white space is tab, space, line feed and carriage return": ("'ab\xa0c' ~ 'Ab C'",),
    "a Quantity counts as one in both namespaces": ("1 year as FHIR.Quantity", "1 year.as(FHIR.Quantity)"),
    "an unknown unit is comparable with nothing": ("1 'something'.comparable",),
    "the extension decides only where there is no value": (
        "Bundle.entry[1].resource.name.given[0] =",
    ),
    "the property of a choice is no element": ("DiagnosticReport.issued < DiagnosticReport.effectiveD",),
}  # fmt: skip
"""Reason -> how the expressions begin that are answered otherwise."""


def inner(tests: list[Any] | None) -> Iterator[dict[str, Any]]:
    for test in tests or []:
        if isinstance(test, dict):
            for name, group in test.items():
                if name.startswith("group"):
                    yield from inner(group)
            if isinstance(test.get("expression"), str):
                yield test


@cache
def cases() -> list[tuple[str, dict[str, Any], Any]]:
    found = []
    for path in sorted((DATA / "fhirpath.js-cases").glob("*.yaml")):
        document = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        if path.stem not in OTHER_MODELS:
            found += [(path.stem, test, document.get("subject")) for test in inner(document["tests"])]
    return found


def subject_of(test: dict[str, Any], subject: Any) -> dict[str, Any]:
    """The resource; where the case has none of FHIR, an empty one, as most do not look at it."""
    if test.get("inputfile"):
        path = DATA / "fhirpath.js-resources-r4" / test["inputfile"]
        return json.loads(path.read_bytes(), parse_float=Decimal)
    if isinstance(subject, dict) and subject.get("resourceType") in STRUCTURES:
        return json.loads(json.dumps(subject, default=str), parse_float=Decimal)
    return {"resourceType": "Basic"}


def plain(value: Any) -> Any:
    """A value so that numbers and literals can be compared."""
    match value:
        case None | bool():
            return value
        case Quantity():
            return value.text
        case int() | float() | Decimal():
            return str(Decimal(str(value)).normalize())
        case dict():
            return {name: plain(item) for name, item in value.items()}
        case list():
            return [plain(item) for item in value]
        case _:
            return str(value).lstrip("@").removeprefix("T")


def answer(expression: str, resource: dict[str, Any]) -> list[Node] | str:
    try:
        return compile_expression(expression, resource["resourceType"]).evaluate(
            resource, resource["resourceType"]
        )
    except FHIRPathError as error:
        return str(error)


def test_cases():
    if not cases():
        pytest.skip("the cases are not among the test data")
    known = tuple(start for starts in DIFFERENT.values() for start in starts)
    right, others, wrong = 0, 0, []
    for file, test, subject in cases():
        expression: str = test["expression"]
        applies = not test.get("disable") and not test.get("variables") and test.get("model") in (None, "r4")
        if not applies or BEYOND.search(expression):
            continue
        found = answer(expression, subject_of(test, subject))
        if test.get("model") is None and isinstance(found, str) and "has no element" in found:
            continue  # about objects that are no resources
        if isinstance(found, str):
            is_right = bool(test.get("error"))
        else:
            expected = test.get("result")
            wanted = expected if isinstance(expected, list) else [expected]
            is_right = not test.get("error") and plain([node.value for node in found]) == plain(wanted)
        right += is_right
        if not is_right and expression.startswith(known):
            others += 1
        elif not is_right:
            wrong.append((file, expression, test.get("result"), found))
    assert wrong == []
    assert right > 1_500 and others < 120
