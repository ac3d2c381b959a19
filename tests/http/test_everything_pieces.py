"""`$everything` without `_count` is one Bundle, which begins before all of it has been looked up."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from starlette.types import Message

from fhirserver.interactions.operations import pages as operation
from tests.equivalence.hospital import PATIENTS, Hospital
from tests.equivalence.paths import BASE
from tests.http.records import keys, link, pages
from tests.support.callers import granted, revoke
from tests.support.door import Door, opened, scope_of
from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN: dict[str, Any] = {"user": ("Practitioner", "d"), "roles": ("administrator",)}


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def filled(database: str) -> None:
    async with serving(database) as http:
        entries = [
            {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
            for one in Hospital(5).population()
        ]
        answer = await http.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})
        assert answer.status_code == 200, answer.text


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of few entries."""
    monkeypatch.setattr(operation, "FIRST", 3)
    monkeypatch.setattr(operation, "LATER", 4)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door(database: str) -> AsyncIterator[Door]:
    async with opened(database, auth="smart", base_url=BASE) as door:
        yield door


async def test_the_pieces_are_what_the_pages_are(database: str) -> None:
    async with serving(database, base_url=BASE) as http:
        for name in PATIENTS:
            for query in ("", "?_type=Observation,Organization", "?start=2020"):
                at = f"/Patient/{name}/$everything{query}"
                answer = await http.get(at)
                assert "content-length" not in answer.headers or len(keys([answer.json()])) <= 3
                in_pages = await pages(http, f"{at}{'&' if query else '?'}_count=5")
                assert keys([answer.json()]) == keys(in_pages)
                assert answer.json()["link"] == [{"relation": "self", "url": f"{BASE}{at}"}]
                assert answer.json()["meta"]["lastUpdated"]
                pretty = await http.get(f"{at}{'&' if query else '?'}_pretty=true")
                assert pretty.json()["entry"] == answer.json()["entry"] if keys(in_pages) else True
                assert "content-length" in pretty.headers, "what is rewritten comes in one piece"
        head = await http.head(f"/Patient/{PATIENTS[0]}/$everything")
        assert head.status_code == 200 and head.content == b""
        in_xml = await http.get(f"/Patient/{PATIENTS[0]}/$everything?_format=xml")
        assert in_xml.text.endswith("</Bundle>")


async def test_what_is_in_a_bundle_comes_in_pages(database: str) -> None:
    async with serving(database, count_max=5, count_default=5) as http:
        entry = {"request": {"method": "GET", "url": "Patient/anna/$everything"}}
        sent = {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
        (answered,) = (await http.post("", json=sent)).json()["entry"]
        found = [answered["resource"], *await pages(http, link(answered["resource"], "next") or "")]
        assert keys(found) == keys([(await http.get("/Patient/anna/$everything")).json()])
        assert len(found) > 3


class Reader:
    """A client that takes one message at a time; `between` is awaited after each."""

    def __init__(self, between: Any = None) -> None:
        self.messages: list[Message] = []
        self.between = between

    async def receive(self) -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(self, message: Message) -> None:
        self.messages.append(message)
        if self.between is not None:
            await self.between(self)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)

    @property
    def is_complete(self) -> bool:
        return not self.messages[-1].get("more_body", False)


async def test_the_beginning_is_sent_first(database: str, door: Door) -> None:
    who = await granted(database, "user/*.rs", **ADMIN)
    for packed in (False, True):
        coding = [("accept-encoding", "gzip")] if packed else []
        reader = Reader()
        scope = scope_of("GET", "/Patient/anna/$everything", [*who.headers.items(), *coding])
        await door.app(scope, reader.receive, reader.send)
        assert reader.is_complete and len(reader.messages) > 4
        text = gzip.decompress(reader.body) if packed else reader.body
        assert len(json.loads(text)["entry"]) > 10
        if not packed:
            assert reader.messages[1]["body"].count(b'"fullUrl"') == 3


async def test_who_is_locked_out_meanwhile_gets_no_whole(database: str, door: Door) -> None:
    """What breaks off cannot be mistaken for a record that is complete."""
    who = await granted(database, "user/*.rs", **ADMIN)

    async def between(reader: Reader) -> None:
        if len(reader.messages) == 2:
            await revoke(database, who)

    reader = Reader(between)
    scope = scope_of("GET", "/Patient/anna/$everything", who.headers.items())
    with pytest.raises(Exception, match="not known"):
        await door.app(scope, reader.receive, reader.send)
    assert reader.messages[0]["status"] == 200 and not reader.is_complete
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(reader.body)


async def test_no_connection_waits_for_a_slow_client(database: str) -> None:
    """As many clients as there are connections have begun to read, and others are served."""
    async with opened(database, pool_min=1, pool_max=1) as door:
        slow, going = asyncio.Event(), asyncio.Event()

        async def between(reader: Reader) -> None:
            if len(reader.messages) == 2:
                slow.set()
                await going.wait()

        reader = Reader(between)
        scope = scope_of("GET", "/Patient/anna/$everything")
        task = asyncio.ensure_future(door.app(scope, reader.receive, reader.send))
        await slow.wait()
        assert (await door.ask("GET", "/Observation?_count=1")).status == 200
        going.set()
        await task
        assert reader.is_complete and len(json.loads(reader.body)["entry"]) > 10


async def test_what_takes_too_long_is_not_called_complete(database: str) -> None:
    async with opened(database, index_retention_s=1) as door:

        async def between(reader: Reader) -> None:
            if len(reader.messages) == 2:
                await asyncio.sleep(1.1)

        reader = Reader(between)
        with pytest.raises(Exception, match="within 1 s"):
            await door.app(scope_of("GET", "/Patient/anna/$everything"), reader.receive, reader.send)
        assert not reader.is_complete


async def test_a_client_that_leaves_ends_it(database: str, door: Door) -> None:
    who = await granted(database, "user/*.rs", **ADMIN)
    left = asyncio.Event()

    async def between(reader: Reader) -> None:
        if len(reader.messages) == 3:  # the first piece after the beginning
            left.set()
            await asyncio.sleep(1)  # longer than the patience of those who watch for it

    class Leaving(Reader):
        async def receive(self) -> Message:
            await left.wait()
            return {"type": "http.disconnect"}

    reader = Leaving(between)
    scope = scope_of("GET", "/Patient/anna/$everything", who.headers.items())
    await door.app(scope, reader.receive, reader.send)
    assert len(reader.messages) <= 4, "nothing more was looked up"
