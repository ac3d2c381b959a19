"""The values of a match looked at themselves, where more than a page depends on it.

The index compares tokens, URIs and references by 64-bit keys. Nobody can choose a value whose key
collides with another's, but what a conditional interaction overwrites or deletes must not hang on a
hash at all: https://hl7.org/fhir/R4/http.html#cond-update
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fhirserver.fhir.reference import parse as parse_reference
from fhirserver.fhir.reference import parse_canonical
from fhirserver.params import mime, reference, token, uri
from fhirserver.params.extract import Found, Node, extractor
from fhirserver.params.facts import implied_systems, is_canonical
from fhirserver.params.reference import ReferenceValue
from fhirserver.params.registry import Registry, SearchParam
from fhirserver.params.token import TokenValue, TypedValue
from fhirserver.params.uri import UriValue
from fhirserver.search.query import And, Clause, Condition, Not, Or, SearchQuery

Test = Callable[[Node, Any], bool]


def holds(
    query: SearchQuery, registry: Registry, own_bases: tuple[str, ...], resource: dict[str, Any]
) -> bool:
    """Whether the decoded resource has the tokens, URIs and references that the search names.

    Conditions of other kinds were decided by values, not keys, and are not looked at again.
    """
    resource_type = resource["resourceType"]
    look = _Look(extractor(registry, resource_type)(resource), resource, own_bases)
    return all(look.verdict(condition) is not False for condition in query.conditions[resource_type])


@dataclass(frozen=True, slots=True)
class _Look:
    """The values of one resource."""

    nodes: Found
    resource: dict[str, Any]
    own_bases: tuple[str, ...]

    def verdict(self, condition: Condition) -> bool | None:
        """Whether a condition holds; None where that does not hang on keys."""
        match condition:
            case Clause():
                return self.clause(condition)
            case And(parts):
                found = [self.verdict(part) for part in parts]
                return False if False in found else None if None in found else True
            case Or(parts):
                found = [self.verdict(part) for part in parts]
                return True if True in found else None if None in found else False
            case Not(part):
                inner = self.verdict(part)
                return None if inner is None else not inner
            case _:
                return None

    def clause(self, clause: Clause) -> bool | None:
        test = _test(clause.param, clause.modifier, self.resource, self.own_bases)
        if test is None:
            return None
        nodes: Sequence[Node] = self.nodes.get(clause.param.code, ())
        if clause.modifier == "ne":
            return any(not test(node, value) for node in nodes for value in clause.values)
        matched = any(test(node, value) for node in nodes for value in clause.values)
        return matched is not (clause.modifier == "not")


def _test(
    param: SearchParam, modifier: str | None, resource: dict[str, Any], own_bases: tuple[str, ...]
) -> Test | None:
    """How a node compares with a value of the clause; None for what keys do not decide."""
    match param.type:
        case "token" if modifier == "of-type":
            return _has_type
        case "token" if modifier in ("above", "below"):
            return lambda node, value: _is_mime_type(modifier, node, value)
        case "token":
            systems = implied_systems(param, resource["resourceType"])
            any_case = modifier in token.COMPARISONS
            return lambda node, value: any(
                _same_token(pair, value, node.type in token.EXACT_TYPES and not any_case)
                for pair in token.pairs(node.value, node.type, systems)
            )
        case "uri" if modifier == "above":
            return lambda node, value: any(
                value.uri.startswith(form) for form in uri.forms(node.value, node.type)
            )
        case "uri" if modifier == "below":
            return lambda node, value: node.value.startswith(value.uri)
        case "uri" if param.code == "url":
            version = resource.get("version")
            return lambda node, value: value.uri in (node.value, f"{node.value}|{version}")
        case "uri":
            return _same_uri
        case "reference" if modifier == "identifier":
            return _same_identifier
        case "reference" if is_canonical(param, resource["resourceType"]):
            return lambda node, value: (
                _same_reference(node.value, value, own_bases)
                if value.url is None
                else _same_canonical(node.value, value, modifier == "below")
            )
        case "reference":
            return lambda node, value: any(
                _same_reference(literal, value, own_bases) for literal in reference.literals(node.value)
            )
        case _:
            return None


def _same_token(pair: token.Pair, value: TokenValue, exact: bool) -> bool:
    system, code = pair
    if value.system is not None and (system or "") != value.system:
        return False
    if value.code is None:
        return True
    if code is None:
        return False
    return code == value.code if exact else code.casefold() == value.code.casefold()


def _has_type(node: Node, value: TypedValue) -> bool:
    return node.type == "Identifier" and any(
        (one.system, one.code.casefold(), one.value) == (value.system, value.code.casefold(), value.value)
        for one in token.types_of(node.value)
    )


def _is_mime_type(modifier: str, node: Node, value: TokenValue) -> bool:
    if not isinstance(node.value, str) or value.code is None:
        return False
    if modifier == "below":
        return mime.is_below(node.value, value.code)
    return mime.is_below(value.code, node.value)


def _same_canonical(canonical: Any, value: ReferenceValue, below: bool) -> bool:
    found = parse_canonical(canonical)
    if found.url != value.url:
        return False
    if value.version is None or value.version == found.version:
        return True
    return below and found.version is not None and value.version in reference.beginnings(found.version)


def _same_uri(node: Node, value: UriValue) -> bool:
    if not isinstance(node.value, str):
        return False
    return node.value == value.uri or (node.type == "canonical" and node.value.partition("|")[0] == value.uri)


def _same_identifier(node: Node, value: TokenValue) -> bool:
    one = node.value.get("identifier") if isinstance(node.value, dict) else None
    return one is not None and _same_token((one.get("system"), one.get("value")), value, True)


def _same_reference(literal: str, value: ReferenceValue, own_bases: tuple[str, ...]) -> bool:
    found = parse_reference(literal, own_bases)
    if value.version is not None and found.version != value.version:
        return False
    if found.url is not None:
        return found.url == value.url
    return found.is_local and found.id == value.id and found.type in value.types
