"""$docref, the documents of a patient: http://hl7.org/fhir/us/core/OperationDefinition/docref

What is stored is given; no document is made on demand. With dates, all about care in that time. Without, the
current document of each type that is asked for, or of each that there is. The answer is that of a search
of DocumentReference, whose self link says which.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.db.sql import sql
from fhirserver.errors import Invalid, Issue
from fhirserver.fhir import json
from fhirserver.interactions.answer import outcome
from fhirserver.interactions.bundle import Link, bundle, outcome_entry
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.operations.inputs import SHAPING, Inputs
from fhirserver.interactions.search import search
from fhirserver.interactions.searching import context_of, limits_of
from fhirserver.params.text import escape
from fhirserver.search.compile import versions_statement
from fhirserver.search.page import link
from fhirserver.search.parse import parse

DOCUMENTS_MAX: Final = 10_000
"""Of a patient's current documents, the newest ones among which the first of each type is looked for."""
_TYPE: Final = "DocumentReference"

Params = list[tuple[str, str]]


async def docref(connection: Connection, call: Call, inputs: Inputs) -> Answer:
    """200 with a searchset, empty for a patient who is not known. Raises Invalid for a type without code."""
    params: Params = [("patient", str(inputs.one("patient")))]
    if types := [_token(one) for one in inputs.all("type")]:
        params.append(("type", ",".join(types)))
    if profiles := inputs.all("profile"):
        params.append(("format", ",".join(map(escape, profiles))))
    if inputs.one("on-demand"):
        return _nothing_on_demand(call, params)
    dates = [
        ("period", f"{prefix}{value}")
        for prefix, name in (("ge", "start"), ("le", "end"))
        if (value := inputs.one(name)) is not None
    ]
    if dates:
        params += [("status:not", "entered-in-error"), *dates]
    else:
        params.append(("status", "current"))
        if newest := await _newest_of_each_type(connection, call, params):
            params.append(("_id", ",".join(newest)))
    shaping = [pair for pair in call.query if pair[0] in SHAPING]
    return await search(connection, replace(call, query=(*params, *shaping), path=_TYPE))


def _token(value: Any) -> str:
    """The alternatives of a Coding or CodeableConcept as a search of tokens."""
    codings = value.get("coding", ()) if "coding" in value else [value]
    found = [
        f"{escape(coding['system'])}|{escape(coding['code'])}"
        if "system" in coding
        else escape(coding["code"])
        for coding in codings
        if "code" in coding
    ]
    if not found:
        raise Invalid("'type' of $docref has no code, as in http://loinc.org|34133-9")
    return ",".join(found)


async def _newest_of_each_type(connection: Connection, call: Call, params: Params) -> list[str]:
    """The ids of the matches that are the first of their type in the default order: the newest first."""
    services = call.services
    query = parse(services.registry, limits_of(services), _TYPE, params)
    columns = sql("r.id, r.content->'type' AS type")
    text, args = versions_statement(query, context_of(call), columns, DOCUMENTS_MAX).numbered()
    rows = [(row["id"], row["type"]) for row in await connection.fetch(text, *args)]
    return list(_first_of_each(rows))[: limits_of(services).or_values_max]


def _first_of_each(rows: Sequence[tuple[str, str | None]]) -> Iterator[str]:
    """The ids of those that share no coding with one before them."""
    seen: set[tuple[str | None, str | None]] = set()
    for id_, text in rows:
        concept = json.loads(text.encode()) if text is not None else {}
        codings = {(one.get("system"), one.get("code")) for one in concept.get("coding", ())}
        kinds = codings or {(None, concept.get("text"))}
        if seen.isdisjoint(kinds):
            yield id_
        seen |= kinds


def _nothing_on_demand(call: Call, params: Params) -> Answer:
    """What the definition asks of a server that cannot generate a document."""
    issue = Issue("information", "informational", "this server keeps documents and generates none on demand")
    found = [Link("self", link(call.base, f"{_TYPE}/$docref", (*params, ("on-demand", "true"))))]
    return Answer(200, bundle("searchset", [outcome_entry(outcome(issue))], found, total=0))
