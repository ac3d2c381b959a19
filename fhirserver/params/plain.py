"""One clause of any type but composite, given to the module of its type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from fhirserver.errors import NotSupported
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.params import (
    closed,
    date,
    mime,
    near,
    number,
    phonetic,
    quantity,
    reference,
    string,
    token,
    uri,
    wording,
)
from fhirserver.params.condition import Condition, Scope, unsupported_modifier
from fhirserver.params.facts import CLINICAL_DATES, is_canonical, is_mime_type, is_patient, node_types
from fhirserver.params.kinds import Value
from fhirserver.params.registry import SearchParam


def compile(scope: Scope, param: SearchParam, modifier: str | None, values: Sequence[Value]) -> Condition:
    """The condition of a clause whose values are of the parameter's type. Raises NotSupported."""
    of, code = scope.resource_type, param.code
    given = cast(Any, values)
    match param.type:
        case "token" if modifier == "of-type":
            return token.compile_typed(scope, code, given)
        case "token" if modifier in ("above", "below") and is_mime_type(param, of):
            return mime.compile(scope, code, modifier, given, node_types(param, of))
        case "token" if modifier == "text":
            return wording.compile(scope, code, given)
        case "token":
            found = token.compile(scope, code, modifier, given, node_types(param, of))
            return closed.driven(scope, param, given, found) if modifier == "not" else found
        case "date" if CLINICAL_DATES.get(of) == code and not scope.inline:
            return date.compile_clinical(scope, code, modifier, given)
        case "date":
            return date.compile(scope, code, modifier, given)
        case "string" if code == phonetic.CODE:
            return phonetic.compile(scope, modifier, given)
        case "string":
            return string.compile(scope, code, modifier, given)
        case "reference" if modifier == "identifier":
            return reference.compile_identifier(scope, code, given)
        case "reference" if modifier == "below" and is_canonical(param, of):
            return reference.compile_versions(scope, code, given)
        case "reference" if modifier is None or modifier in ENDPOINT_TYPES:
            return reference.compile(scope, code, given, is_patient(param, of) and not scope.inline)
        case "reference" if modifier is not None:
            raise unsupported_modifier(code, modifier, reference.MODIFIERS)
        case "quantity":
            return quantity.compile(scope, code, modifier, given)
        case "number":
            return number.compile(scope, code, modifier, given)
        case "uri":
            return uri.compile(scope, code, modifier, given)
        case "special" if code == "near" and modifier is None:
            return near.compile(scope, code, given)
        case _:
            raise NotSupported(f"search parameter '{code}' is not supported")
