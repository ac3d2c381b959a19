"""The events that a server leaves, as the database has them."""

import base64
import json
from dataclasses import dataclass
from typing import Any

import asyncpg

from fhirserver.interactions.audit.unfolding import unfold_what_waits
from tests.support.callers import Granted
from tests.support.door import JSON, Door, Reply
from tests.support.server import services_of

Resource = dict[str, Any]


@dataclass
class Watched:
    """A server and a look at what it records; `new` gives each event once."""

    door: Door
    dsn: str
    seen: int = 0

    async def ask(
        self, method: str, target: str, body: Any = None, who: Granted | None = None, **headers: str
    ) -> Reply:
        """`headers` are named with underscores."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            sent.setdefault("content-type", JSON)
        text = json.dumps(body).encode() if body is not None else b""
        return await self.door.ask(
            method, target, text, [*sent.items(), *(who.headers if who else {}).items()]
        )

    async def unfolded(self) -> None:
        """Let all that was recorded be AuditEvents."""
        await unfold_what_waits(services_of(self.door.app))

    async def new(self) -> list[Resource]:
        """The events since the last call, in the order of their instants."""
        await self.unfolded()
        connection = await asyncpg.connect(self.dsn)
        try:
            rows = await connection.fetch(
                "SELECT rid, id, meta, content::text FROM resource_auditevent WHERE rid > $1"
                " ORDER BY content ->> 'recorded', rid",
                self.seen,
            )
        finally:
            await connection.close()
        self.seen = max([self.seen, *(row["rid"] for row in rows)])
        return [
            {
                "resourceType": "AuditEvent",
                "id": row["id"],
                **({"meta": json.loads(row["meta"])} if row["meta"] else {}),
                **json.loads(row["content"]),
            }
            for row in rows
        ]

    async def sql(self, text: str, *args: Any) -> Any:
        await self.unfolded()
        connection = await asyncpg.connect(self.dsn)
        try:
            return await connection.fetchval(text, *args)
        finally:
            await connection.close()


def subtypes(event: Resource) -> list[str]:
    return [one["code"] for one in event["subtype"]]


def patients(event: Resource) -> list[str]:
    """Whose record it is about."""
    return [
        one["what"]["reference"] for one in event.get("entity", ()) if one.get("role", {}).get("code") == "1"
    ]


def data(event: Resource) -> list[str]:
    """The resources it is about."""
    found = [one["what"] for one in event.get("entity", ()) if one.get("role", {}).get("code") == "4"]
    return [what.get("reference") or what["type"] for what in found]


def query(event: Resource) -> str | None:
    """The words of a search."""
    texts = [base64.b64decode(one["query"]).decode() for one in event.get("entity", ()) if "query" in one]
    return texts[0] if texts else None


def request_ids(event: Resource) -> list[str]:
    return [
        one["what"]["identifier"]["value"]
        for one in event.get("entity", ())
        if one["type"]["code"] == "XrequestId"
    ]


def user(event: Resource) -> str | None:
    """Who asked."""
    found = [agent["who"].get("reference") for agent in event["agent"] if agent["requestor"]]
    return found[0] if found else None


def requests_of(events: list[Resource]) -> list[str]:
    """The ids of the requests that events are about."""
    found = [entity["what"]["identifier"] for one in events for entity in one["entity"] if "what" in entity
             and "identifier" in entity["what"]]  # fmt: skip
    return [one["value"] for one in found]


def within(resource: Any) -> list[Resource]:
    """The events in an answer, at whatever depth."""
    if isinstance(resource, dict):
        if resource.get("resourceType") == "AuditEvent":
            return [resource]
        return [one for child in resource.values() for one in within(child)]
    return [one for child in resource for one in within(child)] if isinstance(resource, list) else []
