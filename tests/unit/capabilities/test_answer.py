"""The interaction: modes, refusals, and what a client that has the statement is told."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from fhirserver.errors import FhirError
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.capabilities import capabilities
from fhirserver.interactions.headers import Handling, Prefer
from fhirserver.params.entries import Entries
from fhirserver.params.registry import r4
from fhirserver.settings import Settings
from fhirserver.store.definitions import Known

BASE = "https://example.org/fhir"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def answer(*query: tuple[str, str], **more: Any) -> Answer:
    known = Known(0, r4(), lambda *_: Entries())
    services: Any = SimpleNamespace(settings=Settings(), definitions=SimpleNamespace(known=known))
    return capabilities(Call(services, "capabilities", BASE, NOW, query=query, **more))


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ([("mode", "all")], "full, normative, terminology"),
        ([("mode", "full"), ("mode", "full")], "twice"),
        ([("mod", "full")], "it has mode"),
        ([("mode", "")], "full, normative, terminology"),
    ],
)
def test_what_means_nothing_is_refused_with_what_would(query: list[tuple[str, str]], words: str) -> None:
    with pytest.raises(FhirError, match=words) as refused:
        answer(*query)
    assert refused.value.status == 400


def test_the_lenient_get_the_statement_all_the_same() -> None:
    whole = answer()
    lenient = answer(("mod", "full"), prefer=Prefer(handling=Handling.LENIENT))
    assert (lenient.status, lenient.body) == (200, whole.body)


def test_parameters_that_shape_any_answer_are_allowed() -> None:
    query = [("_format", "json"), ("_pretty", "true"), ("_summary", "true"), ("_elements", "rest")]
    assert (answer(*query)).status == 200


def test_who_has_it_is_told_so() -> None:
    etag = (answer()).headers["ETag"]
    for header in (etag, f'W/"other", {etag}', etag.removeprefix("W/"), "*"):
        again = answer(if_none_match=header)
        assert (again.status, again.body, again.headers["ETag"]) == (304, None, etag)
    assert (answer(if_none_match='W/"other"')).status == 200
    assert (answer(("mode", "normative"), if_none_match=etag)).status == 200
