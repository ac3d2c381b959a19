"""What undoing gives back, without a server: against the model of what authors wrote."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
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


G, H, A = ({"reference": f"Patient/{id_}"} for id_ in "gha")


def appointment(*participants: tuple[Resource, str, str]) -> Resource:
    listed = [
        {"actor": {**actor}, "type": [{"text": role}], "status": status}
        for actor, role, status in participants
    ]
    return {"resourceType": "Appointment", "participant": listed}


def basic(*extensions: tuple[Resource, str]) -> Resource:
    return {
        "resourceType": "Basic",
        "extension": [{"url": f"urn:{url}", "valueReference": {**whom}} for whom, url in extensions],
    }


def answered(*items: tuple[Resource, str, str]) -> Resource:
    listed = [
        {"linkId": id_, "text": text, "answer": [{"valueReference": {**whom}}]} for whom, id_, text in items
    ]
    return {"resourceType": "QuestionnaireResponse", "item": listed}


def group(*members: Resource) -> Resource:
    return {"resourceType": "Group", "member": [{"entity": {**one}} for one in members]}


def once_undone(authored: Resource, edited: Resource) -> Resource | None:
    """What undoing makes of what was edited since g was merged into h; None where it asks."""
    source = ("Patient", "g")
    moved = redirected(authored, "x", source, "h", ())
    assert moved is not None
    origins = traced([(moved[0], [Fact("m", moved[1].places)]), (edited, [])])
    try:
        made = returned(edited, origins, "m", source, None)
    except Unclear:
        return None
    return edited if made is None else made[0]


@pytest.mark.parametrize(
    ("authored", "edited"),
    [
        (
            appointment((G, "mother", "ok"), (H, "child", "ok")),
            appointment((H, "child", "no"), (H, "mother", "no")),
        ),
        (
            appointment((G, "mother", "ok"), (H, "child", "ok")),
            appointment((H, "child", "ok"), (H, "mother", "no")),
        ),
        (
            appointment((G, "mother", "ok"), (A, "child", "ok")),
            appointment((A, "mother", "ok"), (H, "child", "ok")),
        ),
        (appointment((G, "mother", "ok")), appointment((H, "aunt", "ok"))),
        (basic((G, "mother")), basic((H, "child"))),
        (basic((G, "mother"), (A, "child")), basic((A, "mother"), (H, "child"))),
        (
            basic((G, "mother"), (H, "child")),
            basic((H | {"display": "C"}, "child"), (H | {"display": "M"}, "mother")),
        ),
        (answered((G, "1", "who"), (H, "2", "whom")), answered((H, "2", "Whom"), (H, "1", "Who"))),
        (answered((G, "1", "who"), (H, "2", "whom")), answered((H, "2", "whom"), (H, "1", "who"))),
        (group(G, A), group(A, H)),
    ],
)
def test_where_items_may_be_others_it_is_asked(authored: Resource, edited: Resource) -> None:
    assert once_undone(authored, edited) is None


@pytest.mark.parametrize(
    ("authored", "edited", "undone"),
    [
        (
            appointment((G, "mother", "ok"), (A, "child", "ok")),
            appointment((H, "mother", "no"), (A, "child", "no")),
            appointment((G, "mother", "no"), (A, "child", "no")),
        ),
        (
            appointment((G, "mother", "ok"), (H, "child", "ok")),
            appointment((H, "mother", "ok"), (H, "child", "no")),
            appointment((G, "mother", "ok"), (H, "child", "no")),
        ),
        (basic((G, "a"), (A, "b")), basic((A, "b"), (H, "a")), basic((A, "b"), (G, "a"))),
        (
            answered((G, "1", "who"), (A, "2", "whom")),
            answered((H, "1", "Who?"), (A, "2", "whom")),
            answered((G, "1", "Who?"), (A, "2", "whom")),
        ),
        (group(A, G), group(H), group(G)),
        (group(G), group(A, H), group(A, G)),
    ],
)
def test_where_an_item_is_the_same_it_goes_back(
    authored: Resource, edited: Resource, undone: Resource
) -> None:
    assert once_undone(authored, edited) == undone
