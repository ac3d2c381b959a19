"""What authors wrote, while patients are merged and taken apart again: the model of what undoing gives back.

A reference is what its author said. It reads as the patient who stands for that one while merges hold.
Authors who leave it as they read it say nothing new.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

PATIENTS = 4
PATIENT = st.integers(0, PATIENTS - 1)
LIST = st.integers(0, 1)
PLACE = st.integers(0, 2)
HOW = st.sampled_from(["", "swapped", "marked", "swapped, marked"])
Step = tuple[str, int, Any]

STEPS = st.one_of(
    st.tuples(st.just("merge"), PATIENT, PATIENT),
    st.tuples(st.just("merge"), PATIENT, PATIENT),
    st.tuples(st.just("undo"), PATIENT, PATIENT),
    st.tuples(st.just("append"), LIST, PATIENT),
    st.tuples(st.just("prepend"), LIST, PATIENT),
    st.tuples(st.just("set"), LIST, st.tuples(PLACE, PATIENT)),
    st.tuples(st.just("subject"), LIST, PATIENT),
    st.tuples(st.just("remove"), LIST, PLACE),
    st.tuples(st.just("swap"), LIST, st.tuples(PLACE, PLACE)),
    st.tuples(st.just("resend"), LIST, st.none()),
    st.tuples(st.just("amend"), LIST, PATIENT),
    st.tuples(st.just("touch"), LIST, st.none()),
    st.tuples(
        st.just("rewrite"), LIST, st.tuples(PLACE, PLACE, st.none() | PATIENT, st.none() | PATIENT, HOW)
    ),
    st.tuples(st.just("again"), LIST, st.lists(PATIENT, min_size=2, max_size=4)),
)


@dataclass
class Entry:
    """A reference in a list: what its author said, and what tells the item apart from others."""

    said: int
    number: int


@dataclass
class Listed:
    """A resource with a subject and a list of references; None of it where it was deleted. The items of some
    are told apart by what is in them; of others by their place alone."""

    subject: int
    entries: list[Entry]
    marked: bool
    muddled: bool = False
    """An author has changed which items refer to a patient to whom others were moved: undoing may ask."""
    lost: bool = False
    """Undoing has asked, and was told to leave it."""
    notes: int = 0


@dataclass
class Model:
    into: dict[int, int] = field(default_factory=dict)
    lists: dict[int, Listed] = field(default_factory=dict)
    numbers: int = 0

    def reads(self, said: int) -> int:
        while said in self.into:
            said = self.into[said]
        return said

    def shown(self, n: int) -> list[int]:
        one = self.lists[n]
        return [self.reads(one.subject), *(self.reads(entry.said) for entry in one.entries)]

    def may_merge(self, source: int, target: int) -> bool:
        return source != target and source not in self.into and target not in self.into

    def may_undo(self, source: int, target: int) -> bool:
        return self.into.get(source) == target and target not in self.into

    def new(self, said: int) -> Entry:
        self.numbers += 1
        return Entry(said, self.numbers)

    def edit(self, n: int, kind: str, what: Any) -> list[tuple[int, int]] | None:
        """What an author sends after reading, or of what they wrote themselves: subject and items, each
        with what tells it apart; None where they change nothing."""
        one = self.lists[n]
        before = [(entry.number, self.reads(entry.said), entry.said) for entry in one.entries]
        subject = self.reads(one.subject)
        sent = {entry.number: self.reads(entry.said) for entry in one.entries}
        match kind:
            case "append" | "prepend":
                entry = self.new(what)
                sent[entry.number] = what
                one.entries.insert(0 if kind == "prepend" else len(one.entries), entry)
            case "set" if what[0] < len(one.entries):
                entry = one.entries[what[0]]
                if what[1] != sent[entry.number]:
                    entry.said = sent[entry.number] = what[1]
            case "subject":
                if what != subject:
                    one.subject = subject = what
            case "remove" if what < len(one.entries):
                del one.entries[what]
            case "swap" if max(what) < len(one.entries) and what[0] != what[1]:
                i, j = what
                if not one.marked and sent[one.entries[i].number] == sent[one.entries[j].number]:
                    return None  # nobody could tell
                one.entries[i], one.entries[j] = one.entries[j], one.entries[i]
            case "rewrite" if max(what[:2]) < len(one.entries) and what[0] != what[1]:
                sent |= self._rewrite(one, *what)
            case "resend" | "amend":
                if kind == "amend":
                    one.entries.append(self.new(what))
                subject = one.subject
                sent = {entry.number: entry.said for entry in one.entries}
            case "touch":
                one.notes += 1
            case _:
                return None
        one.muddled |= self._muddles(before, one.entries)
        return [(subject, 0), *((sent[entry.number], entry.number) for entry in one.entries)]

    def _rewrite(
        self, one: Listed, i: int, j: int, first: int | None, second: int | None, how: str
    ) -> dict[int, int]:
        """Two items at once: they change places where something tells them apart, refer to others, and are
        marked anew, but not all of it, as nobody could tell then. What they are sent as."""
        if one.marked and "swapped" in how:
            one.entries[i], one.entries[j] = one.entries[j], one.entries[i]
        sent: dict[int, int] = {}
        for place, said in ((i, first), (j, second)):
            entry = one.entries[place]
            text = self.reads(entry.said)
            if said not in (None, text) and how != "swapped, marked":
                entry.said = text = said
            if one.marked and "marked" in how:
                entry = one.entries[place] = self.new(entry.said)
            sent[entry.number] = text
        return sent

    def _muddles(self, before: list[tuple[int, int, int]], after: list[Entry]) -> bool:
        """Whether, among items that read as a patient to whom one was moved, others stand in other places."""
        for moved_to in {reads for _, reads, said in before if reads != said}:
            then = {place: number for place, (number, reads, _) in enumerate(before) if reads == moved_to}
            now = {e: entry.number for e, entry in enumerate(after) if self.reads(entry.said) == moved_to}
            if then != now:
                return True
        return False


@dataclass
class Door:
    """How a server, or something smaller, is asked. `undo` gives the lists of which it says that it cannot
    tell; it has left these as they are."""

    merge: Callable[[int, int, bool], Awaitable[None]]
    undo: Callable[[int, int, bool], Awaitable[set[int]]]
    write: Callable[[int, Listed, list[tuple[int, int]]], Awaitable[None]]
    delete: Callable[[int], Awaitable[None]]
    read: Callable[[int], Awaitable[list[int]]]


async def run(door: Door, steps: list[Step]) -> None:
    """Take the steps at both, and undo all that holds in the end: they agree after each."""
    model = Model()
    for n in range(2):
        await _again(door, model, n, [n, n, n + 1, n + 2])
    for step in steps:
        await _take(door, model, step)
        await _agree(door, model)
    while model.into:
        source, target = next(pair for pair in model.into.items() if model.may_undo(*pair))
        await _take(door, model, ("undo", source, target))
        await _agree(door, model)
    for n, one in model.lists.items():
        if not one.lost:
            assert await door.read(n) == [one.subject, *(entry.said for entry in one.entries)]


async def _again(door: Door, model: Model, n: int, said: list[int]) -> None:
    one = model.lists[n] = Listed(said[0], [model.new(patient) for patient in said[1:]], marked=n == 0)
    await door.write(n, one, [(said[0], 0), *((entry.said, entry.number) for entry in one.entries)])


async def _take(door: Door, model: Model, step: Step) -> None:
    kind, first, second = step
    match kind:
        case "merge":
            may = model.may_merge(first, second)
            await door.merge(first, second, may)
            if may:
                model.into[first] = second
        case "undo":
            may = model.may_undo(first, second)
            for n in await door.undo(first, second, may):
                assert model.lists[n].muddled, "a conflict where it can be told"
                model.lists[n].lost = True
            if may:
                del model.into[first]
        case "again":
            await door.delete(first)
            await _again(door, model, first, second)
        case _ if not model.lists[first].lost:
            sent = model.edit(first, kind, second)
            if sent is not None:
                await door.write(first, model.lists[first], sent)


async def _agree(door: Door, model: Model) -> None:
    for n, one in model.lists.items():
        if not one.lost:
            assert await door.read(n) == model.shown(n)
