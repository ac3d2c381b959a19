"""Two servers on one database asked the same in turns of half a second, one with something and one without.

What else the machine does meets both alike. The cost is the processor time of server and PostgreSQL for a
request, which depends little on who else is there; beside it stands how many times as long an answer took,
the median over neighbouring turns.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from statistics import median

import psutil
from rich.console import Console

from benchmarks.client import Measured, request, send, send_for
from benchmarks.report import Results, timed

CLIENTS = 8
TURN_S = 0.5


@dataclass(frozen=True, slots=True)
class Case:
    """The same requests, without and with. `target`: how many times the cost that may be; `alone`: of one
    client only."""

    name: str
    without: list[bytes]
    within: list[bytes]
    target: float
    alone: bool = False


@dataclass(slots=True)
class Side:
    """A server, and what its turns of a case gave: answers, processor seconds of it and of PostgreSQL, and
    the rate of each turn."""

    port: int
    processes: list[psutil.Process]
    requests: list[bytes] = field(default_factory=list)
    answers: int = 0
    cpu_s: float = 0.0
    rates: list[float] = field(default_factory=list)
    last: Measured = field(default_factory=Measured)

    def begin(self, requests: list[bytes]) -> None:
        self.requests, self.answers, self.cpu_s, self.rates = requests, 0, 0.0, []

    @property
    def cost_us(self) -> float:
        """Processor time of an answer."""
        return self.cpu_s * 1e6 / self.answers

    async def turn(self, clients: int) -> None:
        before = self.used_s()
        measured = self.last = await send_for(self.port, self.requests, clients, TURN_S)
        if set(measured.statuses) != {200}:
            raise RuntimeError(f"answers were {dict(measured.statuses)}: {measured.first_error[:300]!r}")
        self.cpu_s += self.used_s() - before
        self.answers += len(measured.latencies)
        self.rates.append(measured.rate)

    def used_s(self) -> float:
        """Processor seconds of all processes so far."""
        used = 0.0
        for process in self.processes:
            with suppress(psutil.Error):  # a connection of the database that has ended
                times = process.cpu_times()
                used += times.user + times.system
        return used


def side(server: psutil.Process, port: int, owner: psutil.Process) -> Side:
    """A server on the PostgreSQL that is `owner`'s, if that has one of its own: it counts for all servers."""
    own = [server, *server.children(recursive=True)]
    database = [one for one in owner.children(recursive=True) if _is_postgres(one)]
    return Side(port, [one for one in own if not _is_postgres(one)] + database)


def _is_postgres(process: psutil.Process) -> bool:
    return "postgres" in process.name().lower()


def get(paths: list[str], tokens: list[str] | None = None) -> list[bytes]:
    """Requests, each with its token."""
    if tokens is None:
        return [request("GET", path) for path in paths]
    return [
        request("GET", path, Authorization=f"Bearer {token}")
        for path, token in zip(paths, tokens, strict=True)
    ]


async def warm(case: Case, without: int, within: int) -> None:
    """Let the servers on the two ports open the connections whose processes are then counted."""
    for port, requests in ((without, case.without), (within, case.within)):
        await send(port, requests, CLIENTS)


async def compare(
    results: Results, console: Console, section: str, pair: tuple[Side, Side], cases: list[Case], turns: int
) -> None:
    """Adds a row for each case, of one client and of many."""
    without, within = pair
    for case in cases:
        for clients in (1, CLIENTS):
            target = None if clients > 1 and case.alone else case.target
            await _take_turns(pair, case, clients, turns)
            row = timed(f"{case.name}, {clients} client{'s' if clients > 1 else ''}", within.last)
            row.value, row.unit = within.cost_us / without.cost_us, "x"
            kept = f"{'within' if row.value <= target else 'ABOVE'} {target} x" if target else "no target"
            longer = median(a / b for a, b in zip(without.rates, within.rates, strict=True))
            row.note = f"{kept}; {without.cost_us:,.0f} -> {within.cost_us:,.0f} µs, {longer:.2f} x as long"
            results.add(section, row)
            console.print(f"  {row.name}: {row.value:.2f} x, {row.note}", highlight=False, markup=False)


async def _take_turns(pair: tuple[Side, Side], case: Case, clients: int, turns: int) -> None:
    for one, requests in zip(pair, (case.without, case.within), strict=True):
        await send(one.port, requests * 2, clients)
        one.begin(requests)
    for turn in range(turns):
        # Each of the two begins as often: what grows or cools meanwhile cancels out.
        for one in pair if turn % 2 else reversed(pair):
            await one.turn(clients)
