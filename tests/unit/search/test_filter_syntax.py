"""The grammar of `_filter`: https://hl7.org/fhir/R4/search_filter.html"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.errors import FhirError, Invalid, TooCostly
from fhirserver.search.filter import syntax
from fhirserver.search.filter.tree import Comparison, Either, Every, Filter, Negation


def shown(tree: Filter) -> str:
    """The tree with all its parentheses."""
    match tree:
        case Every(parts):
            return "(" + " & ".join(map(shown, parts)) + ")"
        case Either(parts):
            return "(" + " | ".join(map(shown, parts)) + ")"
        case Negation(part):
            return f"!{shown(part)}"
        case Comparison(path, operator, value):
            steps = ".".join(
                step.name
                + (f":{step.type}" if step.type else "")
                + (f"[{shown(step.filter)}]" if step.filter else "")
                for step in path
            )
            return f"{steps} {operator} <{value.text}>"


READ = [
    ('name co "pet"', "name co <pet>"),
    ('given eq "peter" and birthdate ge 2014-10-10', "(given eq <peter> & birthdate ge <2014-10-10>)"),
    ("code eq http://loinc.org|1234-5", "code eq <http://loinc.org|1234-5>"),
    ('subject.name co "pet"', "subject.name co <pet>"),
    ("subject:Patient.name co pet", "subject:Patient.name co <pet>"),
    (
        'related[type eq "has-component"].target pr false',
        "related[type eq <has-component>].target pr <false>",
    ),
    (
        "related[type eq has-component].target re Observation/4",
        "related[type eq <has-component>].target re <Observation/4>",
    ),
    # no precedence, from left to right
    ("a eq 1 or b eq 2 and c eq 3", "((a eq <1> | b eq <2>) & c eq <3>)"),
    ("a eq 1 and b eq 2 or c eq 3", "((a eq <1> & b eq <2>) | c eq <3>)"),
    ("a eq 1 and b eq 2 and c eq 3", "(a eq <1> & b eq <2> & c eq <3>)"),
    ("a eq 1 or (b eq 2 and c eq 3)", "(a eq <1> | (b eq <2> & c eq <3>))"),
    ("not (a eq 1) and b eq 2", "(!a eq <1> & b eq <2>)"),
    ("not(not(a eq 1))", "!!a eq <1>"),
    ("((a eq 1))", "a eq <1>"),
    ("(a eq 1)and(b eq 2)", "(a eq <1> & b eq <2>)"),
    ("  a\teq\n1  ", "a eq <1>"),
    ("a EQ 1 AND NOT (b eq 2)", "(a eq <1> & !b eq <2>)"),
    ("_id eq x", "_id eq <x>"),
    ("not-given eq true", "not-given eq <true>"),
    ("android eq 1 and order eq 2", "(android eq <1> & order eq <2>)"),
    ("a[b[c eq 1].d eq 2 or e eq 3].f eq 4", "a[(b[c eq <1>].d eq <2> | e eq <3>)].f eq <4>"),
    # values
    (r'a eq "q\"u) \\ ] \u00e9 \n"', 'a eq <q"u) \\ ] é \n>'),
    ('(a eq "x")', "a eq <x>"),
    ("a eq (x", "a eq <(x>"),
    ("a eq 5.4|ucum|mm[Hg or b eq 2", "(a eq <5.4|ucum|mm[Hg> | b eq <2>)"),
    ("a eq and", "a eq <and>"),
    ('a eq ""', "a eq <>"),
    ("a ge 2013-01-14T10:00:00.5+01:00", "a ge <2013-01-14T10:00:00.5+01:00>"),
]


@pytest.mark.parametrize(("text", "tree"), READ)
def test_what_is_read(text: str, tree: str) -> None:
    assert shown(syntax.parse(text)) == tree


REFUSED = [
    ("", 1, "expected the name of a search parameter, '(' or 'not', found the end"),
    ("a", 2, "expected an operator after the path, found the end"),
    ("a eq", 5, "expected a value after 'eq', found the end"),
    ("a eq ", 6, "expected a value after 'eq', found the end"),
    ("a eq )", 6, "expected a value, found ')'"),
    ("a eqq 1", 3, "found 'eqq'; alike: eq"),
    ("a = 1", 3, "expected one of eq, ne, co"),
    ("a eq 1 an b eq 2", 8, "expected 'and', 'or' or the end, found 'an'"),
    ("a eq 1 b eq 2", 8, "expected 'and', 'or' or the end, found 'b'"),
    ("a eq 1 and", 11, "expected the name of a search parameter"),
    ("(a eq 1", 8, "expected ')' for the one opened at character 1, found the end"),
    ("a eq 1)", 7, "')' closes nothing"),
    ("not a eq 1", 5, "expected '(' after 'not', found 'a'"),
    ("a[b eq 1 eq 2", 10, "expected 'and', 'or'"),
    ("a[b eq 1", 9, "expected ']' for the one opened at character 2"),
    ("a[b eq 1] eq 2", 10, "expected '.' and a name after ']'"),
    ("a. eq 2", 3, "expected the name of a search parameter"),
    ("a:exact eq 2", 1, "'a' takes no modifier"),
    ("a: eq 2", 3, "expected a resource type after ':'"),
    ('a eq "x', 6, "the string that begins here is not closed"),
    ('a eq "x"y', 9, "expected white space after the string"),
    (r'a eq "\x"', 6, "is not a JSON string"),
    (r'a eq "\ud800"', 6, "is not a JSON string"),
    (r'a eq "\u0000"', 6, "no character 0"),
    ("a eq \0", 6, "no character 0"),
    ("1a eq 2", 1, "expected the name of a search parameter"),
]


@pytest.mark.parametrize(("text", "place", "what"), REFUSED)
def test_what_is_not_is_refused_where_it_stands(text: str, place: int, what: str) -> None:
    with pytest.raises(Invalid) as caught:
        syntax.parse(text)
    assert str(caught.value).startswith(f"_filter, character {place}: ")
    assert what in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "a eq " + "x" * syntax.LENGTH_MAX,
        "(" * (syntax.DEPTH_MAX + 1) + "a eq 1" + ")" * (syntax.DEPTH_MAX + 1),
        "a[" * (syntax.DEPTH_MAX + 1) + "a eq 1" + "].b eq 1" * (syntax.DEPTH_MAX + 1),
        " and ".join(["a eq 1"] * (syntax.TESTS_MAX + 1)),
        "not (" * 10_000,
    ],
)
def test_there_are_limits(text: str) -> None:
    with pytest.raises(TooCostly):
        syntax.parse(text)


def test_what_reaches_the_limits_is_read() -> None:
    depth = syntax.DEPTH_MAX
    assert shown(syntax.parse("(" * depth + "a eq 1" + ")" * depth)) == "a eq <1>"
    assert isinstance(syntax.parse(" or ".join(["a eq 1"] * syntax.TESTS_MAX)), Either)


@given(st.text(alphabet=st.sampled_from('ab.[]()"\\ :eq|\n1-_é'), max_size=40))
def test_no_text_breaks_it(text: str) -> None:
    try:
        syntax.parse(text)
    except FhirError as error:
        assert str(error).startswith("_filter")
