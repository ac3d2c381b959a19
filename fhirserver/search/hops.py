"""The hops of chains and `_has` as they are written: which types they lead to, and what must hold there.

https://hl7.org/fhir/R4/search.html#chaining, https://hl7.org/fhir/R4/search.html#has
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from fhirserver.errors import FhirError, Invalid, NotSupported
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.fhir.suggest import nearest
from fhirserver.params.condition import UnknownParameter, UnsupportedModifier
from fhirserver.params.facts import is_canonical, targets
from fhirserver.params.registry import Registry, SearchParam
from fhirserver.search.link import has_url
from fhirserver.search.query import Chain, Condition, Has

Read = Callable[[str], Condition]
"""What the rest of a chain demands of a type; raises an error where it means nothing for that type."""


COMMON: Final = frozenset({"_has", "_list", "_filter", "_text", "_content"})
"""What all types have without a definition for each."""


def chain(
    registry: Registry, resource_type: str, param: SearchParam, modifier: str | None, rest: str, read: Read
) -> Chain:
    """`param.rest` or `param:Type.rest`.

    Without a type it leads to all types that the reference may point at and for which the rest and its
    value have a meaning, each with the type of parameter that it is there. Raises UnsupportedModifier,
    Invalid, or, where no type has the parameter, NotSupported.
    """
    if param.type != "reference":
        raise Invalid(f"'{param.code}' is no reference: '{param.code}.{rest}' leads nowhere")
    if modifier == "identifier":
        # "Chaining is not supported when using the :identifier modifier": search.html#reference
        raise UnsupportedModifier(
            f"{param.code}:identifier leads to no resource; {param.code}:[type].identifier does"
        )
    if modifier is not None and modifier not in ENDPOINT_TYPES:
        hint = alike(modifier, ENDPOINT_TYPES)
        raise UnsupportedModifier(f"'{modifier}' is not a resource type: {param.code}:[type].{rest}{hint}")
    possible = pointed(registry, param, resource_type)
    if modifier is not None:
        require_target(modifier, possible, param, resource_type)
        return Chain(param, ((modifier, read(modifier)),))
    return Chain(param, _meant(registry, param, resource_type, possible, rest, read))


def has(registry: Registry, resource_type: str, param: SearchParam, source: str, read: Read) -> Has:
    """`_has:source:param:...` of a type. Raises Invalid where the parameter cannot point at it."""
    if param.type != "reference":
        raise Invalid(f"'{param.code}' is not a reference parameter of {source}")
    require_target(resource_type, pointed(registry, param, source), param, source)
    return Has(source, param, read(source))


def pointed(registry: Registry, param: SearchParam, resource_type: str) -> tuple[str, ...]:
    """The types of stored resources that a reference parameter of a type can lead to, by name."""
    stated = targets(param, resource_type) or ENDPOINT_TYPES
    by_url = is_canonical(param, resource_type)
    return tuple(
        type_
        for type_ in sorted(stated)
        if type_ in ENDPOINT_TYPES and (not by_url or has_url(registry, type_))
    )


def require_target(target: str, possible: Sequence[str], param: SearchParam, resource_type: str) -> None:
    """Raises Invalid for a type that the parameter cannot point at."""
    if target not in possible:
        some = ", ".join(possible[:8]) + (", ..." if len(possible) > 8 else "")
        raise Invalid(f"'{param.code}' of {resource_type} refers to {some or 'nothing'}, not to {target}")


def _meant(
    registry: Registry,
    param: SearchParam,
    resource_type: str,
    possible: Sequence[str],
    rest: str,
    read: Read,
) -> tuple[tuple[str, Condition], ...]:
    """The types for which the rest of a chain has a meaning, with that meaning."""
    code = rest.partition(".")[0].partition(":")[0]
    known = [type_ for type_ in possible if code in COMMON or has_parameter(registry, type_, code)]
    found: list[tuple[str, Condition]] = []
    refused: FhirError | None = None
    for type_ in known or possible:
        try:
            found.append((type_, read(type_)))
        except (Invalid, NotSupported) as error:
            refused = refused or error
    if found:
        return tuple(found)
    if refused is not None and (known or len(possible) == 1):
        raise refused
    codes = {code for type_ in possible for code in registry.for_type(type_)}
    raise UnknownParameter(
        f"no type that '{param.code}' of {resource_type} refers to has a search parameter"
        f" '{code}'{alike(code, codes)}"
    )


def has_parameter(registry: Registry, resource_type: str, code: str) -> bool:
    """Whether a type has a parameter, one that is being built included: reading it raises Incomplete."""
    return registry.get(resource_type, code) is not None or (resource_type, code) in registry.building


def alike(name: str, known: Iterable[str]) -> str:
    """The end of a message that says what else it may have been."""
    names = nearest(name, known)
    return f"; alike: {', '.join(names)}" if names else ""
