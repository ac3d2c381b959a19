"""Dates that users of other servers could not find."""

import httpx
import pytest

from tests.http.support import created, found, put
from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient


def slot(id_: str, start: str) -> dict[str, object]:
    return {
        "resourceType": "Slot",
        "id": id_,
        "schedule": {"reference": "Schedule/1"},
        "status": "free",
        "start": start,
        "end": "2019-03-12T00:00:00-08:00",
    }


async def ids(http: Http, search: str) -> set[str]:
    return {one["id"] for one in await found(http, search)}


SLOTS = {
    "first": "2019-03-08T00:00:00-08:00",
    "morning": "2019-03-08T10:00:00-08:00",
    "night": "2019-03-08T23:59:59-08:00",
    "next": "2019-03-09T00:00:00-08:00",
    "abroad": "2019-03-09T08:30:00+01:00",  # in Seattle still the evening before
}


@pytest.mark.parametrize("machine", ["UTC", "America/Los_Angeles", "Asia/Tokyo"])
async def test_days_are_off_by_the_time_zone_hapi_fhir_1334(
    database: str, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slot in Seattle is found on its day where the server is set to Seattle's time, whatever the machine's
    clock and PostgreSQL's say; with a zone of its own a search needs no setting."""
    monkeypatch.setenv("TZ", machine)
    monkeypatch.setenv("PGTZ", machine)
    async with serving(database, time_zone="America/Los_Angeles") as http:
        for id_, start in SLOTS.items():
            await put(http, slot(id_, start))
        day = {"first", "morning", "night", "abroad"}
        assert await ids(http, "Slot?start=2019-03-08") == day
        assert await ids(http, "Slot?start=ge2019-03-08&start=lt2019-03-09") == day
        assert await ids(http, "Slot?start=2019-03-09") == {"next"}
        assert await ids(http, "Slot?start=2019-03-08T10:00:00-08:00") == {"morning"}
        assert await ids(http, "Slot?start=2019-03-08T18:00:00Z") == {"morning"}
        assert await ids(http, "Slot?start=2019-03-08T10:00:00") == {"morning"}
        assert await ids(http, "Slot?start=gt2019-03-08T23:30:00-08:00") == {"night", "next"}


async def test_a_birth_date_has_no_zone(database: str) -> None:
    """The day that is written is the day that is found, east and west."""
    for zone in ("Pacific/Auckland", "America/Los_Angeles", "UTC"):
        async with serving(database, time_zone=zone) as http:
            born = {"resourceType": "Patient", "id": f"born-{zone[:3].lower()}", "birthDate": "1974-12-25"}
            await put(http, born)
            for search in ("1974-12-25", "ge1974-12-25&birthdate=le1974-12-25", "1974-12"):
                assert await ids(http, f"Patient?birthdate={search}&_id={born['id']}") == {born["id"]}
            for search in ("1974-12-24", "1974-12-26", "gt1974-12-25", "lt1974-12-25"):
                assert await ids(http, f"Patient?birthdate={search}&_id={born['id']}") == set()


async def test_patients_born_in_a_year_are_missed_hapi_fhir_2424(http: Http) -> None:
    """Who knows only the year may be born on any day of it, so no bound within the year leaves them out."""
    year = (await created(http, {"resourceType": "Patient", "birthDate": "2073"}))["id"]
    month = (await created(http, {"resourceType": "Patient", "birthDate": "2073-06"}))["id"]
    expected = {
        "gt2072 gt2072-01-01 ge2073-01-01 lt2074-01-01 le2073-12-31 2073 ap2073": {year, month},
        "ge2073-06-15&birthdate=le2073-06-20": {year, month},
        "gt2073-06-30 ge2073-07-01 ge2073-12-31 lt2073-06-01": {year},
        "2073-06": {month},
        "gt2073-12-31 sa2073 eb2073 lt2073 2073-06-15 gt2074": set(),
    }
    for searches, ids_ in expected.items():
        for search in searches.split():
            assert await ids(http, f"Patient?birthdate={search}&_id={year},{month}") == ids_, search


@pytest.mark.parametrize(
    "date", ["junk", "05-05-1970", "1970-5-5", "19700505", "1970-02-30", "gt", "1970-01-01Z"]
)
async def test_dates_that_are_none_are_ignored_hapi_fhir_2361(http: Http, date: str) -> None:
    """They are refused, under any handling: a search without its date finds what nobody asked for."""
    for handling in ("strict", "lenient"):
        answer = await http.get(f"/Patient?birthdate={date}", headers={"Prefer": f"handling={handling}"})
        assert answer.status_code == 400
        assert date in answer.json()["issue"][0]["diagnostics"]
