"""The official R4 suite, as far as its expressions are supported yet."""

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from lxml import etree

from fhirserver.fhir.fhirpath import FHIRPathError, compile_expression, parse

DATA = Path(__file__).parents[3] / "../shared/data/fhirpath-r4"

DIFFERENT = {
    "testExtractBirthDate": "the suite writes dates as literals, with @",
    "testSimpleWithWrongContext": "another type in front selects nothing; R4's unions need it",
    "testFHIRPathAsFunction11": "a code is a string, as is every subtype",
    "testFHIRPathAsFunction16": "a code is a string, as is every subtype",
    "testFHIRPathAsFunction21": "as filters collections; R4's search parameters need it",
}


def cases() -> list[etree._Element]:
    path = DATA / "tests-fhir-r4.xml"
    if not path.exists():
        pytest.skip("the FHIRPath suite is not among the test data")
    return list(etree.parse(path).getroot().iter("test"))


def test_syntax():
    """What the suite calls a syntax error is one, and nothing else but two times with an offset."""
    for case in cases():
        expression = case.find("expression")
        text, invalid = expression.text or "", expression.get("invalid")
        if invalid == "syntax" or case.get("name") in ("testLiteralTimeUTC", "testLiteralTimeTimezoneOffset"):
            with pytest.raises(FHIRPathError):
                parse(text)
        else:
            parse(text)


def outcome(case: etree._Element, resource: dict) -> str:
    """`ok`, `wrong`, or `unsupported`."""
    expression = case.find("expression")
    text, type_ = expression.text or "", resource["resourceType"]
    try:
        program = compile_expression(text, type_)
    except FHIRPathError:
        return "ok" if expression.get("invalid") else "unsupported"
    try:
        found = program.evaluate(resource, type_)
    except FHIRPathError:
        return "ok" if expression.get("invalid") else "wrong"
    if expression.get("invalid"):
        return "wrong"
    texts = [str(node.value).lower() if isinstance(node.value, bool) else str(node.value) for node in found]
    if case.get("predicate") == "true":
        texts = [str(texts not in ([], ["false"])).lower()]
    return "ok" if texts == [output.text for output in case.findall("output")] else "wrong"


def test_what_is_supported_is_right():
    counts: Counter[str] = Counter()
    wrong: set[str] = set()
    for case in cases():
        path = DATA / "fhirpath.js-resources-r4" / case.get("inputfile", "none").replace(".xml", ".json")
        resource = (
            json.loads(path.read_bytes(), parse_float=Decimal)
            if path.exists()
            else {"resourceType": "Patient"}
        )
        result = outcome(case, resource)
        counts[result] += 1
        if result == "wrong":
            wrong.add(case.get("name"))
    assert wrong == set(DIFFERENT)
    assert counts["ok"] >= 130
