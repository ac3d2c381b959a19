"""A small FHIR server that records what it is sent and refuses what a test tells it to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

BASE = "http://peer.example/fhir"
Refusal = tuple[int, str]


@dataclass
class Peer:
    """Stores resources by `Type/id`; `refuse` says which are rejected, and why."""

    refuse: Callable[[dict[str, Any], Peer], Refusal | None] = lambda resource, peer: None
    busy: list[Response] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    stored: dict[str, dict[str, Any]] = field(default_factory=dict)

    def transport(self) -> httpx.ASGITransport:
        routes = [
            Route("/fhir/metadata", self._metadata),
            Route("/fhir", self._bundle, methods=["POST"]),
            Route("/fhir/{path:path}", self._single, methods=["POST", "PUT"]),
        ]
        return httpx.ASGITransport(Starlette(routes=routes))

    async def _metadata(self, request: Request) -> Response:
        return JSONResponse({"resourceType": "CapabilityStatement"})

    async def _record(self, request: Request) -> Response | None:
        if self.busy:
            return self.busy.pop(0)
        self.bodies.append(await request.body())
        path = request.url.path.removeprefix("/fhir").strip("/")
        self.requests.append((request.method, path, request.headers["content-type"]))
        return None

    async def _single(self, request: Request) -> Response:
        if busy := await self._record(request):
            return busy
        resource = _decoded(self.bodies[-1])
        if refusal := self.refuse(resource, self):
            return _refused(*refusal)
        self._keep(self.requests[-1][1], resource)
        return JSONResponse({}, 201)

    async def _bundle(self, request: Request) -> Response:
        if busy := await self._record(request):
            return busy
        if self.requests[-1][2].endswith("xml"):
            return JSONResponse({"resourceType": "Bundle", "entry": [{"response": {"status": "201"}}]})
        bundle = json.loads(self.bodies[-1])
        atomic = bundle["type"] == "transaction"
        answers: list[dict[str, Any]] = []
        for number, entry in enumerate(bundle["entry"]):
            if refusal := self.refuse(entry["resource"], self):
                status, text = refusal
                if atomic:
                    return _refused(status, text, f"Bundle.entry[{number}].resource")
                outcome = {"resourceType": "OperationOutcome", "issue": _issues(text)}
                answers.append({"response": {"status": f"{status} Refused", "outcome": outcome}})
            else:
                answers.append({"response": {"status": "201 Created"}})
                if not atomic:
                    self._keep(entry["request"]["url"], entry["resource"])
        if atomic:
            for entry in bundle["entry"]:
                self._keep(entry["request"]["url"], entry["resource"])
        return JSONResponse(
            {"resourceType": "Bundle", "type": bundle["type"] + "-response", "entry": answers}
        )

    def _keep(self, url: str, resource: dict[str, Any]) -> None:
        self.stored[url if "/" in url else f"{url}/new-{len(self.stored)}"] = resource


def _decoded(body: bytes) -> dict[str, Any]:
    return json.loads(body) if body.lstrip().startswith(b"{") else {"resourceType": "XML"}


def _issues(text: str, expression: str | None = None) -> list[dict[str, Any]]:
    issue: dict[str, Any] = {"severity": "error", "code": "invalid", "diagnostics": text}
    return [issue | ({"expression": [expression]} if expression else {})]


def _refused(status: int, text: str, expression: str | None = None) -> Response:
    return JSONResponse({"resourceType": "OperationOutcome", "issue": _issues(text, expression)}, status)
