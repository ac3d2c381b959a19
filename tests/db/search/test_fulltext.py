"""`_text` and `_content`: PostgreSQL against queries evaluated word by word.

https://hl7.org/fhir/R4/search.html#content
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirserver.params.condition import UnsupportedModifier
from fhirserver.params.fulltext import offered
from fhirserver.policy.restriction import NOTHING
from fhirserver.search import plan
from fhirserver.search.clauses import UnknownParameter
from fhirserver.search.compile import statement
from fhirserver.search.context import Context
from fhirserver.search.parse import Limits, parse
from tests.db.search.harness import BOUNDS, COLUMNS, KEYS, NOW, REGISTRY, Harness, Runner, harness, query
from tests.support.share import share
from tests.support.sweeping import swept

WORDS = ["bone", "Liver", "metastases", "pain", "bones", "ÖDEM", "8480-6", "no"]
SOUGHT = ["bone", "liver", "METASTASES", "pain", "bones", "odem", "8480", "6", "absent", "final"]


def _sentence(pick: random.Random) -> str:
    return " ".join(pick.choice(WORDS) for _ in range(pick.randint(1, 5)))


def _resources() -> list[dict[str, Any]]:
    pick = random.Random(20260303)
    found: list[dict[str, Any]] = []
    for index in range(200):
        type_ = pick.choice(["Observation", "Basic", "Basic", "Binary"])
        resource: dict[str, Any] = {"resourceType": type_, "id": f"{type_[:2].lower()}{index}"}
        if type_ == "Binary":
            found.append({**resource, "contentType": pick.choice(["bone", "pain"])})
            continue
        if pick.random() < 0.7:
            resource["text"] = {"status": "additional", "div": f"<div><p>{_sentence(pick)}</p></div>"}
        resource["code"] = {"text": _sentence(pick)}
        if type_ == "Observation":
            resource |= {
                "status": "final",
                "note": [{"text": _sentence(pick)}],
                "valueString": _sentence(pick),
            }
            resource["effectiveDateTime"] = f"2020-01-{index % 28 + 1:02}"
            resource["focus"] = [{"reference": f"Basic/ba{index % 40}"}]
        found.append(resource)
    return found


RESOURCES = _resources()


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
    max_examples=share(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)

# -- the slow evaluator

Texts = list[list[str]]
"""What is searched, text by text and word by word."""


def split(text: str) -> list[str]:
    return text.lower().replace("ö", "o").replace("-", " ").split()


def told(resource: dict[str, Any]) -> Texts:
    if "text" not in resource:
        return []
    return [split(resource["text"]["div"].removeprefix("<div><p>").removesuffix("</p></div>"))]


def said(resource: dict[str, Any]) -> Texts:
    found = [resource[name] for name in ("contentType", "status", "valueString") if name in resource]
    if "code" in resource:
        found.append(resource["code"]["text"])
    found.extend(note["text"] for note in resource.get("note", ()))
    return [*told(resource), *(split(text) for text in found)]


@dataclass(frozen=True)
class Asked:
    """A query as a client writes it, and what it means."""

    text: str
    holds: Callable[[Texts], bool]


def _phrase(sought: list[str], is_open: bool) -> Asked:
    def found(words: list[str]) -> bool:
        for start in range(len(words) - len(sought) + 1):
            here = words[start : start + len(sought)]
            if is_open and here[:-1] == sought[:-1] and here[-1].startswith(sought[-1]):
                return True
            if here == sought:
                return True
        return False

    text = " ".join(sought) + "*" * is_open
    quoted = text if len(sought) == 1 else f'"{text}"'
    return Asked(quoted, lambda texts: any(map(found, texts)))


phrases = st.builds(
    lambda sought, is_open: _phrase([word for one in sought for word in split(one)], is_open),
    st.lists(st.sampled_from(SOUGHT), min_size=1, max_size=2),
    st.booleans(),
)


def _joined(parts: list[Asked], sign: str) -> Asked:
    text = f" {sign} ".join(f"({part.text})" for part in parts)
    combine = any if sign == "OR" else all
    return Asked(text, lambda texts: combine(part.holds(texts) for part in parts))


def _without(part: Asked, sign: str) -> Asked:
    return Asked(f"{sign}({part.text})", lambda texts: not part.holds(texts))


queries = st.recursive(
    phrases,
    lambda inner: st.one_of(
        st.builds(
            _joined, st.lists(inner, min_size=2, max_size=3), st.sampled_from(["AND", "and", "", "OR"])
        ),
        st.builds(_without, inner, st.sampled_from(["NOT ", "-"])),
    ),
    max_leaves=5,
).filter(lambda asked: not asked.holds([]))


def expected(type_: str, holds: Callable[[dict[str, Any]], bool]) -> set[str]:
    return {r["id"] for r in RESOURCES if r["resourceType"] == type_ and holds(r)}


@examples
@given(queries, st.sampled_from(["Observation", "Basic"]), st.sampled_from(["", "&_sort=-_lastUpdated"]))
def test_text(db: Runner, asked: Asked, type_: str, sort: str) -> None:
    found = db.ids(f"{type_}?_text={quote(asked.text)}{sort}")
    assert found == expected(type_, lambda resource: asked.holds(told(resource)))


@examples
@given(queries, st.sampled_from(["Observation", "Basic", "Binary"]))
def test_content(db: Runner, asked: Asked, type_: str) -> None:
    found = db.ids(f"{type_}?_content={quote(asked.text)}")
    assert found == expected(type_, lambda resource: asked.holds(said(resource)))
    assert db.run(db.harness.count(f"{type_}?_content={quote(asked.text)}", at_most=1_000)) == len(found)


@settings(examples, max_examples=share(20))
@given(queries, queries)
def test_alternatives_several_types_and_other_parameters(db: Runner, asked: Asked, other: Asked) -> None:
    either = f"{quote(asked.text)},{quote(other.text)}"
    for types in ("Basic,Binary,Observation", ""):
        found = db.ids(f"?_type={types}&_text={either}" if types else f"?_text={either}")
        assert found == {r["id"] for r in RESOURCES if asked.holds(told(r)) or other.holds(told(r))}
    found = db.ids(f"Observation?_text={quote(asked.text)}&_content={quote(other.text)}&date=ge2020-01-10")
    assert found == expected(
        "Observation",
        lambda r: asked.holds(told(r)) and other.holds(said(r)) and r["effectiveDateTime"] >= "2020-01-10",
    )


@examples
@given(queries)
def test_chains(db: Runner, asked: Asked) -> None:
    basics = expected("Basic", lambda r: asked.holds(told(r)))
    found = db.ids(f"Observation?focus:Basic._text={quote(asked.text)}")
    assert found == expected(
        "Observation", lambda r: r["focus"][0]["reference"].removeprefix("Basic/") in basics
    )
    having = {
        r["focus"][0]["reference"].removeprefix("Basic/")
        for r in RESOURCES
        if r["resourceType"] == "Observation" and asked.holds(said(r))
    }
    having &= expected("Basic", lambda r: True)
    assert db.ids(f"Basic?_has:Observation:focus:_content={quote(asked.text)}") == having


# -- pages, history, visibility


@pytest.fixture
async def one(database: str) -> AsyncIterator[Harness]:
    async with harness(database) as found:
        await found.clear()
        yield found


def basic(id_: str, text: str) -> dict[str, Any]:
    return {"resourceType": "Basic", "id": id_, "code": {"text": text}}


async def test_pages_are_those_of_the_first_ones_snapshot(one: Harness) -> None:
    await one.put_all(basic(f"b{index:02}", "bone") for index in range(10))
    asked = replace(query("Basic?_content=bone&_sort=_id"), count=4)
    page = await one.page(asked)
    await one.put(basic("b05", "liver"), 2)
    await one.put(basic("b051", "bone"))
    await one.delete("Basic", "b06", 1)
    ids = [row["id"] for row in page.rows]
    while page.next is not None:
        page = await one.page(asked, page.next)
        ids += [row["id"] for row in page.rows]
    assert ids == [f"b{index:02}" for index in range(10)]
    assert await one.ids("Basic?_content=liver") == ["b05"]


async def test_words_go_with_their_version(one: Harness) -> None:
    await one.put(basic("a", "bone"))
    await one.put(basic("a", "liver"), 2)
    await one.put_all([basic("c", "bone")])
    assert await one.ids("Basic?_content=bone") == ["c"]
    assert await one.connection.fetchval("SELECT count(*) FROM words") == 3
    await swept(one.connection, "SELECT count(*) FROM words", 2)
    assert await one.ids("Basic?_content=liver") == ["a"]


async def test_a_restriction_holds_for_words(one: Harness) -> None:
    await one.put(basic("a", "bone"))
    blind = Context(REGISTRY, KEYS, NOW, NOTHING)
    text, args = statement(query("Basic?_content=bone"), blind, COLUMNS).numbered()
    assert await one.connection.fetch(text, *args) == []


async def test_the_largest_document_is_taken(one: Harness) -> None:
    notes = [{"text": " ".join(f"wört{page}x{number}日" for number in range(1_000))} for page in range(200)]
    observation = {"resourceType": "Observation", "id": "big", "status": "final", "code": {}, "note": notes}
    await one.put(observation)
    assert await one.ids("Observation?_content=wort0x7") == ["big"]
    await one.put_all([{**observation, "id": "big2"}])


def test_what_is_off_is_refused_with_the_setting() -> None:
    narratives = offered(REGISTRY, "narrative")
    with pytest.raises(UnknownParameter, match=r"_content.*full_text.*reindex"):
        parse(narratives, Limits(), "Basic", [("_content", "x")])
    with pytest.raises(UnknownParameter, match="full_text"):
        parse(offered(REGISTRY, "none"), Limits(), None, [("_text", "x")])
    parse(narratives, Limits(), "Basic", [("_text", "x")])
    with pytest.raises(UnknownParameter, match="Binary has no search parameter '_text'"):
        parse(REGISTRY, Limits(), "Binary", [("_text", "x")])


@pytest.mark.parametrize("url", ["Basic?_text:exact=x", "Basic?_text:missing=true", "Basic?_content.name=x"])
def test_there_are_no_modifiers(url: str) -> None:
    with pytest.raises(UnsupportedModifier):
        query(url)


def test_words_have_no_order() -> None:
    with pytest.raises(UnknownParameter, match="no value"):
        query("Basic?_sort=_text")


async def test_what_marks_tenant_and_type_is_no_word(one: Harness) -> None:
    """The tenant is 1."""
    await one.put_all(
        [{"resourceType": "Observation", "id": "said", "status": "final", "code": {"text": "bone"}}]
    )
    for value in ("1*", "1", "Observation*", "1/Obs*", '"1 Observation"'):
        assert await one.ids(f"Observation?_content={value}") == [], value
    assert await one.ids("Observation?_content=bone*") == ["said"]
