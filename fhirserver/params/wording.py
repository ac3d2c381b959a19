"""`:text` of token parameters: what a code is called, searched like a string.

https://hl7.org/fhir/R4/search.html#modifiers: CodeableConcept.text, Coding.display, Identifier.type.text

A row carries one key for each text among its `keys`. Which texts there are is kept once, in the
dictionary `term`: the folded text, its key, and the key of `tok` under which the rows with that text
are found. That is the key of the code that it stands with, so a text costs no index row of its own; only
where there is no code, and for identifiers, is the text's own key in `tok`. Parameters with hot codes
have no such keys, as no index narrows them. Terms outlive the resources that brought them: they only lead
to rows, which are filtered and restricted like all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from fhirserver.db.sql import or_, sql
from fhirserver.errors import Invalid
from fhirserver.fhir.keys import Keys
from fhirserver.params import hot, word
from fhirserver.params.condition import Condition, Rank, Rids, Scope, exists
from fhirserver.params.entries import Entries, Node, Term
from fhirserver.params.facts import node_types
from fhirserver.params.registry import SearchParam
from fhirserver.params.string import LAST, VALUE_LENGTH_MAX, StringValue, fold, joined

WORDED_TYPES: Final = frozenset({"CodeableConcept", "Coding", "Identifier"})
"""Types of values that have a text beside their code."""


def is_worded(param: SearchParam, resource_type: str) -> bool:
    """Whether the values of a token parameter can have a text."""
    types = node_types(param, resource_type)
    return param.type == "token" and (not types or bool(types & WORDED_TYPES))


Name = Callable[[str, int | None], tuple[Term, ...]]
"""The terms of a text, given the key of the code that it stands with, if any: none for one without letters
and digits, two for one whose words dashes join."""

_CACHE_MAX: Final = 8_192
_REPEATED_LENGTH_MAX: Final = 200
"""What is longer is somebody's own words and not likely to come again."""


def namer(keys: Keys, resource_type: str, code: str) -> Name:
    """Makes the terms of a parameter on a type; the same ones for the same texts."""
    key = key_of(keys, resource_type, code)
    is_hot = bool(hot.hot_codes(resource_type, code))
    made: dict[tuple[str, int | None], tuple[Term, ...]] = {}

    def make(text: str, tok_key: int | None) -> tuple[Term, ...]:
        forms = dict.fromkeys((fold(text)[:VALUE_LENGTH_MAX], joined(text)))
        found = [form for form in forms if form]
        if not found:
            return ()
        text_key = keys.of("text=", resource_type, code, *found)
        leading = None if is_hot else text_key if tok_key is None else tok_key
        return tuple(Term(key, form, text_key, leading) for form in found)

    def name(text: str, tok_key: int | None) -> tuple[Term, ...]:
        terms = made.get((text, tok_key))
        if terms is None:
            terms = make(text, tok_key)
            if len(text) <= _REPEATED_LENGTH_MAX:
                if len(made) >= _CACHE_MAX:
                    made.clear()
                made[text, tok_key] = terms
        return terms

    return name


def put(terms: Iterable[Term], entries: Entries) -> None:
    """The terms of a text that a resource has."""
    for term in terms:
        entries.keys.append(term.text_key)
        if term.tok_key == term.text_key:
            entries.tok.append(term.text_key)
        entries.terms.append(term)


def key_of(keys: Keys, resource_type: str, code: str) -> int:
    """The key of a parameter's part of the dictionary."""
    return keys.of("text", resource_type, code)


def texts(value: Any, type_: str) -> list[tuple[str, Any]]:
    """The texts of a node, each with the Coding it displays, or None where it stands for the whole."""
    match type_:
        case "CodeableConcept":
            found = [(c["display"], c) for c in value.get("coding", ()) if "display" in c]
            return [*found, (value["text"], None)] if "text" in value else found
        case "Coding":
            return [(value["display"], value)] if "display" in value else []
        case "Identifier":
            text = value.get("type", {}).get("text")
            return [] if text is None else [(text, None)]
        case _:
            return []


def holds(node: Node, value: StringValue) -> bool:
    """Whether a node has a text that begins as asked."""
    return any(
        form.startswith(value.folded)
        for text, _ in texts(node.value, node.type)
        for form in (fold(text), joined(text) or "")
    )


def compile(scope: Scope, code: str, values: Sequence[StringValue]) -> Condition:
    """The condition of one clause; its values are alternatives. Raises Invalid."""
    if not all(value.folded for value in values):
        raise Invalid(f"a text of '{code}' to search for has no letter or digit")
    key = key_of(scope.keys, scope.resource_type, code)
    starts = or_(*(sql("x.val >= {} AND x.val < {}", v.folded, v.folded + LAST) for v in values))
    found = sql("FROM term x WHERE x.key = {} AND ({})", key, starts)
    # The first part hangs on no row: where no text is found, none is read.
    filter_ = sql(
        "(SELECT {}) AND (SELECT bool_or(u.k IN (SELECT x.text_key {})) FROM unnest({}.keys) u(k))",
        exists(found),
        found,
        scope.alias,
    )
    if hot.hot_codes(scope.resource_type, code):
        return Condition(filter_, words=scope.words(word.present_bit(scope.resource_type, code)))
    rids = sql(
        "SELECT t.rid FROM (SELECT DISTINCT x.tok_key {}) c"
        " CROSS JOIN LATERAL (SELECT t.rid FROM tok t WHERE t.key = c.tok_key OFFSET 0) t",
        found,
    )
    return Condition(filter_, (Rids(rids),), Rank.STRING)
