"""What a token adds to a request: no round trip of its own, and none is remembered past its grant.

Whether a grant still holds is asked inside the statement that reads the data.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
import psutil
import pytest
import pytest_asyncio

from fhirserver.jobs import janitor
from fhirserver.store import definitions
from tests.support.callers import CLIENT, Granted, granted, revoke
from tests.support.server import process, serving

DOCTOR: dict[str, Any] = {"user": ("Practitioner", "d"), "roles": ("administrator",)}
CLIENTS_MAX = 60


def observation(id_: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "code": {"text": "weight"},
        "subject": {"reference": "Patient/anna"},
    }


# -- statements


@dataclass
class Counted:
    """Two servers on one database, one that needs tokens, and the statements that each of them has sent."""

    bare: httpx.AsyncClient
    guarded: httpx.AsyncClient
    doctor: Granted
    patient: Granted
    dsn: str
    sent: list[str] = field(default_factory=list)

    async def by_nobody(self, *paths: str) -> list[str]:
        return await self._statements(self.bare, {}, paths)

    async def by(self, who: Granted, *paths: str) -> list[str]:
        return await self._statements(self.guarded, who.headers, paths)

    async def _statements(
        self, http: httpx.AsyncClient, headers: dict[str, str], paths: tuple[str, ...]
    ) -> list[str]:
        """The statements of requests made at the same time."""
        await self._told()
        self.sent.clear()
        for answer in await asyncio.gather(*(http.get(path, headers=headers) for path in paths)):
            assert answer.status_code == 200, answer.text
        await self._told()
        return list(self.sent)

    async def _told(self) -> None:
        """asyncpg tells of a statement in a later turn of the loop."""
        for _ in range(3):
            await asyncio.sleep(0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def counted(database: str) -> AsyncIterator[Counted]:
    sent: list[str] = []
    connect = asyncpg.connect

    async def listening(*args: Any, **kwargs: Any) -> Any:
        connection = await connect(*args, **kwargs)
        connection.add_query_logger(lambda record: sent.append(record.query))
        return connection

    doctor = await granted(database, "user/*.cruds", **DOCTOR)
    who: dict[str, Any] = {"user": ("Patient", "anna"), "own": ("anna",), "roles": ("patient",)}
    patient = await granted(database, "patient/*.rs", patient="anna", **who)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncpg, "connect", listening)
        # What runs beside the requests would be counted with them on a slow machine.
        patch.setattr(definitions, "LOOK_S", 3600)
        patch.setattr(janitor, "PAUSE_S", 3600)
        async with (
            serving(database, pool_min=1, pool_max=1) as bare,
            serving(database, auth="smart", pool_min=1, pool_max=1) as guarded,
        ):
            await bare.put("/Patient/anna", json={"resourceType": "Patient", "id": "anna"})
            for number in range(12):
                await bare.put(f"/Observation/o{number}", json=observation(f"o{number}"))
            made = Counted(bare, guarded, doctor, patient, database, sent)
            await made.by(doctor, "/Patient/anna")  # the connection, and for whom it works
            yield made


ANSWERED = (
    "/Patient/anna",
    "/Observation/o1",
    "/Observation/o1/_history/1",
    "/Observation/o1/_history",
    "/Observation?patient=anna",
    "/Observation?patient=anna&_count=5",
    "/Observation?patient=anna&_include=Observation:patient",
    "/Observation?patient=anna&_summary=count",
    "/Patient?_has:Observation:patient:status=final",
)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", ANSWERED)
async def test_a_token_costs_no_round_trip(counted: Counted, path: str) -> None:
    without = await counted.by_nobody(path)
    assert without, "the statements are seen"
    for who in (counted.doctor, counted.patient):
        await counted.by(who, path)  # a connection asks once what the types of arguments are
        asked = await counted.by(who, path)
        assert len(asked) == len(without), asked
        assert any("granted(" in statement for statement in asked), asked


@pytest.mark.asyncio(loop_scope="module")
async def test_reads_of_one_token_share_statements(counted: Counted) -> None:
    paths = [f"/Observation/o{number}" for number in range(12)]
    without = await counted.by_nobody(*paths)
    with_one = await counted.by(counted.doctor, *paths)
    assert len(with_one) == len(without) < len(paths), with_one


@pytest.mark.asyncio(loop_scope="module")
async def test_reads_of_different_tokens_share_none(counted: Counted) -> None:
    """Each under its own grant: what one of them lost, the other has still."""
    others = [await granted(counted.dsn, "user/*.cruds", **DOCTOR) for _ in range(4)]
    await revoke(counted.dsn, others[1])
    answers = await asyncio.gather(
        *(
            counted.guarded.get(f"/Observation/o{number}", headers=one.headers)
            for number, one in enumerate(others)
        )
    )
    assert [answer.status_code for answer in answers] == [200, 401, 200, 200]


# -- revocation in every worker


@dataclass
class Workers:
    """A client for each worker process of a running server, by the number of the process."""

    url: str
    dsn: str
    clients: dict[int, httpx.Client]

    def statuses(self, who: Granted, path: str) -> list[int]:
        return [
            http.get(f"{self.url}{path}", headers=who.headers).status_code for http in self.clients.values()
        ]


@pytest.fixture(scope="module")
def workers(database: str) -> Iterator[Workers]:
    environment = {
        "DATABASE_URL": database,
        "FHIRSERVER_DEVELOPMENT": "true",
        "FHIRSERVER_LOG_LEVEL": "error",
        "FHIRSERVER_AUTH": "smart",
    }
    with process("--workers", "2", environment=environment) as server, ExitStack() as stack:
        family = psutil.Process(server.popen.pid).children()
        found: dict[int, httpx.Client] = {}
        for _ in range(CLIENTS_MAX):
            http = stack.enter_context(httpx.Client(timeout=30))
            stream = http.get(f"{server.url}/metadata").extensions["network_stream"]
            found.setdefault(_answering(family, stream.get_extra_info("client_addr")[1]), http)
            if len(found) == 2:
                break
        yield Workers(server.url, database, found)


def _answering(family: list[psutil.Process], port: int) -> int:
    """Which of the processes has the other end of a connection."""
    for member in family:
        for one in member.net_connections("tcp"):
            if one.raddr and one.raddr.port == port:
                return member.pid
    raise AssertionError(f"no worker holds the connection from port {port}")


def test_a_revoked_token_is_refused_by_every_worker(workers: Workers) -> None:
    assert len(workers.clients) == 2, "both workers answer"
    doctor = asyncio.run(granted(workers.dsn, "user/*.cruds", **DOCTOR))
    other = asyncio.run(granted(workers.dsn, "user/*.cruds", **DOCTOR))
    asyncio.run(_public(workers.dsn))
    [first, second] = workers.clients.values()
    place = f"{workers.url}/Patient/berta"
    kept = {"resourceType": "Patient", "id": "berta"}
    assert first.put(place, json=kept, headers=doctor.headers).status_code == 201
    # Both have read the token, and remember who it is.
    assert workers.statuses(doctor, "/Patient/berta") == workers.statuses(doctor, "/Patient") == [200, 200]
    form = {"token": doctor.token, "client_id": CLIENT}
    ended = first.post(f"{workers.url.removesuffix('/fhir')}/auth/revoke", data=form)
    assert ended.status_code == 200, ended.text
    assert second.get(place, headers=doctor.headers).status_code == 401
    for path in ("/Patient/berta", "/Patient", "/Patient/berta/_history", "/Patient/unknown"):
        assert workers.statuses(doctor, path) == [401, 401], path
    assert workers.statuses(other, "/Patient/berta") == [200, 200]


async def _public(dsn: str) -> None:
    """The client has no secret: whoever holds a token of it may end it."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(
            """UPDATE auth.client SET metadata = '{"token_endpoint_auth_method": "none"}' WHERE id = $1""",
            CLIENT,
        )
    finally:
        await connection.close()
