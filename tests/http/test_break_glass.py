"""Breaking the glass: who may, with a reason, about whom, and until when."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from structlog.testing import CapturingLogger

from fhirserver.interactions.glass import LIFETIME
from tests.support.callers import Granted, granted
from tests.support.consents import World, consent, enforcing, observation, purpose

pytestmark = pytest.mark.asyncio(loop_scope="module")

GLASS = {"X-Purpose-Of-Use": "BTG"}
REASON = "unconscious in the emergency room"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(database: str) -> AsyncIterator[World]:
    async with enforcing(database) as made:
        yield made


@dataclass
class Glass:
    """The world with bert's and carl's records closed."""

    world: World

    async def broken(self, who: Granted, reason: str | None = REASON, patient: str | None = None) -> Any:
        parameter: list[dict[str, Any]] = []
        if reason is not None:
            parameter.append({"name": "reason", "valueString": reason})
        if patient is not None:
            parameter.append({"name": "patient", "valueReference": {"reference": patient}})
        body = {"resourceType": "Parameters", "parameter": parameter}
        return await self.world.ask(who, "POST", "/$break-glass", body)

    async def seen(self, who: Granted) -> set[str]:
        return await self.world.ids(who, "/Patient", **GLASS)

    async def rows(self) -> list[asyncpg.Record]:
        return await self.sql("SELECT * FROM broken_glass ORDER BY begun")

    async def pass_by(self, time: timedelta) -> None:
        await self.sql(
            "UPDATE broken_glass SET begun = begun - $1::interval, ends = ends - $1::interval", time
        )

    async def sql(self, statement: str, *args: Any) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.world.dsn)
        try:
            return await connection.fetch(statement, *args)
        finally:
            await connection.close()


@pytest_asyncio.fixture(loop_scope="module")
async def glass(world: World) -> AsyncIterator[Glass]:
    ids = [await world.agreed(consent(name, "OPTOUT")) for name in ("bert", "carl")]
    made = Glass(world)
    yield made
    await made.sql("DELETE FROM broken_glass")
    for id_ in ids:
        await world.revoke(id_)


async def test_the_purpose_alone_opens_nothing(world: World, glass: Glass) -> None:
    answer = await world.ask(world.doctor, "GET", "/Patient/bert", **GLASS)
    assert answer.status_code == 403
    assert "$break-glass" in answer.json()["issue"][0]["diagnostics"]
    assert await glass.rows() == []


async def test_it_lifts_denials_of_all(world: World, glass: Glass) -> None:
    answer = await glass.broken(world.doctor)
    assert answer.status_code == 200, answer.text
    assert await glass.seen(world.doctor) == {"anna", "bert", "carl"}
    assert (await world.ask(world.doctor, "GET", "/Observation/obs-bert", **GLASS)).status_code == 200
    assert await world.ids(world.doctor, "/Patient") == {"anna"}, "not for another purpose"


async def test_it_lifts_denials_of_one_patient(world: World, glass: Glass) -> None:
    assert (await glass.broken(world.doctor, patient="Patient/bert")).status_code == 200
    assert await glass.seen(world.doctor) == {"anna", "bert"}
    assert await world.ids(world.doctor, "/Observation", **GLASS) == {"obs-anna", "obs-bert"}
    assert (await world.ask(world.doctor, "GET", "/Observation/obs-carl", **GLASS)).status_code == 404
    history = await world.ids(world.doctor, "/_history?_count=1000", **GLASS)
    assert "obs-bert" in history
    assert "obs-carl" not in history
    assert (await glass.broken(world.doctor, patient="Patient/carl")).status_code == 200
    assert await glass.seen(world.doctor) == {"anna", "bert", "carl"}


async def test_all_of_the_patients_record_opens(world: World, glass: Glass) -> None:
    """Also what lies in the compartments of a practitioner and an encounter besides."""
    await glass.broken(world.doctor)
    encounter = {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": "Patient/bert"},
        "participant": [{"individual": {"reference": "Practitioner/e"}}],
    }
    made = await world.ask(world.doctor, "POST", "/Encounter", encounter, **GLASS)
    assert made.status_code == 201, made.text
    await glass.sql("DELETE FROM broken_glass")
    await glass.broken(world.doctor, patient="Patient/bert")
    path = f"/Encounter/{made.json()['id']}"
    assert (await world.ask(world.doctor, "GET", path)).status_code == 404
    assert (await world.ask(world.doctor, "GET", path, **GLASS)).status_code == 200


async def test_what_is_about_two_patients_needs_both(world: World, glass: Glass) -> None:
    both = {
        "resourceType": "Appointment",
        "status": "booked",
        "participant": [
            {"actor": {"reference": f"Patient/{name}"}, "status": "accepted"} for name in ("bert", "carl")
        ],
        "start": "2024-01-01T10:00:00Z",
        "end": "2024-01-01T11:00:00Z",
    }
    await glass.broken(world.doctor)
    made = await world.ask(world.doctor, "POST", "/Appointment", both, **GLASS)
    assert made.status_code == 201, made.text
    await glass.sql("DELETE FROM broken_glass")
    path = f"/Appointment/{made.json()['id']}"
    for name, status in (("bert", 404), ("carl", 200)):
        await glass.broken(world.doctor, patient=f"Patient/{name}")
        assert (await world.ask(world.doctor, "GET", path, **GLASS)).status_code == status


async def test_bundles_see_by_it(world: World, glass: Glass) -> None:
    await glass.broken(world.doctor, patient="Patient/bert")
    for kind in ("batch", "transaction"):
        entry = [
            {"request": {"method": "GET", "url": "Observation/obs-bert"}},
            {"request": {"method": "GET", "url": "Patient?_count=9"}},
        ]
        bundle = {"resourceType": "Bundle", "type": kind, "entry": entry}
        answer = await world.ask(world.doctor, "POST", "", bundle, **GLASS)
        assert answer.status_code == 200, answer.text
        first, second = answer.json()["entry"]
        assert first["resource"]["id"] == "obs-bert"
        found = {one["resource"]["id"] for one in second["resource"]["entry"]}
        assert found == {"anna", "bert"}


async def test_who_excludes_it_stays_closed(world: World, glass: Glass) -> None:
    strict = await world.agreed(consent("bert", "OPTIN", type="deny", purpose=purpose("BTG")))
    await glass.broken(world.doctor)
    assert await glass.seen(world.doctor) == {"anna", "carl"}
    await world.revoke(strict)


async def test_only_for_who_may(world: World, glass: Glass) -> None:
    for who in (world.admin, world.patient):
        assert (await glass.broken(who)).status_code == 403
        answer = await world.ask(who, "GET", "/Patient/bert", **GLASS)
        assert answer.status_code == 403
        assert "may claim" in answer.json()["issue"][0]["diagnostics"]
    assert await glass.rows() == []


async def test_a_token_that_serves_purposes_serves_no_other(world: World, glass: Glass) -> None:
    who = {"user": ("Practitioner", "d"), "roles": ("practitioner",)}
    treating = await granted(world.dsn, "user/*.rs", purposes=("TREAT",), **who)
    answer = await glass.broken(treating)
    assert (answer.status_code, await glass.rows()) == (403, [])
    rescuing = await granted(world.dsn, "user/*.rs", purposes=("BTG",), **who)
    assert (await world.ask(rescuing, "GET", "/Patient/bert")).status_code == 403
    assert (await glass.broken(rescuing)).status_code == 200
    assert (await world.ask(rescuing, "GET", "/Patient/bert")).status_code == 200
    assert (await world.ask(treating, "GET", "/Patient/bert", **GLASS)).status_code == 403


async def test_nor_does_one_that_reads_nobodys_record(world: World, glass: Glass) -> None:
    who = {"user": ("Practitioner", "d"), "roles": ("practitioner",)}
    for scope, status in (("user/Slot.r", 403), ("user/Observation.c", 403), ("user/Observation.r", 200)):
        answer = await glass.broken(await granted(world.dsn, scope, **who))
        assert answer.status_code == status, (scope, answer.text)


@pytest.mark.parametrize("blank", ["\u200b", "\u2060", "\u00a0", "\u00ad", "\ufeff"])
async def test_what_nobody_reads_is_no_reason(world: World, glass: Glass, blank: str) -> None:
    answer = await glass.broken(world.doctor, "x" + blank * 20)
    assert (answer.status_code, await glass.rows()) == (400, [])


async def test_it_is_ones_own(world: World, glass: Glass) -> None:
    await glass.broken(world.doctor)
    assert (await world.ask(world.other, "GET", "/Patient/bert", **GLASS)).status_code == 403


async def test_never_beyond_what_was_granted(world: World, glass: Glass) -> None:
    reader = await granted(world.dsn, "user/Patient.rs", user=("Practitioner", "d"), roles=("practitioner",))
    assert (await glass.broken(reader)).status_code == 200
    assert "bert" in await glass.seen(reader)
    assert (await world.ask(reader, "GET", "/Observation/obs-bert", **GLASS)).status_code == 403
    update = {"resourceType": "Patient", "id": "bert", "active": False}
    assert (await world.ask(reader, "PUT", "/Patient/bert", update, **GLASS)).status_code == 403


async def test_it_takes_a_reason_and_a_patient_if_any(world: World, glass: Glass) -> None:
    for reason in (None, "", "urgent", "   urgent    "):
        assert (await glass.broken(world.doctor, reason)).status_code == 400, reason
    for patient in ("Observation/obs-bert", "urn:uuid:1", "Patient"):
        assert (await glass.broken(world.doctor, patient=patient)).status_code == 400, patient
    assert (await world.ask(world.doctor, "GET", f"/$break-glass?reason={REASON}")).status_code == 405
    assert await glass.rows() == []


async def test_it_ends_by_the_clock(world: World, glass: Glass) -> None:
    answer = await glass.broken(world.doctor)
    until = datetime.fromisoformat(answer.json()["parameter"][0]["valueInstant"])
    [row] = await glass.rows()
    assert timedelta() < row["ends"] - row["begun"] <= LIFETIME + timedelta(seconds=1)
    assert abs(until - row["ends"]) < timedelta(seconds=1)
    await glass.pass_by(LIFETIME - timedelta(minutes=1))
    assert "bert" in await glass.seen(world.doctor)
    await glass.pass_by(timedelta(minutes=2))
    assert (await world.ask(world.doctor, "GET", "/Patient/bert", **GLASS)).status_code == 403


async def test_nothing_prolongs_it(world: World, glass: Glass) -> None:
    """Neither requests nor asking again; what begins after its end is another, and recorded."""
    first = await glass.broken(world.doctor)
    await glass.seen(world.doctor)
    again = await glass.broken(world.doctor, "a second reason for it")
    assert again.json() == first.json()
    assert len(await glass.rows()) == 1
    await glass.pass_by(LIFETIME)
    assert (await world.ask(world.doctor, "GET", "/Patient/bert", **GLASS)).status_code == 403
    assert (await glass.broken(world.doctor, "a second reason for it")).status_code == 200
    assert [row["reason"] for row in await glass.rows()] == [REASON, "a second reason for it"]
    assert "bert" in await glass.seen(world.doctor)


async def test_it_is_recorded_and_logged(world: World, glass: Glass, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = CapturingLogger()
    monkeypatch.setattr("fhirserver.interactions.glass._logger", logger)
    await glass.broken(world.doctor, patient="Patient/bert")
    [row] = await glass.rows()
    assert (row["patient"], row["reason"], row["purpose"]) == ("bert", REASON, "BTG")
    assert "Practitioner/d" in row["who"]
    [line] = logger.calls
    assert line.args == ("glass_broken",)
    assert (line.kwargs["user"], line.kwargs["everybody"]) == ("Practitioner/d", False)
    assert "bert" not in str(line), "neither whose record it is"
    assert REASON not in str(line), "nor the reason"


async def test_what_is_written_under_it_is_ones_own_to_write(world: World, glass: Glass) -> None:
    await glass.broken(world.doctor)
    answer = await world.ask(world.doctor, "POST", "/Observation", observation("x", "bert"), **GLASS)
    assert answer.status_code == 201, answer.text
    closed = await world.ask(world.doctor, "POST", "/Observation", observation("x", "bert"))
    assert closed.status_code == 403
