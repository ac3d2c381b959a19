"""The server under test with the population in it, asked through its HTTP door, many questions at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeVar

import orjson

from fhirserver.fhir import json
from fhirserver.settings import Settings
from tests.oracle import definitions as d
from tests.oracle.ranges import ZONE
from tests.oracle.world import World
from tests.support.door import JSON, Door, opened

BASE = "http://test/fhir"
T = TypeVar("T")
Resource = dict[str, Any]
_CHUNK = 250


@dataclass(frozen=True, slots=True)
class Answer:
    """What one search answered: a searchset, or the OperationOutcome of a refusal."""

    status: int
    body: Resource

    @property
    def entries(self) -> list[Resource]:
        return self.body.get("entry", [])

    def paths(self, mode: str = "match") -> list[str]:
        """`Patient/1` of the entries of one search mode, in order."""
        return [
            f"{entry['resource']['resourceType']}/{entry['resource']['id']}"
            for entry in self.entries
            if entry["search"]["mode"] == mode
        ]

    def link(self, relation: str) -> str | None:
        """A link of the Bundle, relative to the base."""
        found = [link["url"] for link in self.body.get("link", ()) if link["relation"] == relation]
        return found[0].removeprefix(BASE).lstrip("/") if found else None


class Server:
    """An application and an event loop to run it in."""

    def __init__(self, runner: asyncio.Runner, door: Door) -> None:
        self._runner = runner
        self.door = door

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(coroutine)

    def batch(self, entries: Sequence[Resource], *, exactly: bool = False) -> list[Resource]:
        """The answers to the entries of a batch: https://hl7.org/fhir/R4/http.html#transaction

        `exactly`: numbers keep their digits, at three times the cost.
        """
        found: list[Resource] = []
        for start in range(0, len(entries), _CHUNK):
            body = {"resourceType": "Bundle", "type": "batch", "entry": list(entries[start : start + _CHUNK])}
            reply = self.run(self.door.ask("POST", "", json.dumps(body), [("content-type", JSON)]))
            assert reply.status == 200, reply.content[:2000]
            found += (json.loads if exactly else orjson.loads)(reply.content)["entry"]
        return found

    def ask(self, urls: Sequence[str], *, exactly: bool = False) -> list[Answer]:
        """Searches, as GET entries of batches."""
        gets = [{"request": {"method": "GET", "url": url}} for url in urls]
        answers = self.batch(gets, exactly=exactly)
        return [
            Answer(
                int(entry["response"]["status"][:3]), entry.get("resource") or entry["response"]["outcome"]
            )
            for entry in answers
        ]

    def ask_singly(self, urls: Sequence[str]) -> list[Answer]:
        """Searches, as GET requests."""
        replies = [self.run(self.door.ask("GET", f"/{url}")) for url in urls]
        return [Answer(reply.status, json.loads(reply.content)) for reply in replies]

    def post(self, path: str, query: str) -> Answer:
        """A search as a form: https://hl7.org/fhir/R4/http.html#search"""
        headers = [("content-type", "application/x-www-form-urlencoded")]
        reply = self.run(
            self.door.ask("POST", f"/{path}/_search".replace("//", "/"), query.encode(), headers)
        )
        return Answer(reply.status, json.loads(reply.content))

    def put(self, resources: Sequence[Resource]) -> None:
        entries = [{"request": _writing(one), "resource": one} for one in resources]
        for entry in self.batch(entries):
            assert entry["response"]["status"][:3] in ("200", "201"), entry

    def world(self) -> World:
        """Everything that is stored, as it is read."""
        stored: list[Resource] = []
        for answer in self.ask([f"{type_}?_count=10000" for type_ in d.TYPES], exactly=True):
            assert answer.status == 200 and answer.link("next") is None, answer.body
            stored += [entry["resource"] for entry in answer.entries]
        return World(stored, BASE, Fraction(int(time.time())))


def _writing(resource: Resource) -> dict[str, str]:
    """An update, but for what is never changed: the server chooses its id."""
    type_ = resource["resourceType"]
    if type_ == "AuditEvent":
        return {"method": "POST", "url": type_}
    return {"method": "PUT", "url": f"{type_}/{resource['id']}"}


@contextmanager
def running(dsn: str) -> Iterator[Server]:
    """The server on an empty database; dates without a zone are those of ZONE."""
    with asyncio.Runner() as runner:
        further = {"full_text": "content"} if "full_text" in Settings.model_fields else {}
        application = opened(
            dsn, base_url=BASE, time_zone=ZONE.key, count_max=10_000, entries_max=5000, **further
        )
        door = runner.run(application.__aenter__())
        try:
            yield Server(runner, door)
        finally:
            runner.run(application.__aexit__(None, None, None))
