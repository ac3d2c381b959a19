"""Searches that stand for what is stored, run as an interaction runs them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from fhirserver.interactions.call import Services
from fhirserver.interactions.meaning import understood
from fhirserver.policy.restriction import EVERYTHING, Restriction
from fhirserver.search.context import Context
from fhirserver.terminology.cache import Cache
from tests.db.search.harness import BASES, KEYS, NOW, REGISTRY, Harness, Runner, query


def services(codes_max: int = 10_000) -> Services:
    """What the meaning of a search depends on."""
    return cast(
        Services,
        SimpleNamespace(
            terminology=Cache(), own_bases=BASES, settings=SimpleNamespace(terminology_codes_max=codes_max)
        ),
    )


async def ids(
    harness: Harness, url: str, using: Services | None = None, restriction: Restriction = EVERYTHING
) -> list[str]:
    """The ids that a search finds for somebody who may see what `restriction` leaves."""
    context = Context(REGISTRY, KEYS, NOW, restriction)
    asked = await understood(harness.connection, using or services(), context, query(url))
    return [row["id"] for row in await harness.rows(asked, context=context)]


def found(runner: Runner, url: str, **more: Any) -> set[str]:
    """The same for tests that are not coroutines; nothing comes twice."""
    listed = runner.run(ids(runner.harness, url, **more))
    assert len(listed) == len(set(listed)), url
    return set(listed)
