"""The values of a match looked at themselves, where more than a page depends on it.

The index compares tokens, URIs and references by 64-bit keys. Nobody can choose a value whose key
collides with another's, but what a conditional interaction overwrites or deletes must not hang on a
hash at all: https://hl7.org/fhir/R4/http.html#cond-update
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fhirserver.fhir.reference import parse as parse_reference
from fhirserver.params import reference, token, wording
from fhirserver.params.extract import Node, extractor
from fhirserver.params.facts import implied_systems
from fhirserver.params.reference import ReferenceValue
from fhirserver.params.registry import Registry, SearchParam
from fhirserver.params.token import TokenValue
from fhirserver.params.uri import UriValue
from fhirserver.search.query import Clause, SearchQuery

Test = Callable[[Node, Any], bool]


def holds(
    query: SearchQuery, registry: Registry, own_bases: tuple[str, ...], resource: dict[str, Any]
) -> bool:
    """Whether the decoded resource has the tokens, URIs and references that the search names.

    Conditions of other kinds were decided by values, not keys, and are not looked at again.
    """
    resource_type = resource["resourceType"]
    clauses = [c for c in query.conditions[resource_type] if isinstance(c, Clause)]
    nodes = extractor(registry, resource_type)(resource)
    for clause in clauses:
        test = _test(clause.param, clause.modifier, resource, own_bases)
        if test is None:
            continue
        found: Sequence[Node] = nodes.get(clause.param.code, ())
        matched = any(test(node, value) for node in found for value in clause.values)
        if matched is (clause.modifier == "not"):
            return False
    return True


def _test(
    param: SearchParam, modifier: str | None, resource: dict[str, Any], own_bases: tuple[str, ...]
) -> Test | None:
    """How a node compares with a value of the clause; None for what keys do not decide."""
    match param.type:
        case "token" if modifier == "text":
            return wording.holds
        case "token":
            systems = implied_systems(param, resource["resourceType"])
            return lambda node, value: any(
                _same_token(pair, value, node.type in token.EXACT_TYPES)
                for pair in token.pairs(node.value, node.type, systems)
            )
        case "uri" if param.code == "url":
            version = resource.get("version")
            return lambda node, value: value.uri in (node.value, f"{node.value}|{version}")
        case "uri":
            return _same_uri
        case "reference" if modifier == "identifier":
            return _same_identifier
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
    if value.url is not None:
        return found.url == value.url
    return found.is_local and found.id == value.id and found.type in value.types
