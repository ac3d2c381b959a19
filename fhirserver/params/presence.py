"""`:missing` for every type of parameter: https://hl7.org/fhir/R4/search.html#modifiers

Which of R4's parameters have a value is one bit each in `resource.keys[1]`; a parameter added at run
time has a key among the others.
"""

from __future__ import annotations

from fhirserver.db.sql import Fragment, not_, or_, sql
from fhirserver.fhir.keys import Keys
from fhirserver.params.condition import Condition, Scope, has_keys
from fhirserver.params.facts import UNIONS, presence_bits


def key_of(keys: Keys, resource_type: str, code: str) -> int:
    """The presence key of a parameter that has no bit."""
    return keys.of("present", resource_type, code)


def present(scope: Scope, code: str) -> Fragment:
    """Whether the row has a value for the parameter."""
    parts = UNIONS.get((scope.resource_type, code))
    if parts is not None:
        return or_(*(present(scope, part) for part in parts))
    bit = presence_bits(scope.resource_type).get(code)
    if bit is None:
        return has_keys(scope.alias, [key_of(scope.keys, scope.resource_type, code)])
    return sql("({}.keys[1] & {}::bigint) <> 0", scope.alias, bit)


def compile(scope: Scope, code: str, missing: bool) -> Condition:
    """The condition of `code:missing=true` or `false`."""
    found = present(scope, code)
    return Condition(not_(found) if missing else found)
