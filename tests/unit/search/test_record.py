"""The statement of a page of a record: planning it is expensive, so there are to be few of them."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from fhirserver.fhir.keys import Keys
from fhirserver.params.date import parse
from fhirserver.params.registry import r4
from fhirserver.policy.access import restriction_of
from fhirserver.policy.principal import Principal
from fhirserver.policy.restriction import EVERYTHING, Restriction
from fhirserver.policy.roles import DEFAULTS, roles
from fhirserver.policy.scopes import parse_all
from fhirserver.search.context import Context
from fhirserver.search.page import Cursor
from fhirserver.search.record import Record, statement
from fhirserver.search.snapshot import Committed
from fhirserver.store.version import COLUMNS

PREPARED_MAX = 15 * 1024
"""Length of the statements that asyncpg keeps prepared."""
PLACES = (
    None,
    Cursor("1:1:", 0, 0, (0, 7), 5),
    Cursor("1:1:", 0, 0, (1, 7), 5),
    Cursor("1:1:", 0, 0, (2, 7), 5),
    Cursor("1:1:", 0, 0, (1, 7), 5, reverse=True),
    Cursor("1:1:", 0, 0, (2, 7), 5, reverse=True),
)
WHOLE = Record("Patient", "p", 50)


def text(record: Record, place: Cursor | None, restriction: Restriction = EVERYTHING) -> str:
    snapshot = None if place is None else Committed("1:1:")
    bases = ("http://one.example/fhir", "http://two.example/fhir")
    context = Context(r4(), Keys(b"k" * 32, 1), 0, restriction, snapshot)
    context = replace(context, reading=replace(context.reading, own_bases=bases))
    return statement(record, context, COLUMNS, place).numbered()[0]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "asked",
    [
        {"id": "other"},
        {"count": 3},
        {"count": 100},
        {"types": frozenset({"Observation"})},
        {"types": frozenset({"Practitioner", "Device"})},
        {"since": datetime(2020, 1, 1, tzinfo=UTC)},
        {"start": parse("ge2020", UTC)},
        {"end": parse("le2020-01-02", UTC), "start": parse("ge2020", UTC)},
    ],
)
def test_what_is_asked_for_does_not_change_it(place: Cursor | None, asked: dict[str, Any]) -> None:
    assert text(replace(WHOLE, **asked), place) == text(WHOLE, place)


def principal(role: str) -> Principal:
    user = ("Patient", "p") if role == "patient" else ("Practitioner", "d")
    return Principal("x", parse_all(["user/*.rs"]), "app", user, own=("p",), roles=(roles()[role],), grant=1)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("role", DEFAULTS)
def test_it_is_short_enough_to_stay_prepared(place: Cursor | None, role: str) -> None:
    seen = restriction_of(principal(role))
    for record in (WHOLE, replace(WHOLE, dated=True), Record("Encounter", "e", 50)):
        assert len(text(record, place, seen)) <= PREPARED_MAX
