"""What undoing gives back, without a server: against the model of what authors wrote."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from fhirserver.identity.moving import Moves, redirected
from fhirserver.identity.origins import Fact, Unclear, returned, traced
from tests.support.authors import STEPS, Door, Listed, Step, run

Resource = dict[str, Any]
Versions = list[tuple[Resource | None, list[Fact]]]


@dataclass
class Small:
    """The smallest thing that merges: versions, and what was done in each."""

    into: dict[tuple[str, str], str] = field(default_factory=dict)
    merges: dict[tuple[str, str], str] = field(default_factory=dict)
    versions: dict[int, Versions] = field(default_factory=dict)
    made: int = 0

    async def merge(self, source: int, target: int, may: bool) -> None:
        if not may:
            return
        self.made += 1
        key = ("Patient", str(source))
        self.merges[key], self.into[key] = f"m{self.made}", str(target)
        for versions in self.versions.values():
            now = versions[-1][0]
            made = None if now is None else redirected(now, "list", key, str(target), ())
            if made is not None:
                versions.append((made[0], [Fact(self.merges[key], made[1].places)]))

    async def undo(self, source: int, target: int, may: bool) -> set[int]:
        unclear: set[int] = set()
        if not may:
            return unclear
        key = ("Patient", str(source))
        merge = self.merges[key]
        del self.into[key]
        for n, versions in self.versions.items():
            now, facts = versions[-1]
            assert now is not None
            origins = traced(versions)
            try:
                made = returned(now, origins, merge, key, None)
            except Unclear:
                unclear.add(n)
                made = returned(now, origins, merge, key, False)
            if made is None:
                facts.append(Fact(merge, (), back=True))
            else:
                versions.append((made[0], [Fact(merge, made[1], back=True)]))
        return unclear

    async def write(self, n: int, one: Listed, sent: list[tuple[int, int]]) -> None:
        resource, moves = Moves(self.into).followed(listed(one, sent), "list", ())
        facts = [Fact(self.merges[move.source], move.places) for move in moves]
        self.versions.setdefault(n, []).append((resource, facts))

    async def delete(self, n: int) -> None:
        self.versions[n].append((None, []))

    async def read(self, n: int) -> list[int]:
        now = self.versions[n][-1][0]
        assert now is not None
        held = [now["subject"], *(entry["item"] for entry in now["entry"])]
        return [int(one["reference"].rpartition("/")[2]) for one in held]


def listed(one: Listed, sent: list[tuple[int, int]]) -> Resource:
    entries = [
        {"item": {"reference": f"Patient/{said}"}} | ({"mark": number} if one.marked else {})
        for said, number in sent[1:]
    ]
    return {
        "resourceType": "List",
        "note": one.notes,
        "subject": {"reference": f"Patient/{sent[0][0]}"},
        "entry": entries,
    }


@settings(max_examples=400, deadline=None)
@given(st.lists(STEPS, min_size=3, max_size=16))
@example([("merge", 1, 0), ("append", 0, 1)])
@example([("merge", 1, 2), ("merge", 0, 2), ("subject", 0, 1)])
@example([("merge", 0, 1), ("merge", 1, 2), ("undo", 1, 2)])
def test_undoing_gives_back_what_was_said_or_asks(steps: list[Step]) -> None:
    small = Small()
    door = Door(small.merge, small.undo, small.write, small.delete, small.read)
    asyncio.run(run(door, steps))
