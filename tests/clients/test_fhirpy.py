"""fhirpy, asynchronous: https://github.com/beda-software/fhir-py"""

from contextlib import suppress
from typing import Any

import pytest
from fhirpy import AsyncFHIRClient
from fhirpy.base.exceptions import MultipleResourcesFound, OperationOutcome, ResourceNotFound

SYSTEM = "http://example.org/clients"


@pytest.fixture
def client(base: str) -> AsyncFHIRClient:
    """`count()` sends `_totalMethod`, which no server but one knows: ADR 0005."""
    return AsyncFHIRClient(base, extra_headers={"Prefer": "handling=lenient"})


def sending(client: AsyncFHIRClient, **headers: str) -> AsyncFHIRClient:
    """A client that sends these headers as well; their names are written with underscores."""
    return AsyncFHIRClient(
        client.url, extra_headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


def ada(client: AsyncFHIRClient, value: str) -> Any:
    return client.resource(
        "Patient",
        identifier=[{"system": SYSTEM, "value": value}],
        name=[{"family": "Lovelace", "given": ["Ada"]}],
        birthDate="1815-12-10",
    )


async def test_create_read_update_delete(client: AsyncFHIRClient) -> None:
    patient = ada(client, "crud")
    await patient.create()
    assert patient.id and patient.meta.versionId == "1"
    path = f"Patient/{patient.id}"

    read = await client.get("Patient", patient.id)
    assert read == patient

    patient["gender"] = "female"
    await patient.update()
    assert patient.meta.versionId == "2" and patient.gender == "female"
    first = await client.execute(f"{path}/_history/1", method="get")
    assert "gender" not in first and first["meta"]["versionId"] == "1"
    history = await client.execute(f"{path}/_history", method="get")
    assert [entry["resource"]["meta"]["versionId"] for entry in history["entry"]] == ["2", "1"]

    await patient.delete()
    with pytest.raises(ResourceNotFound):
        await client.get("Patient", patient.id)
    deletion = await client.execute(f"{path}/_history", method="get")
    assert [entry["request"]["method"] for entry in deletion["entry"]] == ["DELETE", "PUT", "POST"]
    assert await client.execute(f"{path}/_history/2", method="get") == patient


async def test_refresh(client: AsyncFHIRClient) -> None:
    """fhirpy's If-None-Match lacks the quotation marks."""
    patient = await ada(client, "refresh").create()
    before = dict(patient)
    assert dict(await patient.refresh()) == before


async def test_update_with_if_match(client: AsyncFHIRClient) -> None:
    patient = await ada(client, "if-match").create()
    body = {**patient.serialize(), "active": True}
    path = f"Patient/{patient.id}"
    updated = await sending(client, If_Match='W/"1"').execute(path, method="put", data=body)
    assert updated["meta"]["versionId"] == "2"
    with pytest.raises(MultipleResourcesFound) as caught:  # what fhirpy calls every 412
        await sending(client, If_Match='W/"1"').execute(path, method="put", data={**body, "active": False})
    assert "OperationOutcome" in str(caught.value)
    assert (await client.get("Patient", patient.id))["active"] is True


async def test_conditional_create_and_update(client: AsyncFHIRClient) -> None:
    once = sending(client, If_None_Exist=f"identifier={SYSTEM}|once")
    first = await once.execute("Patient", data=ada(client, "once").serialize())
    second = await once.execute("Patient", data=ada(client, "once").serialize())
    assert second["id"] == first["id"] and second["meta"]["versionId"] == "1"
    found = client.resources("Patient").search(identifier=f"{SYSTEM}|once")
    assert await found.count() == 1

    changed = ada(client, "once")
    changed["gender"] = "other"
    updated, created = await found.update(changed)
    assert (updated.id, updated.gender, created) == (first["id"], "other", False)
    new = client.resources("Patient").search(identifier=f"{SYSTEM}|twice")
    assert (await new.update(ada(client, "twice")))[1] is True
    assert (await new.delete())[1] == 204
    assert await new.fetch() == []


async def test_get_or_create(client: AsyncFHIRClient) -> None:
    """fhirpy sends the criteria as a query, which R4 does not know: it may be refused, but not left out."""
    found = client.resources("Patient").search(identifier=f"{SYSTEM}|get-or-create")
    for _ in range(2):
        with suppress(OperationOutcome):
            await found.get_or_create(ada(client, "get-or-create"))
    assert await found.count() <= 1


async def test_transaction_search_and_paging(client: AsyncFHIRClient, people: dict[str, Any]) -> None:
    answer = await client.execute("", data=people)
    assert answer["type"] == "transaction-response"
    assert {entry["response"]["status"].split()[0] for entry in answer["entry"]} == {"201"}

    patients = client.resources("Patient")
    number7 = await patients.search(identifier=f"{SYSTEM}|person-7").get()
    assert number7.name[0].given == ["Number07"]
    found = await patients.search(family="paged", birthdate__ge="1960", gender="male").fetch_all()
    assert sorted(patient.birthDate[:4] for patient in found) == [str(year) for year in range(1960, 1975, 2)]
    assert len(await patients.search(given__exact="Number03").fetch()) == 1
    assert len(await patients.search(given__exact="number03").fetch()) == 0
    assert await patients.search(family__missing=False, family="Paged").count() == 25

    weights = client.resources("Observation")
    [weight] = await weights.search(subject=number7.to_reference().reference).fetch()
    assert weight.valueQuantity.value == 57
    assert await weight.subject.to_resource() == number7
    assert await weights.search(value_quantity="lt53000|http://unitsofmeasure.org|g").count() == 3
    assert await weights.search(subject__Patient__family="Paged", date__lt="2024-01-06").count() == 5
    bundle = await weights.search(patient=number7.id).include("Observation", "patient").fetch_raw()
    assert [entry.search.mode for entry in bundle.entry] == ["match", "include"]
    has = {"_has:Observation:patient:value-quantity": "74|http://unitsofmeasure.org|kg"}
    [heaviest] = await patients.search(**has).fetch()
    assert heaviest.name[0].given == ["Number24"]

    ordered = patients.search(family="Paged").sort("-birthdate").limit(4)
    years = [int(patient.birthDate[:4]) async for patient in ordered]
    assert years == list(range(1974, 1949, -1))


async def test_a_refusal_arrives_as_an_outcome(client: AsyncFHIRClient) -> None:
    with pytest.raises(OperationOutcome) as caught:
        await client.resource("Patient", gender="wrong", birthDate="1815-13-10").create()
    issues = caught.value.resource["issue"]
    assert {issue["expression"][0] for issue in issues} == {"Patient.gender", "Patient.birthDate"}
    with pytest.raises(OperationOutcome):
        await client.resources("Patient").search(birthdate="yesterday").fetch()
