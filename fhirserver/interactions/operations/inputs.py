"""What an operation is called with, from the URL or a Parameters resource, checked by its definition.

https://hl7.org/fhir/R4/operations.html#request, https://hl7.org/fhir/R4/parameters.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fhirserver.errors import Invalid, NotSupported
from fhirserver.fhir import primitives
from fhirserver.fhir.structure import RESOURCE_TYPES, is_primitive
from fhirserver.fhir.suggest import nearest
from fhirserver.fhir.validate import validate
from fhirserver.interactions.call import Call
from fhirserver.interactions.headers import Handling
from fhirserver.interactions.operations.definition import Operation, Parameter
from fhirserver.params import token
from fhirserver.search.parse import CURSOR

SHAPING: Final = frozenset({"_format", "_pretty", "_summary", "_elements"})
"""What says how an answer is given: known to every operation."""
_TEXTS: Final = frozenset(
    {
        "string",
        "code",
        "id",
        "uri",
        "url",
        "canonical",
        "markdown",
        "oid",
        "uuid",
        "date",
        "dateTime",
        "instant",
    }
)
"""Types whose values are written alike in JSON: what one of them carries may be meant as another."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Values by name: str, bool, int or Decimal of primitives, dict of anything else."""

    values: Mapping[str, tuple[Any, ...]]

    def one(self, name: str) -> Any | None:
        """The value of a parameter that stands at most once."""
        found = self.values.get(name)
        return found[0] if found else None

    def all(self, name: str) -> tuple[Any, ...]:
        return self.values.get(name, ())


def inputs_of(call: Call, operation: Operation) -> Inputs:
    """The inputs of a call. Raises Invalid, Structure and, for a name that is not known, NotSupported."""
    values: dict[str, list[Any]] = {}
    for name, text in call.query:
        if (name, text) == ("_summary", "count") and operation.gives_a_bundle and not operation.open:
            raise Invalid(f"_summary=count is for searches: ${operation.code} does not count")
        known = _known(call, operation, name)
        if known is not None:
            values.setdefault(name, []).append(_of_text(known, text))
    for name, value in () if operation.raw else _of_body(call, operation):
        values.setdefault(name, []).append(value)
    for known in operation.inputs:
        _require_cardinality(operation, known, len(values.get(known.name, ())))
    return Inputs({name: tuple(found) for name, found in values.items()})


def _known(call: Call, operation: Operation, name: str, where: str | None = None) -> Parameter | None:
    """The definition of a parameter; None for one that is no input and may stand there all the same."""
    found = next((one for one in operation.inputs if one.name == name), None)
    if found is not None or operation.open or name in SHAPING or (operation.paged and name == CURSOR):
        return found
    if call.prefer.handling is Handling.LENIENT:
        return None
    names = [one.name for one in operation.inputs]
    hint = ", ".join(nearest(name, names) or names)
    raise NotSupported(
        f"${operation.code} has no parameter {name[:64]!r}; " + (f"it has {hint}" if hint else "it has none"),
        where,
    )


def _of_text(known: Parameter, text: str) -> Any:
    """A primitive from the URL, or a Coding written as a token of a search."""
    if known.type == "Coding":
        return _coding(known, text)
    if not is_primitive(known.type):
        raise Invalid(f"'{known.name}', of type {known.type}, needs a Parameters resource in the body")
    if known.type == "boolean" and text in ("true", "false"):
        return text == "true"
    if known.type in ("integer", "positiveInt", "unsignedInt") and text.lstrip("+-").isascii():
        try:
            value: Any = int(text)
        except ValueError:
            value = text
    else:
        value = text
    _require_type(known, value, None)
    return value


def _coding(known: Parameter, text: str) -> dict[str, str]:
    found = token.parse(text)
    if found.code is None:
        raise Invalid(f"'{known.name}' is a code, perhaps after its system: {found.system}|code")
    return {**({"system": found.system} if found.system else {}), "code": found.code}


def _require_type(known: Parameter, value: Any, where: str | None) -> None:
    if (fault := primitives.fault(known.type, value)) is not None:
        raise Invalid(f"'{known.name}' {fault}", where)


def _of_body(call: Call, operation: Operation) -> list[tuple[str, Any]]:
    """Names and values of a Parameters resource, or the one resource that is the input."""
    body: Any = call.resource
    if body is None:
        return []
    validate(body)
    if body["resourceType"] != "Parameters":
        return [(_only_resource(operation, body["resourceType"]).name, body)]
    return [
        (part["name"], value)
        for index, part in enumerate(body.get("parameter", ()))
        if (value := _of_part(call, operation, part, f"Parameters.parameter[{index}]")) is not None
    ]


def _only_resource(operation: Operation, type_: str) -> Parameter:
    """The only input that takes a resource of the type: a body that is no Parameters stands for it."""
    taking = [one for one in operation.inputs if one.type in ("Resource", type_)]
    if len(taking) != 1:
        raise Invalid(f"${operation.code} takes a Parameters resource, not a {type_}", type_)
    return taking[0]


def _of_part(call: Call, operation: Operation, part: dict[str, Any], where: str) -> Any | None:
    known = _known(call, operation, part["name"], f"{where}.name")
    if known is None:
        return None
    if known.type == "Resource" or known.type in RESOURCE_TYPES:
        resource = part.get("resource")
        if resource is None or known.type not in ("Resource", resource["resourceType"]):
            raise Invalid(f"'{known.name}' is of type {known.type}, in 'resource'", where)
        return resource
    if known.type == "part":
        return part
    key = next((key for key in part if key.startswith("value")), None)
    if key is None:
        raise Invalid(f"'{known.name}' has no value[x]; it is of type {known.type}", where)
    wanted = [f"value{type_[0].upper()}{type_[1:]}" for type_ in (known.type, *known.also)]
    given = key.removeprefix("value")
    alike = known.type in _TEXTS and f"{given[0].lower()}{given[1:]}" in _TEXTS
    if key not in wanted and not alike:
        raise Invalid(f"'{known.name}' is of type {known.type}: {wanted[0]}, not {key}", f"{where}.{key}")
    if alike:
        _require_type(known, part[key], f"{where}.{key}")
    return part[key]


def _require_cardinality(operation: Operation, known: Parameter, count: int) -> None:
    if count < known.min:
        raise Invalid(
            f"${operation.code} needs '{known.name}' ({known.type}): {known.documentation}".rstrip(": ")
        )
    if known.max is not None and count > known.max:
        raise Invalid(
            f"'{known.name}' of ${operation.code} stands {count} times, at most {known.max} is right"
        )


def parameters(parts: Sequence[tuple[str, str, Any]]) -> dict[str, Any]:
    """A Parameters resource of (name, type, value); of `Resource` a resource, of `part` such a list."""
    return {"resourceType": "Parameters", "parameter": [_part(*part) for part in parts]}


def _part(name: str, type_: str, value: Any) -> dict[str, Any]:
    if type_ == "Resource":
        return {"name": name, "resource": value}
    if type_ == "part":
        return {"name": name, "part": [_part(*part) for part in value]}
    return {"name": name, f"value{type_[0].upper()}{type_[1:]}": value}
