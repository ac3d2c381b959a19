"""The values of a FHIRPath Patch: as value[x], as a resource, or as parts for what has no data type.

https://hl7.org/fhir/R4/fhirpatch.html#concept
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from fhirserver import errors
from fhirserver.fhir.patch_slots import Slot, copied
from fhirserver.fhir.structure import RESOURCE_TYPES, STRUCTURES, Element, is_primitive, supertypes
from fhirserver.fhir.suggest import nearest


@dataclass(frozen=True, slots=True)
class Value:
    """What is to be written: its type in the element, the JSON value, and a primitive's companion."""

    type: str
    value: Any
    companion: Any = None


def value_of(part: dict[str, Any], element: Element, where: str, type_: str | None = None) -> Value:
    """The value that a part holds, as one of an element (with `type_`: of that type of a choice).

    Raises errors.Invalid where it cannot be one.
    """
    types = element.types if type_ is None else (type_,)
    if "resource" in part:
        return _resource(part["resource"], element, types, where)
    if "part" in part:
        return _of_parts(part["part"], element, types, where)
    key = next((key for key in part if key.removeprefix("_") in _KEYS), None)
    if key is None:
        raise errors.Invalid("the value is empty: it needs value[x], a resource, or parts", where)
    key = key.removeprefix("_")
    value = copied(part.get(key))
    fitting = _fitting(_KEYS[key], value, types)
    if fitting is None:
        raise errors.Invalid(
            f"'{element.name}' takes {' or '.join(types[:8])}, not {_KEYS[key]} ({key})", where
        )
    return Value(fitting, value, copied(part.get("_" + key)))


_KEYS = {
    key: type_
    for key, (element, type_) in STRUCTURES["Parameters.parameter"].keys.items()
    if element.name == "value"
}
"""JSON property of Parameters.parameter.value[x] -> its type."""


def _fitting(given: str, value: Any, types: tuple[str, ...]) -> str | None:
    """The type of the element that a value of a type is one of.

    Where the element has one type only, a primitive that is written alike will do: the patch is validated
    as a whole.
    """
    if given in types:
        return given
    if len(types) != 1:
        return None
    (only,) = types
    if is_primitive(only) and is_primitive(given):
        return only if _form(STRUCTURES[only].name) == _kind(value) or value is None else None
    return only if only not in STRUCTURES or given in supertypes(only) or only in supertypes(given) else None


def _form(primitive: str) -> str:
    """How JSON writes a primitive type."""
    names = supertypes(primitive)
    if "boolean" in names:
        return "boolean"
    return "number" if "integer" in names or "decimal" in names else "string"


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, (int, Decimal)) else "string"


def _resource(resource: Any, element: Element, types: tuple[str, ...], where: str) -> Value:
    if "Resource" not in types:
        raise errors.Invalid(f"'{element.name}' takes {' or '.join(types[:8])}, not a resource", where)
    return Value("Resource", copied(resource))


def _of_parts(parts: list[dict[str, Any]], element: Element, types: tuple[str, ...], where: str) -> Value:
    """An object, element by element: part.name is the name of the element."""
    if len(types) != 1 or is_primitive(types[0]) or types[0] in RESOURCE_TYPES:
        raise errors.Invalid(f"'{element.name}' takes {' or '.join(types[:8])}, not parts", where)
    found, made = STRUCTURES[types[0]], {}
    for index, part in enumerate(parts):
        inside = f"{where}.part[{index}]"
        name = part["name"]
        inner, type_ = (
            (found.elements[name], None) if name in found.elements else found.keys.get(name, (None, None))
        )
        if inner is None:
            near = nearest(name, found.elements)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise errors.Invalid(f"{found.name} has no element '{name[:64]}'{hint}", inside)
        value = value_of(part, inner, inside, type_)
        key = inner.key(value.type)
        if inner.many:
            slot = Slot(made, key, 0)
            slot.insert(len(slot), value.value, value.companion)
        elif any(k in made for t in inner.types for k in (inner.key(t), "_" + inner.key(t))):
            raise errors.Invalid(f"'{inner.name}' does not repeat", inside)
        else:
            Slot(made, key, None).put(value.value, value.companion)
    return Value(types[0], made)
