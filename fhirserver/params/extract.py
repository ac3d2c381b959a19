"""All search parameters of a resource in one pass.

The expressions of a type's parameters are mostly paths. Their routes are merged into one tree, so a
resource is walked once, key by key, and what a key holds goes to every parameter that ends there.
What is no path runs as a program of its own. https://hl7.org/fhir/R4/searchparameter.html

Contained resources are not entered: https://hl7.org/fhir/R4/search.html#contained
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final
from weakref import WeakKeyDictionary

from fhirserver.fhir.fhirpath import FHIRPathError, Node, compile_expression, parse
from fhirserver.fhir.fhirpath.equality import unlike
from fhirserver.fhir.fhirpath.tree import Binary
from fhirserver.params.facts import routes_of
from fhirserver.params.fits import FITS, fitting
from fhirserver.params.registry import Registry, SearchParam
from fhirserver.params.walk import Composer, Composite, Found, Runner, Spot, composer, getter

__all__ = ["Composite", "Extract", "Found", "Node", "extractor", "extractor_of"]

Extract = Callable[[dict[str, Any]], Found]

_BUILT: Final[WeakKeyDictionary[Registry, dict[str, Extract]]] = WeakKeyDictionary()
"""By registry, so that asking again costs a look-up and no comparison of parameters."""


def extractor(registry: Registry, resource_type: str) -> Extract:
    """The function that takes every parameter's values from a valid resource of a type.

    Only parameters that found something are in its result. Built when first asked for and kept as
    long as the parameters stay the same. Raises FHIRPathError for an expression that does not fit.
    """
    built = _BUILT.get(registry)
    if built is None:
        built = _BUILT[registry] = {}
    found = built.get(resource_type)
    if found is None:
        params = tuple(registry.for_type(resource_type).values())
        found = built[resource_type] = extractor_of(params, resource_type)
    return found


@lru_cache(maxsize=2_048)
def extractor_of(params: tuple[SearchParam, ...], resource_type: str) -> Extract:
    """The same for these parameters alone."""
    root = Spot(resource_type)
    programs: list[Runner] = []
    merged: list[str] = []
    for param in params:
        if param.expression is None:
            continue
        _check(param.expression, param.url, resource_type)
        ways = routes_of(param, resource_type)
        if ways is None or (param.custom and param.components):
            programs.append(_program(param, param.expression, resource_type))
        elif param.components:
            for way in dict.fromkeys(ways):
                root.at(way).composites.append((param.code, param.components))
        else:
            for way in dict.fromkeys(ways):
                root.at(way).codes.append(param.code)
            if len(ways) > 1 or _is_union(param.expression):
                merged.append(param.code)
    return _assembled(root.table(resource_type), [*root.here(resource_type), *programs], tuple(merged))


def _is_union(expression: str) -> bool:
    """Whether duplicates have to go, even where only one branch applies to the type."""
    match parse(expression):
        case Binary("|"):
            return True
        case _:
            return False


def _check(expression: str, url: str, resource_type: str) -> None:
    try:
        compile_expression(expression, resource_type, indexed=True)
    except FHIRPathError as error:
        raise FHIRPathError(f"{url}: {error}") from None


def _program(param: SearchParam, expression: str, resource_type: str) -> Runner:
    """A parameter whose expression is no mere path, evaluated on the whole resource."""
    get = getter(expression, resource_type, resource_type)
    code, components = param.code, param.components
    composers: dict[str, Composer] = {}

    def run(value: Any, found: Found, resource: dict[str, Any]) -> None:
        nodes = get(value, resource)
        if param.custom and param.type in FITS:
            nodes = fitting(param.type, nodes)
        if nodes:
            found[code] = list(nodes)

    def compose(value: Any, found: Found, resource: dict[str, Any]) -> None:
        built: list[Composite] = []
        for node in get(value, resource):
            build = composers.get(node.type)
            if build is None:
                build = composers[node.type] = composer(components, node.type, resource_type)
            one = build(node.value, resource)
            if one is not None:
                built.append(one)
        if built:
            found[code] = built

    runner = compose if components else run
    return _lenient(runner) if param.custom else runner


def _lenient(runner: Runner) -> Runner:
    """What an expression of one's own cannot tell of some resource, it does not find there.

    The write of a resource must not fail by a parameter that says nothing about what is valid.
    """

    def run(value: Any, found: Found, resource: dict[str, Any]) -> None:
        with suppress(FHIRPathError):
            runner(value, found, resource)

    return run


def _assembled(table: dict[str, Runner], whole: list[Runner], merged: tuple[str, ...]) -> Extract:
    def extract(resource: dict[str, Any]) -> Found:
        found: Found = {}
        for key, value in resource.items():
            runner = table.get(key)
            if runner is not None:
                runner(value, found, resource)
        for run in whole:
            run(resource, found, resource)
        for code in merged:
            nodes = found.get(code)
            if nodes is not None and len(nodes) > 1:
                found[code] = unlike(nodes)
        return found

    return extract
