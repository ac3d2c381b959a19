"""Two servers: one that holds everything and asks for a token, one that holds what it is given and asks
for nothing. What the first shows to a caller must be what the second shows to everybody.

The rows of the second are copies of rows of the first, with their ids, versions, instants and index
entries; both databases have the same secrets, and one cluster gives both their transaction ids.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

import asyncpg

from tests.equivalence.draw import Request
from tests.equivalence.hospital import Hospital, Resource
from tests.equivalence.paths import BASE
from tests.equivalence.predicate import Caller, Row
from tests.support import postgres
from tests.support.callers import Granted, granted
from tests.support.door import JSON, Door, Reply, opened

PAGES_MAX = 12
OWN = ("server", "tick", "alembic_version", "term")
"""Tables that each database has for itself."""

OWN_RIDS = 10**9
"""Above it are the rows that the second server makes by itself."""

_COLUMNS = (
    "rid, type, id, version, died IS NULL AS current, content IS NULL AS deleted, meta::text AS meta,"
    " coalesce(written, content::text) AS content, updated"
)

_TERMS = (
    "SELECT t.* FROM term t WHERE t.text_key IN ("
    " SELECT unnest(keys) FROM resource WHERE rid IN ({0}) UNION"
    " SELECT unnest(keys) FROM contained WHERE rid IN ({0}))"
)
"""The texts that codes of some rows have."""

ROLES: Mapping[str, tuple[str, ...]] = {
    "ward": ("care-team", "patient/*.cruds"),
    "ward-reader": ("care-team", "patient/*.rs", "user/Practitioner.rs"),
    "laboratory": (
        "user/Observation.cruds?category=laboratory",
        "user/Patient.rs",
        "user/DiagnosticReport.crus",
    ),
    "owner": ("patient/*.cruds",),
    "registrar-lite": ("user/Patient.rs?active=true", "user/Appointment.cruds"),
}
"""Roles beside the built-in ones."""


@dataclass
class Twin:
    """`rows` is what the first database holds, as it was read last. `consents`: the first server enforces
    them."""

    main: Door
    other: Door
    dsn: str
    source: asyncpg.Connection
    copy: asyncpg.Connection
    tables: Sequence[str]
    shared: Sequence[str]
    consents: bool = False
    rows: list[Row] = field(default_factory=list)
    _held: dict[int, bool] = field(default_factory=dict)
    _inside: dict[int, int] = field(default_factory=dict)
    _figures: tuple[int, int] = (0, 0)

    async def refresh(self) -> None:
        """Read what is stored now."""
        found = await self.source.fetch(f"SELECT {_COLUMNS} FROM resource ORDER BY type, id, version")
        self.rows = _rows(found)
        inside = await self.source.fetch("SELECT rid, container_rid FROM contained")
        self._inside = {one["rid"]: one["container_rid"] for one in inside}
        self._figures = await self._figured()

    async def _figured(self) -> tuple[int, int]:
        row = await self.source.fetchrow("SELECT count(*), count(died) FROM resource")
        assert row is not None
        return row[0], row[1]

    async def is_unchanged(self) -> bool:
        """Whether the first database is as it was when it was read last."""
        return await self._figured() == self._figures

    async def hold(self, rids: Iterable[int]) -> None:
        """Make the second database hold exactly these rows."""
        current = {row.rid: row.current for row in self.rows}
        wanted = {rid: current[rid] for rid in rids}
        wanted |= {rid: wanted[of] for rid, of in self._inside.items() if of in wanted}
        gone = [rid for rid, state in self._held.items() if wanted.get(rid) is not state]
        new = [rid for rid, state in wanted.items() if self._held.get(rid) is not state]
        async with self.copy.transaction():
            if gone:
                for table in self.tables:
                    await self.copy.execute(f"DELETE FROM {table} WHERE rid = any($1::bigint[])", gone)
            if new:
                listed = ",".join(map(str, new))
                for table in self.tables:
                    await self._copy(table, f"SELECT * FROM {table} WHERE rid IN ({listed})")
            for table in self.shared:
                await self.copy.execute(f"DELETE FROM {table}")
                await self._copy(table, f"SELECT * FROM {table}")
            await self.copy.execute("DELETE FROM term")
            await self._copy("term", _TERMS.format(",".join(map(str, wanted)) or "0"))
        self._held = wanted

    async def taken_back(self) -> list[Row]:
        """What the second server has written by itself, which is undone."""
        found = await self.copy.fetch(
            f"SELECT {_COLUMNS} FROM resource"
            " WHERE (type, id) IN (SELECT type, id FROM resource WHERE rid > $1) ORDER BY type, id, version",
            OWN_RIDS,
        )
        if found:
            async with self.copy.transaction():
                for table in self.tables:
                    await self.copy.execute(f"DELETE FROM {table} WHERE rid > $1", OWN_RIDS)
                current = [rid for rid, is_current in self._held.items() if is_current]
                for table in ("resource", "contained"):
                    await self.copy.execute(
                        f"UPDATE {table} SET died = NULL WHERE rid = any($1::bigint[]) AND died IS NOT NULL",
                        current,
                    )
        return [row for row in _rows(found) if row.rid > OWN_RIDS]

    async def _copy(self, table: str, query: str) -> None:
        buffer = io.BytesIO()
        await self.source.copy_from_query(query, output=buffer)
        buffer.seek(0)
        if buffer.getbuffer().nbytes:
            await self.copy.copy_to_table(table, source=buffer)

    async def token(self, caller: Caller) -> Granted:
        """A token; who breaks the glass has done so, and says so with each request. Nobody else has: it is
        broken for a person, whatever the token."""
        await self.source.execute("DELETE FROM broken_glass")
        who = await granted(
            self.dsn,
            *caller.scopes,
            user=caller.user,
            patient=caller.patient,
            own=caller.own,
            roles=tuple(name for name, _ in caller.roles),
        )
        for id_ in (None,) if caller.glass is None else caller.glass:
            whose = {"name": "patient", "valueReference": {"reference": f"Patient/{id_}"}}
            reason = {"name": "reason", "valueString": "unconscious in the emergency room"}
            body = {"resourceType": "Parameters", "parameter": [reason] if id_ is None else [reason, whose]}
            reply = await self.main.json("POST", "/$break-glass", body, [*who.headers.items()])
            assert reply.status == 200, reply.body
        return replace(who, purpose="BTG") if caller.breaks_glass else who

    async def both(self, request: Request, who: Granted) -> tuple[Reply, Reply]:
        """The answers of both servers."""
        target = request.target.replace("_total=estimate", "_total=accurate")
        body = request.body.replace(b"_total=estimate", b"_total=accurate")
        headers = [*request.headers, *who.headers.items()]
        mine, theirs = await asyncio.gather(
            self.main.ask(request.method, request.target, request.body, headers),
            self.other.ask(request.method, target, body, request.headers),
        )
        return mine, theirs


def _rows(found: Iterable[asyncpg.Record]) -> list[Row]:
    """In the order of versions; a deletion has what it ended."""
    rows: list[Row] = []
    for one in found:
        resource: Resource
        if one["deleted"]:
            resource = rows[-1].resource
        else:
            meta = json.loads(one["meta"] or "{}") | {"versionId": str(one["version"])}
            meta["lastUpdated"] = one["updated"].isoformat(timespec="microseconds").replace("+00:00", "Z")
            head = {"resourceType": one["type"], "id": one["id"], "meta": meta}
            resource = head | json.loads(one["content"])
        is_over, current, updated = one["deleted"], one["current"], one["updated"]
        rows.append(
            Row(one["rid"], one["type"], one["id"], one["version"], is_over, current, updated, resource)
        )
    return rows


_ASKED_AT = re.compile(rb'^({"resourceType":"Bundle","meta":{"lastUpdated":")[^"]+')
"""What a feed of versions says of itself: the instant that it is older than."""


def normal(reply: Reply, asked: str = "") -> tuple[int, tuple[tuple[str, str], ...], bytes]:
    """What is to be equal: all but the texts of cursors, request ids, and how an estimate is asked for."""
    body = re.sub(rb"_cursor=[\w%-]+", b"_cursor=*", reply.body).replace(
        b"_total=estimate", b"_total=accurate"
    )
    body = _ASKED_AT.sub(rb"\1*", body)
    dropped = {"x-request-id", "date"} | ({"content-length"} if body != reply.body else set())
    if "_total=estimate" in asked:
        dropped.add("content-length")
    return reply.status, tuple(sorted(h for h in reply.headers if h[0] not in dropped)), body


def link(reply: Reply, relation: str) -> str | None:
    """The path below the base of a page link."""
    if reply.status != 200 or reply.media_type != JSON or not reply.body:
        return None
    answer = json.loads(reply.body)
    links: list[dict[str, str]] = answer.get("link", []) if answer["resourceType"] == "Bundle" else []
    url = next((one["url"] for one in links if one["relation"] == relation), None)
    return url.removeprefix(BASE) if url is not None else None


@asynccontextmanager
async def twin(
    seed: int, besides: Sequence[Resource] = (), consent: str = "off", **more: object
) -> AsyncIterator[Twin]:
    """A hospital in the first database, with a history and what is `besides`; nothing in the second."""
    async with AsyncExitStack() as stack:
        dsn = stack.enter_context(postgres.database())
        other = stack.enter_context(postgres.database())
        source, copy = await asyncpg.connect(dsn), await asyncpg.connect(other)
        stack.push_async_callback(source.close)
        stack.push_async_callback(copy.close)
        for row in await source.fetch("SELECT name, value FROM server"):
            await copy.execute("UPDATE server SET value = $2 WHERE name = $1", *row)
        await copy.execute("SELECT setval('rid', $1)", OWN_RIDS + 1)
        settings = {"base_url": BASE, "process_time_header": False, "roles": json.dumps(ROLES)}
        settings |= {"full_text": "content"} | more
        open_ = await stack.enter_async_context(opened(other, auth="off", **settings))
        async with opened(dsn, auth="off", **{**settings, "update_create": True}) as door:
            await _lived(door, Hospital(seed))
            for one in besides:
                reply = await door.json("PUT", f"/{one['resourceType']}/{one['id']}", one)
                assert reply.status == 201, reply.body
        main = await stack.enter_async_context(opened(dsn, auth="smart", consent=consent, **settings))
        tables = await _tables(source, True), await _tables(source, False)
        made = Twin(main, open_, dsn, source, copy, *tables, consent != "off")
        await made.refresh()
        yield made


async def _tables(connection: asyncpg.Connection, by_row: bool) -> list[str]:
    """Those that hold something about a row, or all others."""
    found = await connection.fetch(
        "SELECT c.relname, EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'rid')"
        " AS by_row"
        " FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')"
        " AND NOT c.relispartition ORDER BY c.relname <> 'resource', c.relname"
    )
    return [one["relname"] for one in found if one["by_row"] is by_row and one["relname"] not in OWN]


async def _lived(door: Door, hospital: Hospital) -> None:
    """The resources are written, and then some are changed, deleted and made again."""
    resources = hospital.population()
    entries = [
        {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
        for one in resources
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    reply = await door.json("POST", "/", bundle)
    assert reply.status == 200, reply.body
    pick, kept = hospital.pick, [one for one in resources if one["resourceType"] != "Patient"]
    for _ in range(70):
        one = pick.choice(kept)
        path = f"/{one['resourceType']}/{one['id']}"
        if pick.random() < 0.25:
            reply = await door.ask("DELETE", path)
        else:
            reply = await door.json("PUT", path, hospital.changed(one))
        assert reply.status in (200, 201, 204), reply.body
