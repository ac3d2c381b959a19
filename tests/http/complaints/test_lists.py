"""Searches within lists, which users of other servers wait for."""

import httpx
import pytest
import pytest_asyncio

from tests.http.support import created, found, patient

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def people(http: Http) -> list[str]:
    """Four patients, two of them female."""
    return [
        (await created(http, patient(gender=gender)))["id"] for gender in ("female", "male", "female", "male")
    ]


async def listed(http: Http, *paths: str) -> str:
    """The id of a List of them."""
    made = await created(
        http,
        {
            "resourceType": "List",
            "status": "current",
            "mode": "working",
            "entry": [{"item": {"reference": path}} for path in paths],
        },
    )
    return made["id"]


async def ids(http: Http, search: str) -> set[str]:
    return {one["id"] for one in await found(http, search)}


async def test_there_is_no_list_medplum_6745(http: Http, people: list[str]) -> None:
    """Patients of a cohort, alone, with other criteria, and what is about them."""
    first, second, third, fourth = people
    cohort = await listed(http, *(f"Patient/{id_}" for id_ in (first, second, third)))
    assert await ids(http, f"Patient?_list={cohort}") == {first, second, third}
    assert await ids(http, f"Patient?_list={cohort}&gender=female") == {first, third}
    other = await listed(http, f"Patient/{fourth}")
    assert await ids(http, f"Patient?_list={cohort},{other}") == set(people)
    assert await ids(http, f"Patient?_list={cohort}&_list={other}") == set()
    assert await ids(http, "Patient?_list=nobody") == set()
    observation = await created(
        http,
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "weight"},
            "subject": {"reference": f"Patient/{second}"},
        },
    )
    assert await ids(http, f"Observation?patient._list={cohort}") == {observation["id"]}
    assert await ids(http, f"Observation?_list={cohort}") == set()
