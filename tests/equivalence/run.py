"""Cases: a caller and a request, asked of both servers, page by page to the end."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime
from random import Random

from tests.equivalence.consents import Consents, breaking
from tests.equivalence.draw import Draw, Request
from tests.equivalence.forms import forms
from tests.equivalence.hospital import TYPES
from tests.equivalence.predicate import Caller, Row, explains, may, sees, teams_of
from tests.equivalence.principals import callers
from tests.equivalence.twin import PAGES_MAX, Twin, link, normal
from tests.support.callers import Granted
from tests.support.door import Reply


class Different(AssertionError):
    """The two answers, and how to ask for them again."""


@dataclass
class Tally:
    """How many cases there were, and of what sort: a property over empty answers would prove little. `rows`
    are the most that a caller of a role could see; `forms` how often one was answered. `kept_out` are
    rows that consents denied, `let_in` those that they would have, had the glass not been broken."""

    cases: int = 0
    pages: int = 0
    shown: int = 0
    denied: int = 0
    refused: int = 0
    kept_out: int = 0
    let_in: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    forms: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def views(caller: Caller, rows: list[Row]) -> dict[str, frozenset[int]]:
    """The rows that the caller may search for, those that they may read, and the latest of these."""
    teams = teams_of(caller, rows)
    last = {(row.type, row.id): row.version for row in rows}
    current = {(row.type, row.id): row for row in rows if row.current}
    readable = [row for row in rows if sees(caller, row, "r", teams, current)]
    searchable = [row for row in rows if sees(caller, row, "s", teams, current)]
    return {
        "s": frozenset(row.rid for row in searchable),
        "now": frozenset(row.rid for row in searchable if last[row.type, row.id] == row.version),
        "r": frozenset(row.rid for row in readable),
        "head": frozenset(row.rid for row in readable if last[row.type, row.id] == row.version),
    }


async def check(twin: Twin, seed: int, principals: int, requests: int) -> Tally:
    """`requests` requests of each of so many principals."""
    pick, tally = Random(seed), Tally()
    statement = json.loads((await twin.main.ask("GET", "/metadata")).body)
    consents = Consents(twin.rows)
    chosen = callers(pick, principals)
    for caller in breaking(pick, chosen) if twin.consents else chosen:
        draw = Draw(pick, statement, twin.rows)
        drawn = [draw.request(lambda one, by=caller: _allowed(by, one)) for _ in range(requests)]
        who, seen = await twin.token(caller), views(caller, twin.rows)
        if twin.consents:
            denied = consents.denied(caller, twin.rows)
            tally.kept_out += len(denied & (seen["s"] | seen["r"]))
            if caller.breaks_glass:
                else_denied = consents.denied(replace(caller, glass=()), twin.rows)
                tally.let_in += len((else_denied - denied) & (seen["s"] | seen["r"]))
            seen = {view: rids - denied for view, rids in seen.items()}
        kind = ",".join(name for name, _ in caller.roles) or "service"
        tally.rows[kind] = max(tally.rows.get(kind, 0), len(seen["s"] | seen["r"]))
        for view in ("s", "now", "r", "head"):
            held = None
            for request in drawn:
                if request.view == view:
                    wanted = seen[view] - over(twin.rows, request.instant)
                    if wanted != held:
                        await twin.hold(held := wanted)
                    await case(twin, caller, who, request, tally)
    return tally


def over(rows: list[Row], instant: datetime | None) -> frozenset[int]:
    """The rows that something had followed at `instant`, whoever may see what that was."""
    if instant is None:
        return frozenset()
    followed = {(row.type, row.id, row.version - 1) for row in rows if row.updated <= instant}
    return frozenset(row.rid for row in rows if (row.type, row.id, row.version) in followed)


async def case(twin: Twin, caller: Caller, who: Granted, request: Request, tally: Tally) -> None:
    """One request with all its pages."""
    tally.cases += 1
    mine, theirs = await twin.both(request, who)
    tally.pages += 1
    try:
        if request.method == "POST" and request.target == "/":
            _same_entries(caller, request, mine, theirs)
        elif not _allowed(caller, request):
            tally.denied += 1
            assert mine.status == 403 or (mine.status == theirs.status and mine.status >= 400), mine
        elif re.fullmatch(r"/[A-Z][A-Za-z]+/\$explain\?.*", request.target):
            # It tells of what was read, hidden rows as well: it is for who sees all of them.
            # No star is about AuditEvents: whoever has it may not see what statements say of these.
            shown = explains(caller) and not twin.consents and b"looks at AuditEvent" not in mine.body
            assert mine.status in ({theirs.status} if shown else {400, 403}), mine
        elif re.match(r"/Patient/\$everything", request.target):
            await _own_record(twin, caller, who, request, mine, tally)
        else:
            _same(mine, theirs, str(request))
            tally.shown += b'"fullUrl"' in mine.body or (
                mine.status == 200 and request.view not in ("s", "now")
            )
            tally.refused += mine.status == 400
            tally.forms.update(forms(request) if mine.status == 200 else ())
            await _pages(twin, who, request, mine, theirs, tally)
    except AssertionError as error:
        tally.failures.append(f"{caller}\n  {request}\n  {error}")


def _allowed(caller: Caller, request: Request) -> bool:
    types = (request.type,) if request.type else (*TYPES, "Account", "ValueSet", "Questionnaire", "Slot")
    return any(may(caller, type_, request.action) for type_ in types)


def _same(mine: Reply, theirs: Reply, asked: str = "") -> None:
    one, other = normal(mine, asked), normal(theirs, asked)
    if one != other:
        raise Different(difference(one, other))


def difference(one: tuple[object, ...], other: tuple[object, ...]) -> str:
    """Where two answers, as `normal` gives them, differ."""
    for name, a, b in zip(("status", "headers", "body"), one, other, strict=True):
        if a != b:
            shown, expected = _short(a, b), _short(b, a)
            return f"{name}\n    shown:    {shown}\n    expected: {expected}\n    ({one[0]}, {other[0]})"
    raise AssertionError


def _short(text: object, other: object) -> str:
    """From where they differ."""
    a, b = str(text), str(other)
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return f"...{a[max(0, at - 160) : at + 340]}"


def _same_entries(caller: Caller, request: Request, mine: Reply, theirs: Reply) -> None:
    """Each entry for itself: those that nothing allows are refused."""
    asked = json.loads(request.body)["entry"]
    shown, expected = json.loads(mine.body)["entry"], json.loads(theirs.body)["entry"]
    assert len(shown) == len(expected) == len(asked)
    for entry, one, other in zip(asked, shown, expected, strict=True):
        type_ = entry["request"]["url"].partition("?")[0]
        if not may(caller, type_, "s"):
            assert one["response"]["status"][:3] in ("403", other["response"]["status"][:3]), one
            assert "resource" not in one, one
        else:
            _same(_as_reply(one), _as_reply(other))


def _as_reply(entry: dict[str, object]) -> Reply:
    return Reply(200, (), json.dumps(entry).encode())


async def _own_record(
    twin: Twin, caller: Caller, who: Granted, request: Request, mine: Reply, tally: Tally
) -> None:
    """Patient/$everything is the record of the one patient that the caller is, or was launched for."""
    own = {caller.patient} if caller.patient is not None else set(caller.own)
    tally.forms.update(forms(request))
    if len(own) != 1:
        assert mine.status == 400, mine
        return
    instance = request.target.replace("/Patient/", f"/Patient/{own.pop()}/")
    reply, expected = await twin.both(replace(request, target=instance), who)
    _same(reply, expected, instance)
    assert (mine.status, _entries(mine)) == (reply.status, _entries(reply)), request


def _entries(reply: Reply) -> object:
    return json.loads(reply.body).get("entry") if reply.status == 200 else None


async def _pages(
    twin: Twin, who: Granted, request: Request, mine: Reply, theirs: Reply, tally: Tally
) -> None:
    """Forward to the end, and one step back from there."""
    follow = replace(request, method="GET", body=b"")
    for number in range(PAGES_MAX):
        here, there = link(mine, "next"), link(theirs, "next")
        if here is None or there is None:
            break
        mine, theirs = await _page(twin, who, follow, here, there)
        tally.pages += 1
        assert number < PAGES_MAX - 1 or len(twin.rows) > PAGES_MAX
    here, there = link(mine, "previous"), link(theirs, "previous")
    if here is not None and there is not None:
        await _page(twin, who, follow, here, there)
        tally.pages += 1


async def _page(twin: Twin, who: Granted, request: Request, here: str, there: str) -> tuple[Reply, Reply]:
    mine, theirs = await asyncio.gather(
        twin.main.ask("GET", here, b"", [*request.headers, *who.headers.items()]),
        twin.other.ask("GET", there, b"", request.headers),
    )
    _same(mine, theirs, here)
    return mine, theirs
