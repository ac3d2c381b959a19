"""The grammar: http://hl7.org/fhirpath/N1/grammar.html"""

import json
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.fhir.fhirpath.parser import parse
from fhirserver.fhir.fhirpath.tree import (
    Binary,
    Call,
    Empty,
    Expr,
    FHIRPathError,
    Index,
    Literal,
    Member,
    QuantityLiteral,
    Special,
    TypeTest,
    Unary,
    Variable,
)
from fhirserver.settings import data_path

A, B, C = (Member(None, name) for name in "abc")
LEVELS = [
    ("*", "/", "div", "mod"), ("+", "-", "&"), ("|",), ("<=", "<", ">", ">="), ("=", "~", "!=", "!~"),
    ("in", "contains"), ("and",), ("or", "xor"), ("implies",),
]  # fmt: skip
"""Binary operators from the tightest to the loosest; `is` and `as` come between `+` and `|`."""


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("{}", Empty()),
        ("true", Literal(True, "Boolean")),
        ("12", Literal(12, "Integer")),
        ("1.50", Literal(Decimal("1.50"), "Decimal")),
        (r"'a\'b\n\u0041\\'", Literal("a'b\nA\\", "String")),
        ("@2015-02", Literal("2015-02", "Date")),
        ("@2015T", Literal("2015T", "DateTime")),
        ("@2015-02-04T14:34:28.123+09:00", Literal("2015-02-04T14:34:28.123+09:00", "DateTime")),
        ("@T14:34", Literal("14:34", "Time")),
        ("4.5 'mg'", QuantityLiteral(Decimal("4.5"), "mg", False)),
        ("4 days", QuantityLiteral(Decimal(4), "day", True)),
        ("$this", Special("this")),
        ("%resource", Variable("resource")),
        ("%`us-zip`", Variable("us-zip")),
        ("%'us-zip'", Variable("us-zip")),
        ("%vs-gender", Variable("vs-gender")),
        ("`div`.`is`", Member(Member(None, "div"), "is")),
        ("a.b[0].c()", Call(Index(Member(A, "b"), Literal(0, "Integer")), "c", ())),
        ("where(a, b)", Call(None, "where", (A, B))),
        ("a as b.c", TypeTest("as", A, "b.c")),
        ("a is `b`", TypeTest("is", A, "b")),
        ("a.is(b).as", Member(Call(A, "is", (B,)), "as")),
        ("contains.contains(in)", Call(Member(None, "contains"), "contains", (Member(None, "in"),))),
        ("-a.b + c", Binary("+", Unary("-", Member(A, "b")), C)),
        ("a + b as c | c", Binary("|", TypeTest("as", Binary("+", A, B), "c"), C)),
        ("(a | b).c", Member(Binary("|", A, B), "c")),
        ("a // rest\n/* and * more */ . b", Member(A, "b")),
    ],
)
def test_trees(text: str, tree: Expr):
    assert parse(text) == tree


@pytest.mark.parametrize("tight", range(len(LEVELS)))
def test_precedence_and_associativity(tight: int):
    for one in LEVELS[tight]:
        for other in LEVELS[tight]:
            assert parse(f"a {one} b {other} c") == Binary(other, Binary(one, A, B), C)
        for loose in (operator for level in LEVELS[tight + 1 :] for operator in level):
            assert parse(f"a {loose} b {one} c") == Binary(loose, A, Binary(one, B, C))
            assert parse(f"a {one} b {loose} c") == Binary(loose, Binary(one, A, B), C)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "a.", ".a", "a b", "a[", "a[0", "a[]", "(a", "a)", "f(", "f(a,", "f(,)", "'a", "`a",
        "a = ", "= a", "a is", "a is 1", "a is (b)", "1 +", "$that", "a.$this", "%", "@", "@20", "#", "a ! b",
        "{a}", "div",
        "a.1", r"'\q'",
    ],
)  # fmt: skip
def test_what_is_no_expression(text: str):
    with pytest.raises(FHIRPathError):
        parse(text)


def test_errors_say_where():
    with pytest.raises(FHIRPathError, match=r"unexpected 'c' \(at character 7\)") as caught:
        parse("a = b c")
    assert caught.value.position == 6


@pytest.mark.parametrize(
    "text", ["(" * 500 + "a" + ")" * 500, "-" * 5_000 + "1", "a[" * 500, "a" * 70_000, "f(" * 500]
)
def test_hostile_nesting_is_refused(text: str):
    with pytest.raises(FHIRPathError):
        parse(text)


@given(st.text(alphabet="ab.|=()[]'`$%@{}0-9 istndor", max_size=40))
def test_nothing_but_fhirpath_errors_come_out(text: str):
    with suppress(FHIRPathError):
        parse(text)


def test_every_invariant_of_r4_parses():
    rows = json.loads((data_path("conformance") / "invariants.json").read_text())
    assert len(rows) > 200
    for row in rows:
        parse(row[-1])
