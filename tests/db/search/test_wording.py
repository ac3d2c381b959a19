"""`:text` finds codes by what they are called: PostgreSQL against the specification read literally.

https://hl7.org/fhir/R4/search.html#modifiers
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirserver.params.condition import UnsupportedModifier
from fhirserver.policy.restriction import NOTHING
from fhirserver.search import plan
from fhirserver.search.compile import statement
from fhirserver.search.context import Context
from fhirserver.search.recheck import holds
from tests.db.search import oracle
from tests.db.search.harness import (
    BASES,
    BOUNDS,
    COLUMNS,
    KEYS,
    NOW,
    REGISTRY,
    Harness,
    Runner,
    draft,
    harness,
    query,
)
from tests.support.share import share

TEXTS = ["Body Weight", "body weight (measured)", "BODY-HEIGHT", "Größe", "grosse Sache", "Über", "x" * 700]
TEXTS += [
    "Weight",
    "?!",
    "Blood pressure panel",
    "blood",
    "Ünder",
    "Ambulatory",
    "ambulant",
    "Married",
    "",
    "日本",
]
SOUGHT = [
    "body",
    "Body weight",
    "body height",
    "GROSS",
    "größe",
    "uber",
    "x" * 50,
    "weight",
    "blood p",
    "amb",
]
SOUGHT += ["日", "bodyheight", "nowhere", "m", "b", "married", "body weight measured"]
CODES = [None, "29463-7", "8302-2", "85354-9", "A", "a", "final", "AMB", "IMP", "en"]


def _coding(pick: random.Random) -> dict[str, Any]:
    found = {"system": pick.choice([None, "urn:a"]), "code": pick.choice(CODES), "display": _text(pick)}
    return {name: value for name, value in found.items() if value}


def _text(pick: random.Random) -> str | None:
    return pick.choice([None, *TEXTS]) or None


def _concept(pick: random.Random) -> dict[str, Any]:
    text, coding = _text(pick), [_coding(pick) for _ in range(pick.choice([0, 1, 1, 2]))]
    return {**({"coding": coding} if coding else {}), **({"text": text} if text else {})}


def _resources() -> list[dict[str, Any]]:
    pick = random.Random(20260202)
    found: list[dict[str, Any]] = []
    for index in range(150):
        patient: dict[str, Any] = {
            "resourceType": "Patient",
            "id": f"p{index}",
            "identifier": [{"value": f"v{index % 7}", "type": {"text": _text(pick) or "t"}}],
        }
        if pick.random() < 0.5:
            patient["communication"] = [{"language": _concept(pick)}]
        found.append(patient)
        found.append(
            {
                "resourceType": "Observation",
                "id": f"o{index}",
                "status": "final",
                "code": _concept(pick),
                "component": [{"code": _concept(pick)} for _ in range(pick.choice([0, 0, 1, 2]))],
                "encounter": {"reference": f"Encounter/e{index % 40}"},
                "effectiveDateTime": f"20{index % 20:02}",
            }
        )
        found.append(
            {
                "resourceType": "Encounter",
                "id": f"e{index}",
                "status": "finished",
                "class": _coding(pick),
                "type": [_concept(pick) for _ in range(pick.choice([0, 1, 2]))],
            }
        )
    return found


RESOURCES = _resources()
ENCOUNTERS = {r["id"]: r for r in RESOURCES if r["resourceType"] == "Encounter"}


@pytest.fixture(scope="module", params=BOUNDS, ids=["driven", "in stages", "in order"])
def db(database: str, request: pytest.FixtureRequest) -> Iterator[Runner]:
    runner = Runner(database)
    runner.run(runner.harness.clear())
    runner.run(runner.harness.put_all(RESOURCES))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "BOUNDS", request.param)
        yield runner
    runner.close()


examples = settings(
    max_examples=share(100),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
sought = st.lists(st.sampled_from(SOUGHT), min_size=1, max_size=2)


def expected(type_: str, holds: Callable[[dict[str, Any]], bool]) -> set[str]:
    return {r["id"] for r in RESOURCES if r["resourceType"] == type_ and holds(r)}


def texts_of(concept: dict[str, Any]) -> list[str]:
    displays = [coding["display"] for coding in concept.get("coding", ()) if "display" in coding]
    return [*displays, *([concept["text"]] if "text" in concept else [])]


def found_by(texts: list[str], asked: list[str]) -> bool:
    return any(oracle.string_holds("", one, text) for one in asked for text in texts)


def _value(asked: list[str]) -> str:
    return ",".join(quote(one) for one in asked)


@examples
@given(
    sought, st.sampled_from(["code", "component-code", "combo-code"]), st.sampled_from(["", "&_sort=date"])
)
def test_concepts(db: Runner, asked: list[str], code: str, sort: str) -> None:
    def holds(resource: dict[str, Any]) -> bool:
        own = [resource["code"]] if code != "component-code" else []
        parts = [part["code"] for part in resource["component"]] if code != "code" else []
        return any(found_by(texts_of(concept), asked) for concept in (*own, *parts))

    assert db.ids(f"Observation?{code}:text={_value(asked)}{sort}") == expected("Observation", holds)


@examples
@given(sought)
def test_parameters_with_hot_codes(db: Runner, asked: list[str]) -> None:
    found = db.ids(f"Encounter?class:text={_value(asked)}")
    assert found == expected("Encounter", lambda r: found_by([r["class"].get("display", "")], asked))
    spoken = expected(
        "Patient",
        lambda r: any(found_by(texts_of(one["language"]), asked) for one in r.get("communication", ())),
    )
    assert db.ids(f"Patient?language:text={_value(asked)}") == spoken


@examples
@given(sought)
def test_types_of_identifiers(db: Runner, asked: list[str]) -> None:
    def holds(resource: dict[str, Any]) -> bool:
        return found_by([one["type"]["text"] for one in resource["identifier"]], asked)

    assert db.ids(f"Patient?identifier:text={_value(asked)}") == expected("Patient", holds)


@examples
@given(sought, sought)
def test_chains(db: Runner, asked: list[str], other: list[str]) -> None:
    def called(id_: str) -> bool:
        return any(found_by(texts_of(concept), asked) for concept in ENCOUNTERS[id_]["type"])

    def encounter(resource: dict[str, Any]) -> str:
        return resource["encounter"]["reference"].removeprefix("Encounter/")

    chained = expected("Observation", lambda r: called(encounter(r)))
    assert db.ids(f"Observation?encounter.type:text={_value(asked)}") == chained
    both = chained & expected("Observation", lambda r: found_by(texts_of(r["code"]), other))
    url = f"Observation?encounter.type:text={_value(asked)}&code:text={_value(other)}"
    assert db.ids(url) == both
    having = {
        encounter(r)
        for r in RESOURCES
        if r["resourceType"] == "Observation" and found_by(texts_of(r["code"]), asked)
    }
    assert db.ids(f"Encounter?_has:Observation:encounter:code:text={_value(asked)}") == having


@examples
@given(sought)
def test_counts_and_looking_at_matches(db: Runner, asked: list[str]) -> None:
    url = f"Observation?code:text={_value(asked)}"
    found = db.ids(url)
    assert db.run(db.harness.count(url)) == len(found)
    looked_at = query(url)
    assert found == expected("Observation", lambda resource: holds(looked_at, REGISTRY, BASES, resource))


def test_a_restriction_holds_whatever_the_dictionary_knows(db: Runner) -> None:
    blind = Context(REGISTRY, KEYS, NOW, NOTHING)
    text, args = statement(query("Observation?code:text=body"), blind, COLUMNS).numbered()
    assert db.run(db.harness.connection.fetch(text, *args)) == []


@pytest.mark.parametrize(
    "url", ["Patient?gender:text=male", "Patient?active:text=true", "Patient?phone:text=5"]
)
def test_values_without_text_have_no_such_modifier(url: str) -> None:
    with pytest.raises(UnsupportedModifier, match=":not"):
        query(url)


# -- the dictionary


async def _terms(db: Harness) -> list[tuple[Any, ...]]:
    rows = await db.connection.fetch("SELECT key, val, text_key, tok_key FROM term ORDER BY 1, 2, 3, 4")
    return [tuple(row) for row in rows]


def _basic(id_: str, text: str) -> dict[str, Any]:
    return {"resourceType": "Basic", "id": id_, "code": {"text": text}}


async def test_terms_are_written_once(database: str) -> None:
    async with harness(database) as db:
        await db.clear()
        await db.put_all([_basic("a", "once written"), _basic("b", "Once  Written")])
        before = await _terms(db)
        assert [val for _, val, _, _ in before] == ["once written"]
        await db.put(_basic("c", "once written"))
        await db.put(_basic("c", "once written, twice"), 2)
        await db.put_all([_basic("d", "once written")])
        assert [val for _, val, _, _ in await _terms(db)] == ["once written", "once written twice"]
        assert set(before) < set(await _terms(db))
        (term,) = draft(_basic("e", "again said")).entries.terms
        await db.put(_basic("e", "again said"))
        assert not term.known
        await db.put(_basic("f", "again said"))
        assert term.known
        assert draft(_basic("g", "again said")).entries.terms == []


async def test_a_term_of_a_transaction_that_failed_is_written_again(database: str) -> None:
    async with harness(database) as db:
        await db.clear()
        with pytest.raises(RuntimeError):
            async with db.connection.transaction():
                await db.put(_basic("a", "rolled back"))
                await db.put(_basic("b", "rolled back"))
                raise RuntimeError
        assert await _terms(db) == []
        await db.put(_basic("a", "rolled back"))
        assert await db.ids("Basic?code:text=rolled") == ["a"]


async def test_writers_do_not_wait_for_one_another(database: str) -> None:
    """Two open transactions bring the same new texts in opposite order."""
    async with harness(database) as one, harness(database) as other:
        await one.clear()
        async with asyncio.timeout(10), one.connection.transaction(), other.connection.transaction():
            await one.put(_basic("a", "first text"))
            await other.put(_basic("b", "second text"))
            await one.put(_basic("c", "second text"))
            await other.put(_basic("d", "first text"))
        for text, ids in (("first", ["a", "d"]), ("second", ["b", "c"])):
            assert sorted(await one.ids(f"Basic?code:text={text}")) == ids
