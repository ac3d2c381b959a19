"""An event that is made of a template is the one that is made as a whole, in text and in entries."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
import pytest_asyncio

from fhirserver.app import open_services
from fhirserver.interactions.audit import template
from fhirserver.interactions.call import Services
from fhirserver.interactions.draft import own_draft
from fhirserver.policy.audit import SUCCESS, Asker, Deed, Happening, Outcome, Site, Subject, codes
from fhirserver.policy.principal import OPEN, Principal, Role
from tests.support.server import settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOCTOR = Principal("d", client="app", user=("Practitioner", "p"), roles=(Role("nurse", ()),))
ANNA = Principal("a", client="App", user=("Patient", "anna"), roles=(Role("patient", ()),))
DATA: tuple[tuple[str, ...], ...] = (
    (),
    ("Observation",),
    ("Observation/o-1",),
    ("Observation/o-1/_history/12",),
    ("Patient/anna/_history/3",),
    ("Practitioner/p",),
)
AT = datetime(2026, 11, 21, 10, 11, 12, 345678, tzinfo=UTC)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def services(database: str) -> AsyncIterator[Services]:
    made = await open_services(settings_for(database, audit="on", base_url="http://test/fhir"))
    try:
        yield made
    finally:
        await made.pool.close()


def happenings() -> list[Happening]:
    site = Site("http://test/fhir", "http://test/auth/client")
    deeds = [
        Deed("R", (codes.interaction("read"),)),
        Deed("C", (codes.interaction("create"), codes.interaction("update"))),
        Deed("E", (codes.interaction("operation"), codes.Coding(codes.OPERATION, "everything"))),
        Deed("E", (codes.LOGIN,), codes.AUTHENTICATION),
    ]
    askers = [
        Asker(OPEN, "10.0.0.1"),
        Asker(DOCTOR, "2001:db8::1", "TREAT"),
        Asker(ANNA, "10.0.0.2", "BTG", "a reason of some length"),
        Asker(OPEN),
    ]
    made = product(askers, deeds, (SUCCESS, Outcome("4", "404 Not Found")), DATA, (None, "Patient/anna"))
    return [
        Happening(site, asker, deed, outcome, Subject(patient, data, query), AT, request)
        for asker, deed, outcome, data, patient in made
        for request in (None, "request-1")
        for query in ([None, "Observation?code=x&date=ge2020+é"] if deed.action == "E" else [None])
    ]


async def test_templates_give_what_indexing_as_a_whole_gives(services: Services) -> None:
    used = 0
    for told in happenings():
        for one in (told, replace(told, at=AT + timedelta(days=100, microseconds=3))):
            fast, slow = template.event_draft(services, one), own_draft(services, one.resource())
            used += template._template(services, one) is not None
            assert json.loads(fast.content) == json.loads(slow.content)
            assert (fast.meta, fast.known, fast.type) == (slow.meta, slow.known, slow.type)
            assert _plain(fast.entries) == _plain(slow.entries), one
    assert used > len(happenings())


def _plain(entries: Any) -> dict[str, Any]:
    lists = {name: sorted(getattr(entries, name)) for name in ("compartments", "tok", "str", "dat", "qty")}
    rest = {name: getattr(entries, name) for name in ("ptk", "ord", "d_lo", "d_hi", "word", "words")}
    return lists | rest | {"keys": (entries.keys[0], sorted(entries.keys[1:]))}


async def test_what_is_not_plain_text_takes_the_long_way(services: Services) -> None:
    told = replace(happenings()[0], subject=Subject(None, ('Observation/"x',)))
    entity = json.loads(template.event_draft(services, told).content)["entity"]
    assert entity[-1]["what"]["reference"] == 'Observation/"x'
