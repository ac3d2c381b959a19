"""Patient/$match: https://hl7.org/fhir/R4/patient-operation-match.html

Candidates are found by searches of the index, as the caller may make them; each is then compared with what
was asked for. Nobody is found, counted or compared whom the caller may not see.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.db.sql import Fragment, sql
from fhirserver.errors import FhirError, Invalid, Issue
from fhirserver.fhir.reference import parse as parse_reference
from fhirserver.fhir.structure import Resource
from fhirserver.identity.blocking import Block, blocks
from fhirserver.identity.record import Record, record_of
from fhirserver.identity.score import Grade, Match, match
from fhirserver.identity.unique import Systems
from fhirserver.interactions.answer import outcome
from fhirserver.interactions.bundle import Entry, bundle, outcome_entry, search_entry
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.operations.inputs import Inputs
from fhirserver.interactions.searching import allowed, context_of, limits_of
from fhirserver.interactions.spellings import spelled
from fhirserver.search.compile import versions_statement
from fhirserver.search.context import Context
from fhirserver.search.parse import parse
from fhirserver.store import read
from fhirserver.store.version import Version

TYPE: Final = "Patient"
GRADE: Final = "http://hl7.org/fhir/StructureDefinition/match-grade"
COUNT_DEFAULT: Final = 20
BLOCK_MAX: Final = 200
"""Candidates that one search brings, the newest."""
COMPARED_MAX: Final = 50
"""Candidates that are compared before other work of the process gets its turn."""
_RID: Final = sql("r.rid")


@dataclass(frozen=True, slots=True)
class Linked:
    """A stored Patient. `links` are the ids of those that it is linked to, `replaced_by` of the one that is
    kept in its place."""

    version: Version
    links: frozenset[str]
    replaced_by: str | None


@dataclass(frozen=True, slots=True)
class Candidate(Linked):
    """One that may be the one that is described."""

    match: Match


async def match_patient(connection: Connection, call: Call, inputs: Inputs) -> Answer:
    """200 with a searchset. Raises Invalid for what nobody could be found by."""
    patient, count = _asked(inputs)
    systems = call.services.definitions.known.systems
    rids, cut = await _candidate_rids(connection, call, blocks(patient))
    versions = await read.by_rid(connection, TYPE, sorted(rids))
    found = await _compared(call, record_of(patient, systems), versions, systems)
    people = await _merged(connection, call, found)
    people.sort(key=lambda one: (-one.match.bits, one.version.id))
    notes = [_CUT] if cut else []
    if inputs.one("onlyCertainMatches"):
        people = [one for one in people if one.match.grade is Grade.CERTAIN]
        if len(people) > 1:
            people, notes = [], [*notes, _SEVERAL]
    entries = [_entry(call, one) for one in people[:count]]
    if notes:
        entries.append(outcome_entry(outcome(*notes)))
    return Answer(200, bundle("searchset", entries, total=len(people)), is_empty=not people)


_CUT: Final = Issue(
    "warning",
    "incomplete",
    f"more than {BLOCK_MAX} patients have something in common with this one, and not all were compared; more"
    " about the patient would tell which of them matter",
)
_SEVERAL: Final = Issue(
    "information", "multiple-matches", "several patients match so well that each could be the one"
)


def _asked(inputs: Inputs) -> tuple[Resource, int]:
    (patient,) = inputs.all("resource")
    if patient["resourceType"] != TYPE:
        raise Invalid(f"'resource' is a {TYPE}, not a {patient['resourceType']}")
    if not blocks(patient):
        raise Invalid(
            "this is too little to find somebody by: it takes a given and a family name, a whole birth date,"
            " an identifier or a telecom; or one name with the year of birth, the postal code or the city",
            TYPE,
        )
    count = inputs.one("count")
    if count is not None and count < 1:
        raise Invalid("'count' is at least 1")
    return patient, COUNT_DEFAULT if count is None else int(count)


# -- candidates


async def _candidate_rids(
    connection: Connection, call: Call, searched: Sequence[Block]
) -> tuple[set[int], bool]:
    """The rows that any of the searches brings, and whether there were too many.

    A statement for each, as these are of few shapes, which stay prepared.
    """
    context, rids, cut = context_of(call), set[int](), False
    for block in searched:
        statement = _statement(call, context, block)
        if statement is None:
            continue
        text, args = statement.numbered()
        found = [record[0] for record in await connection.fetch(text, *args)]
        cut = cut or len(found) > BLOCK_MAX
        rids.update(found[:BLOCK_MAX])
    return rids, cut


def _statement(call: Call, context: Context, block: Block) -> Fragment | None:
    """None where a name has nothing to search by, such as one of punctuation alone."""
    try:
        known = call.services.definitions.known
        query = spelled(parse(known.registry, limits_of(call.services), TYPE, block), known.systems)
        return versions_statement(query, context, _RID, BLOCK_MAX + 1)
    except FhirError:
        return None


async def _compared(
    call: Call, asked: Record, versions: Sequence[Version], systems: Systems
) -> list[Candidate]:
    """Those that may be the one."""
    found: list[Candidate] = []
    for number, version in enumerate(versions, 1):
        if number % COMPARED_MAX == 0:
            await asyncio.sleep(0)
        patient = version.resource()
        how = match(asked, record_of(patient, systems))
        if how.grade is not Grade.CERTAINLY_NOT:
            linked = _linked(call, version, patient)
            found.append(Candidate(version, linked.links, linked.replaced_by, how))
    return found


def _linked(call: Call, version: Version, patient: Resource) -> Linked:
    links: list[dict[str, Any]] = patient.get("link", [])
    ids = [(link.get("type"), _id_of(call, link.get("other", {}))) for link in links]
    replaced_by = next((id_ for type_, id_ in ids if type_ == "replaced-by" and id_), None)
    return Linked(version, frozenset(id_ for _, id_ in ids if id_), replaced_by)


def _id_of(call: Call, other: dict[str, Any]) -> str | None:
    """The id of a Patient here."""
    reference = parse_reference(other.get("reference", ""), call.services.own_bases)
    return reference.id if reference.is_local and reference.type == TYPE else None


# -- linked records are one candidate


async def _merged(connection: Connection, call: Call, found: Sequence[Candidate]) -> list[Candidate]:
    """One candidate for each group of linked records: the one that is kept, with the best match of all."""
    by_id = {one.version.id: one for one in found}
    kept = await _kept(connection, call, by_id)
    linked = [{one.version.id, *one.links} for one in (*found, *kept.values())]
    members = [[by_id[id_] for id_ in sorted(group & by_id.keys())] for group in _groups(linked)]
    return [_standing(some, {**by_id, **kept}) for some in members if some]


async def _kept(connection: Connection, call: Call, by_id: Mapping[str, Linked]) -> dict[str, Linked]:
    """Those beside the candidates that are kept in their place, or in the place of these, step by step."""
    kept: dict[str, Linked] = {}
    missing = {one.replaced_by for one in by_id.values() if one.replaced_by} - by_id.keys()
    while missing:
        current = await _current(connection, call, missing)
        added = {id_: _linked(call, one, one.resource()) for id_, one in current.items()}
        kept |= added
        missing = {one.replaced_by for one in added.values() if one.replaced_by} - by_id.keys() - kept.keys()
    return kept


async def _current(connection: Connection, call: Call, ids: set[str]) -> dict[str, Version]:
    """Those of the Patients that are there and that the caller may see."""
    if not ids:
        return {}
    found = await read.latest_of(connection, call.services.tenant, TYPE, sorted(ids), allowed(call, "s"))
    return {id_: version for id_, version in found.items() if not version.deleted}


def _groups(linked: Iterable[set[str]]) -> list[set[str]]:
    """The ids of records with those of what they are linked to; those that share any are one group."""
    groups: list[set[str]] = []
    for one in linked:
        joined = [other for other in groups if other & one]
        groups = [other for other in groups if not other & one]
        groups.append(one.union(*joined))
    return groups


def _standing(members: Sequence[Candidate], known: Mapping[str, Linked]) -> Candidate:
    """The best match, as the version that is kept: the best of those that nobody replaces, or else the one to
    which links lead."""
    best = max(members, key=_bits)
    standing = [one for one in members if one.replaced_by is None]
    if standing:
        return replace(best, version=max(standing, key=_bits).version)
    survivors = [last for last in (_last(one, known) for one in members) if last.replaced_by is None]
    return replace(best, version=survivors[0].version) if survivors else best


def _last(one: Linked, known: Mapping[str, Linked]) -> Linked:
    """The one that is kept in the end, as far as that is known; links that go round end somewhere."""
    seen = {one.version.id}
    while one.replaced_by is not None and one.replaced_by in known and one.replaced_by not in seen:
        one = known[one.replaced_by]
        seen.add(one.version.id)
    return one


def _bits(candidate: Candidate) -> float:
    return candidate.match.bits


def _entry(call: Call, one: Candidate) -> Entry:
    grade = {"url": GRADE, "valueCode": one.match.grade.code}
    return search_entry(call.base, one.version, "match", [grade], score=round(one.match.score, 6))
