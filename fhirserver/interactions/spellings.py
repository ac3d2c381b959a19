"""Identifier systems with several names: a search by one of them is by all.

Which are names of one system says a NamingSystem that declares it to be unique or to have check digits.
https://hl7.org/fhir/R4/namingsystem.html, docs/how-to/identifiers.md
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fhirserver.identity.unique import Systems
from fhirserver.params.facts import node_types
from fhirserver.params.kinds import Value
from fhirserver.params.text import escape, split, unescape
from fhirserver.params.token import TokenValue
from fhirserver.search.query import Clause, SearchQuery
from fhirserver.search.rewrite import changed

Names = Mapping[str, tuple[str, ...]]
"""All names of a system, by each of them."""


def spelled(query: SearchQuery, systems: Systems) -> SearchQuery:
    """The search, wherever it names such a system in an identifier, with all its names."""
    names = systems.names
    if not names:
        return query
    return changed(query, lambda of, clause: _spelled(of, clause, names))


def _spelled(resource_type: str, clause: Clause, names: Names) -> Clause:
    if not _is_by_identifier(resource_type, clause):
        return clause
    values = tuple(dict.fromkeys(one for value in clause.values for one in _alternatives(value, names)))
    return Clause(clause.param, clause.modifier, values)


def _is_by_identifier(resource_type: str, clause: Clause) -> bool:
    """Whether its values are alternatives that name systems of identifiers. `ne` of a filter has none."""
    if clause.param.type == "reference":
        return clause.modifier == "identifier"
    if clause.param.type != "token" or clause.modifier not in (None, "not", "eq"):
        return False
    return "Identifier" in node_types(clause.param, resource_type)


def _alternatives(value: Value, names: Names) -> Iterator[Value]:
    if not isinstance(value, TokenValue) or value.system is None:
        yield value
        return
    for name in names.get(value.system, (value.system,)):
        yield TokenValue(name, value.code)


def first_spelling(text: str, systems: Systems) -> str:
    """The values of a parameter, the same text whichever names of systems they have: what locks go by."""
    if not systems.names:
        return text
    return ",".join(_first(part, systems.names) for part in split(text, ","))


def _first(part: str, names: Names) -> str:
    system, *rest = split(part, "|")
    known = names.get(unescape(system))
    return part if known is None else "|".join([escape(known[0]), *rest])
