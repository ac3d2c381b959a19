"""Clients that write at the same time and enter every answer into the ledger."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx

from fhirserver.fhir import json
from tests.crash.ledger import KEY, Ledger, Resource, Transaction, write_of

FHIR_JSON = "application/fhir+json"


class Uncertain(Exception):
    """No answer, or 503: the write is there or it is not."""


class Writer:
    """One client, whose loop runs until `stop` is set."""

    def __init__(self, http: httpx.AsyncClient, ledger: Ledger, stop: asyncio.Event) -> None:
        self.http = http
        self.ledger = ledger
        self.stop = stop

    async def repeat(self, step: Callable[["Writer"], Awaitable[None]]) -> None:
        while not self.stop.is_set():
            try:
                await step(self)
            except Uncertain:
                await asyncio.sleep(0.02)

    async def send(
        self, method: str, path: str, body: Resource | None = None, *, expect: set[int], **headers: str
    ) -> httpx.Response:
        """The answer, whose status is one of `expect`. Raises Uncertain."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        content = None if body is None else json.dumps(body)
        if content is not None:
            names["Content-Type"] = FHIR_JSON
        try:
            response = await self.http.request(method, path, content=content, headers=names)
        except httpx.TransportError as error:
            raise Uncertain from error
        if response.status_code == 503:
            self.ledger.unavailable += 1
            if complaint := misformed(response):
                self.ledger.complaints.append(f"{method} {path}: {complaint}")
            raise Uncertain
        if response.status_code not in expect:
            self.ledger.complaints.append(f"{method} {path}: {response.status_code} {response.text}")
            raise Uncertain
        return response


def misformed(response: httpx.Response) -> str | None:
    """What is wrong with a 503: it carries Retry-After and an OperationOutcome."""
    if not response.headers.get("retry-after", "").isdigit():
        return "503 without Retry-After"
    try:
        outcome = response.json()
    except ValueError:
        return f"503 without JSON: {response.text}"
    return None if outcome.get("resourceType") == "OperationOutcome" else f"503 with {outcome}"


def patient(*identifiers: dict[str, str]) -> Resource:
    return {
        "resourceType": "Patient",
        "identifier": list(identifiers),
        "name": [{"family": "Crash", "given": ["Åsa", "Test"]}],
        "birthDate": "1980-02-03",
    }


def observation(subject: str, value: str) -> Resource:
    return {
        "resourceType": "Observation",
        "identifier": [],
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
        "subject": {"reference": subject},
        "effectiveDateTime": "2024-05-06T07:08:09.100Z",
        "issued": "2024-05-06T07:08:09.100Z",
        "valueQuantity": {"value": Decimal(value), "code": "kg", "system": "http://unitsofmeasure.org"},
    }


async def creator(writer: Writer) -> None:
    """Single creates, plain and with numbers and dates to index."""
    for body in (patient(), observation("Patient/unknown", f"{random.randint(1, 99)}.50")):
        stamped = writer.ledger.stamp(body)
        response = await writer.send("POST", f"/{body['resourceType']}", stamped, expect={201})
        writer.ledger.acknowledge(response.content)


async def updater(writer: Writer) -> None:
    """Versions of one resource after another, then its deletion."""
    made = await writer.send("POST", "/Patient", writer.ledger.stamp(patient()), expect={201})
    current = writer.ledger.acknowledge(made.content)
    path = f"/Patient/{current['id']}"
    for _ in range(3):
        body = writer.ledger.stamp({**current, "active": not current.get("active", False)})
        version = current["meta"]["versionId"]
        response = await writer.send("PUT", path, body, expect={200}, If_Match=f'W/"{version}"')
        current = writer.ledger.acknowledge(response.content)
    seen = await writer.send("GET", path, expect={200})
    writer.ledger.saw(seen.content)
    writer.ledger.doomed.add(path[1:])
    gone = await writer.send("DELETE", path, expect={204})
    writer.ledger.acknowledge_deletion(path[1:], int(gone.headers["etag"][3:-1]))


def contender(path: str) -> Callable[[Writer], Awaitable[None]]:
    """Updates of a resource that others update too: one of them wins each version."""

    async def step(writer: Writer) -> None:
        read = await writer.send("GET", path, expect={200})
        writer.ledger.saw(read.content)
        current = json.loads(read.content)
        body = writer.ledger.stamp(current)
        version = current["meta"]["versionId"]
        response = await writer.send("PUT", path, body, expect={200, 412}, If_Match=f'W/"{version}"')
        if response.status_code == 200:
            writer.ledger.acknowledge(response.content)

    return step


class Keys:
    """The keys that conditional creates try at the moment; each is tried by several writers."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._key, self._uses = ledger.new_key(), 0

    def next(self) -> str:
        self._uses += 1
        if self._uses > 6:
            self._key, self._uses = self._ledger.new_key(), 0
        return self._key


def conditional_creator(keys: Keys) -> Callable[[Writer], Awaitable[None]]:
    """Creates unless the key exists."""

    async def step(writer: Writer) -> None:
        key = keys.next()
        body = writer.ledger.stamp(patient({"system": KEY, "value": key}))
        response = await writer.send(
            "POST", "/Patient", body, expect={200, 201}, If_None_Exist=f"identifier={KEY}|{key}"
        )
        if response.status_code == 201:
            writer.ledger.acknowledge(response.content)
        writer.ledger.keyed[key].add(response.headers["location"].split("/")[-3])

    return step


def transactor(organization: str) -> Callable[[Writer], Awaitable[None]]:
    """Transactions that create a patient with two observations and a Basic, write the next version of an
    organization, and delete the Basic of the transaction before. `organization` is this writer's own."""
    previous: list[str] = []

    async def step(writer: Writer) -> None:
        body, transaction = bundle(writer.ledger, organization, previous.pop() if previous else None)
        response = await writer.send("POST", "/", body, expect={200}, Prefer="return=representation")
        transaction.acknowledged = True
        for entry in json.loads(response.content)["entry"]:
            if "resource" in entry:
                made = writer.ledger.acknowledge(json.dumps(entry["resource"]))
                if made["resourceType"] == "Basic":
                    previous.append(f"Basic/{made['id']}")
            elif transaction.buries is not None:
                writer.ledger.acknowledge_deletion(transaction.buries, int(entry["response"]["etag"][3:-1]))

    return step


def bundle(ledger: Ledger, organization: str, buries: str | None) -> tuple[Resource, Transaction]:
    """A transaction whose resources all carry the same write."""
    urn = f"urn:uuid:{uuid4()}"
    resources = ledger.stamp_all(
        [
            patient(),
            observation(urn, "70.0"),
            observation(urn, "71.25"),
            {"resourceType": "Organization", "id": organization, "name": "Crash"},
            {"resourceType": "Basic", "code": {"text": "crash"}},
        ]
    )
    entries: list[dict[str, Any]] = []
    for resource in resources:
        url = resource["resourceType"] + (f"/{resource['id']}" if "id" in resource else "")
        request = {"method": "PUT" if "id" in resource else "POST", "url": url}
        entries.append({"resource": resource, "request": request})
    entries[0]["fullUrl"] = urn
    transaction = Transaction(write_of(resources[0]), buries)
    if buries is not None:
        ledger.doomed.add(buries)
        entries.append({"request": {"method": "DELETE", "url": buries}})
    ledger.transactions[transaction.write] = transaction
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}, transaction


@asynccontextmanager
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the FHIR base `url` with as many connections as it needs."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as http:
        yield http


@asynccontextmanager
async def writing(http: httpx.AsyncClient, ledger: Ledger, name: str) -> AsyncIterator[str]:
    """Eleven writers of all kinds for the time of the context; `name` is part of what they call theirs.

    Gives the path of a resource that always exists.
    """
    first = Writer(http, ledger, asyncio.Event())
    made = await first.send("POST", "/Patient", ledger.stamp(patient()), expect={201})
    contended = f"/Patient/{ledger.acknowledge(made.content)['id']}"
    keys = Keys(ledger)
    steps = [
        *(creator, creator, updater, updater, contender(contended), contender(contended)),
        *(conditional_creator(keys), conditional_creator(keys), conditional_creator(keys)),
        *(transactor(f"{name}-a"), transactor(f"{name}-b")),
    ]
    async with asyncio.TaskGroup() as group:
        stop = asyncio.Event()
        for step in steps:
            group.create_task(Writer(http, ledger, stop).repeat(step))
        try:
            yield contended
        finally:
            stop.set()
