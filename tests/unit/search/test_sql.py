"""Fragments: values stay out of the text, whatever they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.db.sql import EMPTY, FALSE, TRUE, and_, join, name_literal, not_, or_, sql, table
from fhirserver.fhir.keys import Keys
from fhirserver.params.registry import r4
from fhirserver.search.compile import count_statement, statement, versions_statement
from fhirserver.search.context import Context
from fhirserver.search.parse import Limits, parse

HOSTILE = "'; DROP TABLE resource; -- {} $1 %s \\"
COLUMNS = sql("r.id")
CONTEXT = Context(r4(), Keys(b"k" * 32, 1), 0)


def test_arguments_are_numbered_in_the_order_of_the_text() -> None:
    inner = sql("b = {} AND c = any({})", 2, [3])
    assert sql("a = {} AND {} AND d = {}", 1, inner, 4).numbered() == (
        "a = $1 AND b = $2 AND c = any($3) AND d = $4",
        [1, 2, [3], 4],
    )


def test_equal_arguments_do_not_change_the_text() -> None:
    assert sql("{} {}", 1, 1).numbered()[0] == sql("{} {}", 1, 2).numbered()[0]


def test_places_and_arguments_have_to_agree() -> None:
    with pytest.raises(ValueError, match="places"):
        sql("a = {}", 1, 2)


@given(st.text())
def test_a_value_never_reaches_the_text(value: str) -> None:
    assert sql("a = {}", value).numbered() == ("a = $1", [value])


def test_combinations() -> None:
    a, b = sql("a"), sql("b")
    assert and_().numbered()[0] == "true"
    assert and_(TRUE, a, b).numbered()[0] == "a AND b"
    assert and_(a, FALSE) is FALSE
    assert or_() is FALSE
    assert or_(a, FALSE) is a
    assert or_(a, TRUE) is TRUE
    assert or_(a, b).numbered()[0] == "((a) OR (b))"
    assert not_(or_(a, b)).numbered()[0] == "NOT (((a) OR (b)))"
    assert join(", ", []) is EMPTY


@pytest.mark.parametrize("wrong", ["patient", "Parameters", "Nothing", HOSTILE, ""])
def test_only_resource_types_are_tables(wrong: str) -> None:
    with pytest.raises(KeyError):
        table(wrong)
    with pytest.raises(KeyError):
        name_literal(wrong)


@pytest.mark.parametrize(
    ("resource_type", "name"),
    [
        ("Patient", "name"),
        ("Patient", "name:exact"),
        ("Patient", "name:contains"),
        ("Patient", "identifier"),
        ("Patient", "identifier:not"),
        ("Patient", "_tag"),
        ("Patient", "_profile"),
        ("Observation", "patient.name"),
        ("Patient", "_has:Observation:patient:code"),
        ("Observation", "component-code-value-concept"),
        ("ValueSet", "url"),
    ],
)
def test_statements_depend_on_the_shape_of_a_search_alone(resource_type: str, name: str) -> None:
    """The same text for a harmless and a hostile value: nothing of either is in it."""
    tail = "$x" if "value-concept" in name else ""
    texts = set()
    for value in ("x", HOSTILE.replace("\\", "\\\\").replace("$", "\\$")):
        query = parse(r4(), Limits(), resource_type, [(name, value + tail)])
        texts.add(statement(query, CONTEXT, COLUMNS).numbered()[0])
        assert HOSTILE not in count_statement(query, CONTEXT).numbered()[0]
        assert HOSTILE not in versions_statement(query, CONTEXT, COLUMNS, 2).numbered()[0]
    assert len(texts) == 1


def test_what_is_no_id_is_not_even_asked_for() -> None:
    query = parse(r4(), Limits(), "Patient", [("_id", HOSTILE.replace("\\", "\\\\").replace("$", "\\$"))])
    text, args = statement(query, CONTEXT, COLUMNS).numbered()
    assert HOSTILE not in text
    assert HOSTILE not in args
