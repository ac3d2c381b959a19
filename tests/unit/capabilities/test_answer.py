"""The interaction: modes, refusals, and what a client that has the statement is told."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from fhirserver.errors import FhirError
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.capabilities import capabilities
from fhirserver.interactions.headers import Handling, Prefer
from fhirserver.params.registry import r4
from fhirserver.settings import Settings

BASE = "https://example.org/fhir"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def answer(*query: tuple[str, str], **more: Any) -> Answer:
    services: Any = SimpleNamespace(settings=Settings(), registry=r4())
    connection: Any = None  # the statement is made of what is in memory
    return await capabilities(connection, Call(services, "capabilities", BASE, NOW, query=query, **more))


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ([("mode", "all")], "full, normative, terminology"),
        ([("mode", "full"), ("mode", "full")], "twice"),
        ([("mod", "full")], "it has mode"),
        ([("mode", "")], "full, normative, terminology"),
    ],
)
async def test_what_means_nothing_is_refused_with_what_would(
    query: list[tuple[str, str]], words: str
) -> None:
    with pytest.raises(FhirError, match=words) as refused:
        await answer(*query)
    assert refused.value.status == 400


async def test_the_lenient_get_the_statement_all_the_same() -> None:
    whole = await answer()
    lenient = await answer(("mod", "full"), prefer=Prefer(handling=Handling.LENIENT))
    assert (lenient.status, lenient.body) == (200, whole.body)


async def test_parameters_that_shape_any_answer_are_allowed() -> None:
    query = [("_format", "json"), ("_pretty", "true"), ("_summary", "true"), ("_elements", "rest")]
    assert (await answer(*query)).status == 200


async def test_who_has_it_is_told_so() -> None:
    etag = (await answer()).headers["ETag"]
    for header in (etag, f'W/"other", {etag}', etag.removeprefix("W/"), "*"):
        again = await answer(if_none_match=header)
        assert (again.status, again.body, again.headers["ETag"]) == (304, None, etag)
    assert (await answer(if_none_match='W/"other"')).status == 200
    assert (await answer(("mode", "normative"), if_none_match=etag)).status == 200
