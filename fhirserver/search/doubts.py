"""What may be wrong with a search that finds nothing although nothing in it is an error.

A system written with a colon before its code is a code that nobody has; a code that is in no value set is one
that nothing can have. Such searches are answered, but not in silence.
"""

from __future__ import annotations

from typing import Final

from fhirserver.params.facts import implied_systems, node_types
from fhirserver.params.registry import SearchParam
from fhirserver.params.token import TokenValue
from fhirserver.search.query import SearchQuery
from fhirserver.search.rewrite import clauses

DOUBTS_MAX: Final = 5
CODES_SHOWN_MAX: Final = 20
_PLAIN: Final = (None, "not", "eq")
"""The modifiers, and the operator of `_filter`, under which a value is a code as it stands."""

SYSTEMS: Final = {
    "cpt": "http://www.ama-assn.org/go/cpt",
    "cvx": "http://hl7.org/fhir/sid/cvx",
    "icd10": "http://hl7.org/fhir/sid/icd-10",
    "icd10cm": "http://hl7.org/fhir/sid/icd-10-cm",
    "loinc": "http://loinc.org",
    "ndc": "http://hl7.org/fhir/sid/ndc",
    "npi": "http://hl7.org/fhir/sid/us-npi",
    "rxnorm": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "snomed": "http://snomed.info/sct",
    "snomedct": "http://snomed.info/sct",
    "ssn": "http://hl7.org/fhir/sid/us-ssn",
    "ucum": "http://unitsofmeasure.org",
}
"""By the names that people give them: https://hl7.org/fhir/R4/terminologies-systems.html"""
_ADDRESSES: Final = {url.partition("://")[2].removeprefix("www."): url for url in SYSTEMS.values()}


def doubts(query: SearchQuery) -> list[str]:
    """A sentence for each value that is likely to be misspelt, the first few."""
    found = [
        doubt
        for type_, clause in clauses(query)
        if clause.modifier in _PLAIN
        for value in clause.values
        if isinstance(value, TokenValue) and (doubt := _of_token(clause.param, type_, value)) is not None
    ]
    return list(dict.fromkeys(found))[:DOUBTS_MAX]


def _of_token(param: SearchParam, resource_type: str, value: TokenValue) -> str | None:
    """The doubt about one value of a token parameter."""
    types = node_types(param, resource_type)
    if types == {"boolean"}:
        right = value.code in ("true", "false") and value.system is None
        return None if right else f"'{param.code}' is true or false, not '{_written(value)}'"
    if not types or types & {"Identifier", "uri", "id", "string", "ContactPoint"}:
        return None
    if value.system is None:
        return _of_code(param, resource_type, value.code or "", types)
    return _of_system(param, value) if value.system else None


def _of_code(param: SearchParam, resource_type: str, code: str, types: frozenset[str]) -> str | None:
    """Of a code by itself: it may be a system as well, or be none of those that there are."""
    if "://" in code:
        cut = max(code.rfind(mark) for mark in ":/#|")
        meant = f"; did you mean {code[:cut]}|{code[cut + 1 :]}?" if cut > code.index("://") + 2 else ""
        return f"'{code}' was looked for as a code of '{param.code}'{meant}"
    codes = implied_systems(param, resource_type) if types == {"code"} else {}
    if codes and len(codes) <= CODES_SHOWN_MAX and code.casefold() not in map(str.casefold, codes):
        return f"'{param.code}' is one of {', '.join(sorted(codes))}; nothing has '{code}'"
    return None


def _of_system(param: SearchParam, value: TokenValue) -> str | None:
    """Of a system that is no URI, or nearly a known one."""
    system = value.system or ""
    name = "".join(filter(str.isalnum, system.casefold()))
    address = system.partition("://")[2].removeprefix("www.").rstrip("/")
    known = SYSTEMS.get(name) or _ADDRESSES.get(address)
    if known == system or (known is None and ":" in system):
        return None
    meant = f"; did you mean {known}|{value.code or ''}?" if known else ""
    return f"'{system}' was looked for as the system of '{param.code}', which is a URI{meant}"


def _written(value: TokenValue) -> str:
    return (value.code or "") if value.system is None else f"{value.system}|{value.code or ''}"
