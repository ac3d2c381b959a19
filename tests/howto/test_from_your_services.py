"""docs/how-to/from-your-services.md: every line of its tables, from top to bottom."""

import asyncio
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from typer.testing import CliRunner

from fhirserver.cli.app import app
from tests.howto.pages import HOWTO
from tests.oauth.support import BASE, World, challenge_of, world_on
from tests.support.callers import granted

PAGE = (HOWTO / "from-your-services.md").read_text(encoding="utf-8")
CONSENT = '{"administrators": ["administrator"]}'
_BODIES = {
    name: (kind, text)
    for name, kind, text in re.findall(r"^#### (\w+)\n\n```(json|form)\n(.*?)^```$", PAGE, re.M | re.S)
}
_MEDIA = {"form": "application/x-www-form-urlencoded", "PATCH": "application/json-patch+json"}


@dataclass(frozen=True)
class Line:
    """What a line of a table says: `what` to do, with the body of a name, and the status of its answer."""

    what: str
    headers: tuple[str, ...]
    body: str
    status: int | None


def lines() -> Iterator[Line]:
    for row in PAGE.splitlines():
        cells = [one.strip().replace("\\|", "|") for one in re.split(r"(?<!\\)\|", row)[1:-1]]
        if len(cells) != 4 or not cells[1].startswith("`"):
            continue
        what, *headers = re.findall(r"`([^`]+)`", cells[1])
        body = re.search(r"\(#(\w+)\)", cells[2])
        yield Line(what, tuple(headers), body[1] if body else "", int(cells[3]) if cells[3] else None)


@dataclass
class Typist:
    """Does what the lines say; `known` is what stands for the words in braces."""

    world: World
    known: dict[str, str] = field(default_factory=dict)

    def filled(self, text: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda found: self.known[found[1]], text)

    def command(self, line: Line) -> None:
        program, *arguments = shlex.split(line.what)
        assert program == "fhirserver"
        done = CliRunner().invoke(
            app, arguments, env={"DATABASE_URL": self.world.dsn, "FHIRSERVER_BASE_URL": BASE}
        )
        assert done.exit_code == 0, (line, done.output)

    async def request(self, line: Line) -> httpx.Response:
        method, _, target = line.what.partition(" ")
        headers = {} if target.startswith("/auth") else dict(self.world.admin.headers)
        kind, text = _BODIES[line.body] if line.body else ("", "")
        if line.body:
            headers["Content-Type"] = _MEDIA.get(kind) or _MEDIA.get(method) or "application/fhir+json"
        for name, value in (one.split(": ", 1) for one in map(self.filled, line.headers)):
            headers[name] = value
        filled = self.filled(text).strip()
        url = f"http://test{self.filled(target)}"
        answer = await self.world.http.request(method, url, content=filled, headers=headers)
        assert answer.status_code == line.status, (line, answer.text)
        self._learn(answer)
        return answer

    def _learn(self, answer: httpx.Response) -> None:
        created = re.search(r"/fhir/(\w+)/([^/]+)/_history", answer.headers.get("location", ""))
        if answer.status_code == 201 and created:
            self.known[created[1].lower()] = created[2]
        given: Any = answer.json() if "json" in answer.headers.get("content-type", "") else {}
        self.known.update({name: given[name] for name in ("access_token", "refresh_token") if name in given})


async def test_every_line(database: str) -> None:
    found = list(lines())
    assert len(found) >= 40 and {line.body for line in found} - {""} == set(_BODIES)
    async with world_on(database) as world:
        anna = await world.someone("anna", "Patient/anna")
    async with world_on(database, prepare=False, consent=CONSENT, audit="on") as world:
        heart = await world.app()
        verifier = {"code_verifier": heart.verifier, "code_challenge": challenge_of(heart.verifier)}
        whose = {
            "client_id": heart.id,
            "redirect_uri": heart.redirect_uri,
            "aud": BASE,
        }
        whose["client"] = heart.basic["Authorization"].partition(" ")[2]
        auditor = await granted(
            database, "user/AuditEvent.rs", user=("Practitioner", "d"), roles=("auditor",)
        )
        whose["auditor"] = auditor.token
        typist = Typist(world, {**verifier, **whose})
        for line in found:
            if line.status is None:
                await asyncio.to_thread(typist.command, line)
                continue
            if line.body == "token":  # in between she signed in and allowed it
                typist.known["code"] = await heart.code(
                    anna, "launch/patient patient/Patient.rs offline_access"
                )
            answer = await typist.request(line)
            if line.what.startswith(
                ("GET /fhir/Patient?", "GET /fhir/Encounter?", "GET /fhir/Doc", "GET /fhir/Audit")
            ):
                assert answer.json()["entry"], line
