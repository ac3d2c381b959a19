"""Expressions that name the JSON property of a choice, as published guides do: `valueDateTime`.

FHIRPath has `value.ofType(dateTime)` for it: https://hl7.org/fhir/R4/fhirpath.html#polymorphism
"""

from __future__ import annotations

from functools import cache

from fhirserver.fhir.fhirpath import FHIRPathError, compile_expression
from fhirserver.fhir.fhirpath.lexer import tokens
from fhirserver.fhir.structure import STRUCTURES


def as_fhirpath(expression: str, type_: str, resource_type: str | None = None) -> str:
    """The expression with such names replaced, where it fits the type only so; else as it was."""
    if _fits(expression, type_, resource_type):
        return expression
    try:
        changed = _replaced(expression)
    except FHIRPathError:
        return expression
    return changed if _fits(changed, type_, resource_type) else expression


def _fits(expression: str, type_: str, resource_type: str | None) -> bool:
    try:
        compile_expression(expression, type_, resource_type, indexed=True)
    except FHIRPathError:
        return False
    return True


def _replaced(expression: str) -> str:
    found = expression
    for token in reversed(tokens(expression)):
        choice = _choices().get(token.text) if token.kind == "name" else None
        if choice is not None:
            end = token.position + len(token.text)
            found = f"{found[: token.position]}{choice[0]}.ofType({choice[1]}){found[end:]}"
    return found


@cache
def _choices() -> dict[str, tuple[str, str]]:
    """Property -> name of the element and its type."""
    return {
        element.key(type_): (element.name, type_)
        for structure in STRUCTURES.values()
        for element in structure.elements.values()
        if element.choice
        for type_ in element.types
    }
