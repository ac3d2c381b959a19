"""`:missing` for every type of parameter: https://hl7.org/fhir/R4/search.html#modifiers

Which of R4's parameters have a value is one bit each of the row's word; a parameter added at run
time has a key among the others.
"""

from __future__ import annotations

from functools import reduce
from operator import or_ as or_bits
from typing import Final

from fhirserver.db.sql import FALSE, TRUE, Fragment, and_, not_, or_
from fhirserver.fhir.keys import Keys
from fhirserver.params import word
from fhirserver.params.composite import shape_of
from fhirserver.params.condition import Condition, Scope, has_keys
from fhirserver.params.facts import UNIONS
from fhirserver.params.registry import Registry, SearchParam


def key_of(keys: Keys, resource_type: str, code: str) -> int:
    """The presence key of a parameter that has no bit."""
    return keys.of("present", resource_type, code)


ALWAYS: Final = frozenset({"_id", "_lastUpdated"})
"""What no stored resource is without."""


def present(scope: Scope, registry: Registry, param: SearchParam) -> Fragment:
    """Whether the row has a value for the parameter."""
    if not scope.has_word:
        return has_keys(scope.alias, [key_of(scope.keys, scope.resource_type, param.code)])
    if param.code in ALWAYS:
        return TRUE
    parts = UNIONS.get((scope.resource_type, param.code))
    if parts is not None:
        return or_(*(_by_code(scope, registry, part) for part in parts))
    if param.components and shape_of(param, scope.resource_type) == "conjunction":
        return and_(*(_by_code(scope, registry, component.code) for component in param.components))
    code = param.code
    bit = word.present_bit(scope.resource_type, code)
    if not bit:
        return has_keys(scope.alias, [key_of(scope.keys, scope.resource_type, code)])
    return word.Bits(bit).test(word.of_row(scope.alias))


def _by_code(scope: Scope, registry: Registry, code: str) -> Fragment:
    param = registry.get(scope.resource_type, code)
    return FALSE if param is None else present(scope, registry, param)


def compile(scope: Scope, registry: Registry, param: SearchParam, missing: bool) -> Condition:
    """The condition of `param:missing=true` or `false`."""
    found = present(scope, registry, param)
    words = scope.words(_mask(scope.resource_type, param), absent=missing)
    return Condition(not_(found) if missing else found, words=words)


def _mask(resource_type: str, param: SearchParam) -> int:
    """The bits of which a row with a value has one at least; 0 where no bits tell."""
    conjunction = param.components and shape_of(param, resource_type) == "conjunction"
    if conjunction or param.code in ALWAYS:
        return 0
    parts = UNIONS.get((resource_type, param.code), (param.code,))
    bits = [word.present_bit(resource_type, part) for part in parts]
    return reduce(or_bits, bits, 0) if all(bits) else 0
