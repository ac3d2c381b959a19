"""Records drawn, merged, edited and taken apart: the server agrees with a slow model after each step."""

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http.merges import asked, ids, observed, person, post, stored
from tests.http.support import found, put, read
from tests.support.server import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient
PATIENTS = 4
RUN = itertools.count()

PATIENT = st.integers(0, PATIENTS - 1)
STEPS = st.one_of(
    st.tuples(st.just("merge"), PATIENT, PATIENT),
    st.tuples(st.just("merge"), PATIENT, PATIENT),
    st.tuples(st.just("undo"), PATIENT, PATIENT),
    st.tuples(st.just("undo"), PATIENT, PATIENT),
    st.tuples(st.just("create"), PATIENT, st.none()),
    st.tuples(st.just("assign"), st.integers(0, 9), PATIENT),
    st.tuples(st.just("edit"), st.integers(0, 9), st.none()),
    st.tuples(st.just("delete"), st.integers(0, 9), st.none()),
    st.tuples(st.just("name"), PATIENT, st.none()),
)


@dataclass
class Model:
    """What is stored, said in the plainest way: of whom an author said that a resource is, and the merges
    that hold."""

    said: dict[int, int] = field(default_factory=dict)
    notes: dict[int, int] = field(default_factory=dict)
    into: dict[int, int] = field(default_factory=dict)
    names: dict[int, int] = field(default_factory=dict)
    made: int = 0

    def reads(self, patient: int) -> int:
        while patient in self.into:
            patient = self.into[patient]
        return patient

    def merge(self, source: int, target: int) -> bool:
        if source == target or source in self.into or target in self.into:
            return False
        self.into[source] = target
        return True

    def undo(self, source: int, target: int) -> bool:
        if self.into.get(source) != target or target in self.into:
            return False
        del self.into[source]
        return True

    def refer(self, one: int, patient: int) -> None:
        """Who writes what they read says nothing new."""
        if one not in self.said or self.reads(self.said[one]) != patient:
            self.said[one] = patient

    def values(self, patient: int) -> set[str]:
        """Its identifiers: its own, and those of whom it stands for."""
        others = [one for one, target in self.into.items() if target == patient]
        return {f"v{patient}"}.union(*(self.values(one) for one in others))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(database: str) -> AsyncIterator[Http]:
    async with serving(database) as client:
        yield client


@settings(max_examples=25, deadline=None)
@given(st.lists(STEPS, min_size=4, max_size=14))
async def test_the_server_agrees(http: Http, steps: list[tuple[str, int, Any]]) -> None:
    run, model = f"r{next(RUN)}", Model()
    await stored(http, *(person(f"{run}-p{n}", f"v{n}") for n in range(PATIENTS)))
    for patient in range(PATIENTS):
        await step(http, run, model, ("create", patient, None))
    for one in steps:
        await step(http, run, model, one)
        await agree(http, run, model)
    while model.into:
        source, target = next((s, t) for s, t in model.into.items() if t not in model.into)
        await step(http, run, model, ("undo", source, target))
    await agree(http, run, model)
    for patient in range(PATIENTS):
        now = await read(http, f"Patient/{run}-p{patient}")
        expected = person(f"{run}-p{patient}", f"v{patient}")
        if patient in model.names:
            expected["name"] = [{"text": str(model.names[patient])}]
        assert {name: value for name, value in now.items() if name != "meta"} == expected


async def step(http: Http, run: str, model: Model, one: tuple[str, int, Any]) -> None:
    kind, first, second = one
    match kind:
        case "merge" | "undo":
            done = model.merge(first, second) if kind == "merge" else model.undo(first, second)
            operation = "merge" if kind == "merge" else "undo-merge"
            answer = await post(http, operation, asked(f"{run}-p{first}", f"{run}-p{second}"))
            assert answer.status_code == (200 if done else 422), answer.text
        case "create":
            await write(http, run, model, model.made, first)
            model.made += 1
        case "assign" if first in model.said:
            await write(http, run, model, first, second)
        case "edit" if first in model.said:
            model.notes[first] = model.notes.get(first, 0) + 1
            await write(http, run, model, first, model.reads(model.said[first]))
        case "delete" if first in model.said:
            del model.said[first]
            assert (await http.delete(f"/Observation/{run}-o{first}")).status_code == 204
        case "name":
            model.names[first] = model.names.get(first, 0) + 1
            patient = await read(http, f"Patient/{run}-p{first}")
            await put(http, {**patient, "name": [{"text": str(model.names[first])}]})


async def write(http: Http, run: str, model: Model, one: int, patient: int) -> None:
    note = {"note": [{"text": str(model.notes[one])}]} if one in model.notes else {}
    model.refer(one, patient)
    await put(http, observed(f"{run}-o{one}", f"{run}-p{patient}", **note))


async def agree(http: Http, run: str, model: Model) -> None:
    """Each resource is there once, in the record of one patient, as it was edited."""
    for patient in range(PATIENTS):
        expected = {
            f"Observation/{run}-o{one}" for one, said in model.said.items() if model.reads(said) == patient
        }
        held = await found(http, f"Observation?patient={run}-p{patient}&_count=100")
        assert len(held) == len(expected)
        assert {f"Observation/{one['id']}" for one in held} == expected
        for one in held:
            notes = model.notes.get(int(one["id"].rpartition("o")[2]))
            assert one.get("note") == (None if notes is None else [{"text": str(notes)}])
        now = await read(http, f"Patient/{run}-p{patient}")
        assert now["active"] is (patient not in model.into)
        kinds = {link["type"] for link in now.get("link", ())}
        assert ("replaced-by" in kinds) is (patient in model.into)
        if patient not in model.into:
            assert {one["value"] for one in now["identifier"]} == model.values(patient)
    current = {f"Patient/{run}-p{one}" for one in range(PATIENTS) if one not in model.into}
    assert (
        await ids(http, f"Patient?active=true&_id={','.join(f'{run}-p{n}' for n in range(PATIENTS))}")
        == current
    )
