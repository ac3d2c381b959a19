"""Where the references of stored resources come from, by what merges did to them and their versions since."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from itertools import groupby
from typing import Final

from fhirserver.db.pool import Connection
from fhirserver.identity.moving import Identity
from fhirserver.identity.origins import Fact, Origins, traced
from fhirserver.interactions.call import Services
from fhirserver.store import merges, read
from fhirserver.store.version import Draft, Version

BETWEEN_PAUSES: Final = 20
"""Resources that are worked on before other requests of this process get their turn."""


async def turn(number: int) -> None:
    """Let other requests of this process have their turn now and then."""
    if number % BETWEEN_PAUSES == BETWEEN_PAUSES - 1:
        await asyncio.sleep(0)


async def origins_of(
    connection: Connection, services: Services, identities: Iterable[Identity]
) -> list[tuple[Version, Origins]]:
    """The latest versions of those of the resources in which merges moved something, with where their
    references come from; a deletion has none."""
    ids: dict[str, list[str]] = defaultdict(list)
    for type_, id_ in identities:
        ids[type_].append(id_)
    found: list[tuple[Version, Origins]] = []
    for type_ in sorted(ids):
        facts = await merges.facts(connection, services.tenant, type_, ids[type_])
        first = {id_: min(by_version) for id_, by_version in facts.items()}
        versions = await read.since(connection, services.tenant, type_, first)
        for number, (id_, own) in enumerate(groupby(versions, lambda version: version.id)):
            await turn(number)
            found.append(_traced(list(own), facts[id_]))
    return found


def _traced(versions: list[Version], facts: dict[int, list[Fact]]) -> tuple[Version, Origins]:
    steps = (
        (None if version.deleted else version.resource(), facts.get(version.version, ()))
        for version in versions
    )
    return versions[-1], traced(steps)


async def unless_repeated(
    connection: Connection, services: Services, made: Draft | None, current: Version
) -> Draft | None:
    """What an author wrote, unless it repeats the current version, as what it refers to was merged, and the
    references that were moved came from there before, too."""
    if made is None or not made.repeats:
        return made
    said: dict[str, list[str]] = defaultdict(list)
    for move in made.followed:
        for place in move.places:
            said[place.pointer].append(place.said)
    found = await origins_of(connection, services, [(current.type, current.id)])
    known = found[0][1] if found else {}
    are_known = all(
        [[step.said for step in trail] for trail in known.get(pointer, ())] == [texts]
        for pointer, texts in said.items()
    )
    return None if are_known else made
