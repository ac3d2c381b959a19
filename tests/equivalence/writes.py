"""Writes by restricted callers: they change only what they may, and answer as the second server does.

For a caller whose scopes give every letter the second server holds what that caller may see, and takes
all writes. If what it wrote lies within what the caller may write, the first server has to answer the
same and to have written the same; if not, it has to refuse and to have written nothing.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final
from urllib.parse import urlencode

from tests.equivalence.draw import Draw, Request
from tests.equivalence.hospital import PATIENTS, TYPES, Hospital
from tests.equivalence.predicate import GIVE_ACCESS, Caller, Row, may, sees, teams_of
from tests.equivalence.run import Tally, difference
from tests.equivalence.twin import Twin
from tests.support.callers import Granted
from tests.support.door import JSON, Reply

MADE = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
INSTANT = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
OF = {"POST": "c", "PUT": "u", "PATCH": "u", "DELETE": "d"}


@dataclass
class Eyes:
    """What a caller may do to which rows, worked out once for each row as long as the care teams stay."""

    caller: Caller
    teams: frozenset[str] = frozenset()
    known: dict[tuple[int, str], bool] = field(default_factory=dict)
    current: dict[tuple[str, str], Row] = field(default_factory=dict)

    def look(self, rows: list[Row]) -> None:
        teams = frozenset(teams_of(self.caller, rows))
        self.current = {(row.type, row.id): row for row in rows if row.current}
        if teams != self.teams:
            self.teams, self.known = teams, {}

    def may_not(self, type_: str, letters: str) -> bool:
        return not all(may(self.caller, type_, one) for one in letters)

    def is_even(self, type_: str, rows: list[Row]) -> bool:
        """Whether what they may see of the type is what they may write; shared types are only read."""
        return all(
            self.sees(r, "s") is self.sees(r, "u") is self.sees(r, "d") for r in rows if r.type == type_
        )

    def is_about_access(self, row: Row) -> bool:
        """Whether the row says what the caller may do themselves, which others may have to write."""
        own = {self.caller.user, *(("Patient", id_) for id_ in self.caller.own)}
        return row.type in (*GIVE_ACCESS, "RelatedPerson", "CareTeam") and any(
            "/".join(one) in json.dumps(row.resource) for one in own if one
        )

    def heads(self, rows: list[Row]) -> list[Row]:
        """What they may see, but of what was taken from their sight the versions before as well."""
        last = {(row.type, row.id): row for row in rows}
        return [r for r in rows if self.sees(r, "s") and self.sees(last[r.type, r.id], "s")]

    def sees(self, row: Row, action: str) -> bool:
        key = row.rid, action
        if key not in self.known or row.type == "Binary":  # that goes by other rows, which change
            self.known[key] = sees(self.caller, row, action, set(self.teams), self.current)
        return self.known[key]


# -- what is asked


def drawn(draw: Draw, hospital: Hospital, eyes: Eyes, rows: list[Row]) -> Request:
    """A write; of those by id half are to what is there."""
    kind = draw.pick.random()
    if kind < 0.72:
        return _single(draw, hospital, eyes, rows)
    bundle = "batch" if kind < 0.86 else "transaction"
    entries = [_entry(_single(draw, hospital, eyes, rows)) for _ in range(1 if bundle == "batch" else 2)]
    body = json.dumps({"resourceType": "Bundle", "type": bundle, "entry": entries}).encode()
    return Request("s", "", None, "POST", "/", body, (("content-type", JSON),))


def _single(draw: Draw, hospital: Hospital, eyes: Eyes, rows: list[Row]) -> Request:
    pick = draw.pick
    types = [*TYPES, *["Observation", "Condition", "CareTeam", "Patient", "Appointment"] * 3]
    open_ = [type_ for type_ in types if not eyes.may_not(type_, "u")]
    type_ = pick.choice(open_ if open_ and pick.random() < 0.9 else types)
    of_type = [row for row in rows if row.type == type_]
    theirs = [row for row in of_type if eyes.sees(row, "u")]
    current = None
    if of_type and pick.random() < 0.9:
        current = pick.choice(theirs if theirs and pick.random() < 0.6 else of_type)
    id_ = current.id if current else "unknown"
    resource = hospital.changed({"resourceType": type_, "id": id_})
    if current is not None and pick.random() < 0.6:
        kept = {name: value for name, value in current.resource.items() if name != "meta"}
        resource = {**kept, **hospital.meta(), "language": pick.choice(("de", "en", "fr"))}
    headers = _preconditions(pick)
    way = pick.choice(
        ("create", "create", "update", "update", "update", "patch", "delete", "none-exist", "where", "where")
    )
    if way == "create":
        return _sent("POST", f"/{type_}", _without_id(resource), type_, "c", ())
    if way == "update":
        return _sent("PUT", f"/{type_}/{id_}", resource, type_, "u", headers)
    if way == "patch":
        return _patch(pick, f"/{type_}/{id_}", type_, current, "u", headers)
    if way == "delete":
        return _sent("DELETE", f"/{type_}/{id_}", None, type_, "d", headers)
    criteria = urlencode([draw.clause(type_, 2)])
    if way == "none-exist":
        return _sent("POST", f"/{type_}", _without_id(resource), type_, "cs", (("if-none-exist", criteria),))
    method = pick.choice(("PUT", "PATCH", "DELETE"))
    path = f"/{type_}?{criteria}"
    if method == "PATCH":
        return _patch(pick, path, type_, current, "us", ())
    body = _without_id(resource) if method == "PUT" else None
    return _sent(method, path, body, type_, OF[method] + "s", headers)


def _preconditions(pick: Random) -> tuple[tuple[str, str], ...]:
    found = []
    if pick.random() < 0.15:
        found.append(("if-match", f'W/"{pick.randint(1, 2)}"'))
    if pick.random() < 0.2:
        found.append(("prefer", f"return={pick.choice(('minimal', 'OperationOutcome', 'representation'))}"))
    return tuple(found)


def _without_id(resource: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in resource.items() if name != "id"}


def _sent(
    method: str, path: str, body: Any, type_: str, letters: str, headers: tuple[tuple[str, str], ...]
) -> Request:
    text = json.dumps(body).encode() if body is not None else b""
    kind = (("content-type", JSON),) if text else ()
    return Request("s", letters, type_, method, path, text, (*headers, *kind))


def _patch(
    pick: Random,
    path: str,
    type_: str,
    current: Row | None,
    letters: str,
    headers: tuple[tuple[str, str], ...],
) -> Request:
    """Moves the subject, takes a label or a category away, or looks at something."""
    other = {"reference": f"Patient/{pick.choice(PATIENTS)}"}
    if pick.random() < 0.4:
        text = json.dumps(_by_expression(pick, type_, other)).encode()
        return Request("s", letters, type_, "PATCH", path, text, (*headers, ("content-type", JSON)))
    operations: list[dict[str, Any]] = [
        {"op": "add", "path": "/subject", "value": other},
        {"op": "add", "path": "/patient", "value": other},
        {"op": "remove", "path": "/category"},
        {"op": "remove", "path": "/meta/security"},
        {"op": "add", "path": "/meta", "value": {"tag": [{"system": "urn:tag", "code": "t1"}]}},
        {"op": "add", "path": "/language", "value": "de"},
        {"op": "test", "path": "/status", "value": "final"},
    ]
    fitting = operations[pick.choice((0, 0, 4, 5)) :] if current is None else operations
    body = json.dumps([pick.choice(fitting)]).encode()
    return Request(
        "s", letters, type_, "PATCH", path, body, (*headers, ("content-type", "application/json-patch+json"))
    )


def _by_expression(pick: Random, type_: str, other: dict[str, str]) -> dict[str, Any]:
    """The same as FHIRPath Patch, with conditions on what may be hidden."""
    reference: dict[str, Any] = {"name": "value", "valueReference": other}
    language: dict[str, Any] = {"name": "value", "valueCode": "de"}
    operation, path, *parts = pick.choice(
        (
            ("replace", f"{type_}.subject", reference),
            ("add", type_, {"name": "name", "valueString": "subject"}, reference),
            ("delete", f"{type_}.category.where(coding.code.exists())"),
            ("delete", f"{type_}.meta.security"),
            (
                "add",
                f"{type_}.where(meta.versionId = '1')",
                {"name": "name", "valueString": "language"},
                language,
            ),
            ("replace", f"{type_}.language", language),
            ("replace", f"{type_}.subject.resolve().id", {"name": "value", "valueString": "x"}),
        )
    )
    part = [{"name": "type", "valueCode": operation}, {"name": "path", "valueString": path}, *parts]
    return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": part}]}


def _entry(request: Request) -> dict[str, Any]:
    headers = dict(request.headers)
    asked = {"method": request.method, "url": request.target.removeprefix("/")}
    if "if-none-exist" in headers:
        asked["ifNoneExist"] = headers["if-none-exist"]
    if "if-match" in headers:
        asked["ifMatch"] = headers["if-match"]
    entry: dict[str, Any] = {"request": asked}
    if request.method == "PATCH" and headers["content-type"] == JSON:
        entry["resource"] = json.loads(request.body)
    elif request.method == "PATCH":
        data = b64encode(request.body).decode()
        entry["resource"] = {
            "resourceType": "Binary",
            "contentType": "application/json-patch+json",
            "data": data,
        }
    elif request.body:
        entry["resource"] = json.loads(request.body)
    return entry


# -- what comes of it


async def check(twin: Twin, seed: int, chosen: list[Caller], requests: int) -> Tally:
    """`requests` writes of each caller, one after the other, each on what the ones before have left."""
    pick, tally, hospital = Random(seed), Tally(), Hospital(seed + 1)
    for row in twin.rows:
        hospital.made.setdefault(row.type, []).append(row.id)
    statement = json.loads((await twin.main.ask("GET", "/metadata")).body)
    for caller in chosen:
        who, eyes = await twin.token(caller), Eyes(caller)
        for _ in range(requests):
            draw = Draw(pick, statement, twin.rows)
            eyes.look(twin.rows)
            request = drawn(draw, hospital, eyes, twin.rows)
            tally.cases += 1
            try:
                await case(twin, eyes, who, request, tally)
            except AssertionError as error:
                tally.failures.append(f"{caller}\n  {request}\n  {error}")
                await twin.refresh()
    return tally


async def case(twin: Twin, eyes: Eyes, who: Granted, request: Request, tally: Tally) -> None:
    before = twin.rows
    expected = None
    if all(eyes.is_even(type_, before) for type_ in _types(request)):
        await twin.hold(row.rid for row in eyes.heads(before))
        theirs = await twin.other.ask(request.method, request.target, request.body, request.headers)
        expected = theirs, await twin.taken_back()
    else:
        await _alike(twin, eyes, who, request)
    mine = await twin.main.ask(
        request.method, request.target, request.body, [*request.headers, *who.headers.items()]
    )
    made = await _made(twin, before)
    tally.shown += bool(made)
    tally.denied += mine.status == 403
    _lawful(eyes, before, made, mine)
    if expected is not None:
        _expected(eyes, request, mine, made, *expected, before)


def _types(request: Request) -> set[str]:
    """The types that it writes."""
    if request.type is not None:
        return {request.type}
    return {re.split(r"[/?]", entry["request"]["url"])[0] for entry in json.loads(request.body)["entry"]}


async def _made(twin: Twin, before: list[Row]) -> list[Row]:
    """The versions that were written; the rows are read again."""
    if await twin.is_unchanged():
        return []
    await twin.refresh()
    known = {row.rid for row in before}
    return [row for row in twin.rows if row.rid not in known]


def _lawful(eyes: Eyes, before: list[Row], made: list[Row], mine: Reply) -> None:
    """Each version that was made, and what it replaced, lies within what the caller may write."""
    assert not (made and mine.status >= 400), f"{mine.status}, but written: {made}"
    current = {(row.type, row.id): row for row in before if row.current}
    for row in made:
        old = current.get((row.type, row.id))
        if row.deleted:
            assert old is not None and eyes.sees(old, "d"), f"deleted: {old}"
        elif old is None:
            assert eyes.sees(row, "c"), f"created: {row}"
        else:
            assert eyes.sees(old, "u"), f"changed: {old}"
            assert eyes.sees(row, "u"), f"changed into: {row}"


def _expected(
    eyes: Eyes,
    request: Request,
    mine: Reply,
    made: list[Row],
    theirs: Reply,
    theirs_made: list[Row],
    before: list[Row],
) -> None:
    """By the second server: the same where it is allowed, a refusal where it is not."""
    if request.type is not None and eyes.may_not(request.type, request.action):
        assert mine.status == 403, f"nothing allows this: {mine}"
        return
    written = {(row.type, row.id) for row in theirs_made}
    replaced = [row for row in before if row.current and (row.type, row.id) in written]
    if _forbidden(mine) and any(eyes.is_about_access(row) for row in (*theirs_made, *replaced)):
        assert not made
        return
    if _WITHOUT_MATCH in mine.body:
        # The state of apps, where people sign in, is changed with If-Match only, whatever else is wrong.
        assert not made and _changes_state(request, theirs, theirs_made), theirs
        return
    if not all(eyes.sees(row, "d" if row.deleted else "c") for row in theirs_made):
        refused = mine.status == 403 or b'"403 Forbidden"' in mine.body
        assert refused and not made, f"{mine.status} {mine.body.decode()} instead of 403: {theirs_made}"
        return
    if request.type is None and _forbidden(mine):
        assert not made and not _granted_all(eyes, request), mine
        return
    one, other = _normal(mine), _normal(theirs)
    assert one == other, f"{difference(one, other)}\n{mine.body[:600]!r}"
    assert len(made) == len(theirs_made), (made, theirs_made)


_WITHOUT_MATCH = b"a Basic is changed with If-Match"


def _changes_state(request: Request, theirs: Reply, theirs_made: list[Row]) -> bool:
    """Whether a write that names no version is to a Basic that the caller sees: the second server changed it,
    or found it and had something else against it."""
    if any(row.type == "Basic" and row.version > 1 for row in theirs_made):
        return True
    entries = json.loads(request.body)["entry"] if request.type is None else [_entry(request)]
    unnamed = [
        one["request"]
        for one in entries
        if one["request"]["url"].startswith("Basic") and "ifMatch" not in one["request"]
    ]
    return any(one["method"] != "POST" for one in unnamed) and _NOT_THERE.search(theirs.body) is None


_NOT_THERE: Final = re.compile(rb"is not known|no Basic matches|not selective enough|was deleted")


def _forbidden(reply: Reply) -> bool:
    return reply.status == 403 or b'"403 Forbidden"' in reply.body


def _granted_all(eyes: Eyes, request: Request) -> bool:
    """Whether the letters of all entries of a Bundle are granted."""
    for entry in json.loads(request.body)["entry"]:
        asked = entry["request"]
        type_ = re.split(r"[/?]", asked["url"])[0]
        searched = "?" in asked["url"] or "ifNoneExist" in asked
        if eyes.may_not(type_, OF[asked["method"]] + ("s" if searched else "")):
            return False
    return True


def _normal(reply: Reply) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
    """Without what is new each time: ids, instants."""

    def plain(text: bytes) -> bytes:
        return INSTANT.sub(b"T", MADE.sub(b"ID", text))

    kept = [(name, plain(value.encode()).decode()) for name, value in reply.headers if name not in _NEW]
    return reply.status, tuple(sorted(kept)), plain(reply.body)


_NEW = {"x-request-id", "date", "last-modified", "content-length"}


async def _alike(twin: Twin, eyes: Eyes, who: Granted, request: Request) -> None:
    """What the caller can do nothing with is as if it were not there: asked by its id, it answers as an id
    does that never was."""
    found = re.fullmatch(r"/(\w+)/([^?]+)", request.target)
    if found is None:
        return
    type_, id_ = found.groups()
    versions = [row for row in twin.rows if (row.type, row.id) == (type_, id_)]
    if not versions or any(eyes.sees(row, one) for row in versions for one in "rsud"):
        return
    unknown = ("zz" + "z" * len(id_))[: len(id_)] if len(id_) > 2 else "zz"
    there, nowhere = (
        replace(request, target=f"/{type_}/{one}", body=_renamed(request, id_, one)) for one in (id_, unknown)
    )
    answers = []
    for asked, own in ((there, id_), (nowhere, unknown)):
        reply = await twin.main.ask(
            asked.method, asked.target, asked.body, [*asked.headers, *who.headers.items()]
        )
        status, headers, body = _normal(reply)
        answers.append((status, headers, body.replace(f"/{own}".encode(), b"/ID")))
    assert answers[0] == answers[1], difference(*answers)
    assert await twin.is_unchanged(), "a hidden resource was changed"


def _renamed(request: Request, old: str, new: str) -> bytes:
    if request.method != "PUT":
        return request.body
    return json.dumps({**json.loads(request.body), "id": new}).encode()
