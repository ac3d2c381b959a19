"""Chains, `_has`, includes and sorts over a graph: PostgreSQL against the slow oracle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.params.kinds import Reading
from fhirserver.policy.restriction import Permit, Permits
from fhirserver.search import plan
from fhirserver.search.context import Context
from fhirserver.search.included import Rounds
from fhirserver.store.version import Version
from tests.db.search.graph import (
    COUNTS,
    DATES,
    LEAVES,
    NAMES,
    REFERENCES,
    STATUSES,
    URLS,
    VALUES,
    Graph,
    Include,
    Maker,
    graph,
    known,
)
from tests.db.search.harness import BASES, BOUNDS, COLUMNS, KEYS, NOW, REGISTRY, Harness, Runner, query
from tests.support.share import share

CONTEXT = Context(REGISTRY, KEYS, NOW, reading=Reading(UTC, BASES))
HOPS_MAX = 3
examples = settings(
    max_examples=share(120),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
)


@pytest.fixture(scope="module", params=BOUNDS, ids=["driven", "in stages", "in order"])
def world(database: str, request: pytest.FixtureRequest) -> Iterator[tuple[Runner, Graph]]:
    """A graph and a database with the same content, searched by drivers and as if they yielded too much."""
    runner, found = Runner(database), graph(11)
    runner.run(runner.harness.clear())
    runner.run(fill(runner.harness, found))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "BOUNDS", request.param)
        yield runner, found
    runner.close()


async def fill(db: Harness, found: Graph) -> None:
    """Every version in turn; what is not current was deleted after its last one."""
    for (type_, id_, number), resource in sorted(found.versions.items(), key=lambda item: item[0][2]):
        await db.put(resource, number)
        if (type_, id_) not in found.current and number == found.number[type_, id_] - 1:
            await db.delete(type_, id_, number)


# -- chains and _has


@st.composite
def leaf(draw: st.DrawFn, type_: str) -> tuple[str, str]:
    """A parameter of a type, perhaps with a modifier, and its value."""
    code = draw(st.sampled_from(["_id", *(code for of, code in LEAVES if of == type_)]))
    if code == "_id":
        return code, f"{type_[0].lower()}{draw(st.integers(0, COUNTS[type_]))}"
    kind, _ = LEAVES[type_, code]
    values = {
        "string": NAMES,
        "identifier": VALUES,
        "date": DATES,
        "uri": URLS,
        "token": [*VALUES, *STATUSES],
    }
    modifiers = {"string": ["", ":exact", ":contains"], "token": ["", ":not"], "identifier": ["", ":not"]}
    modifier = draw(st.sampled_from([*modifiers.get(kind, [""]), ":missing"]))
    if modifier == ":missing":
        return code + modifier, draw(st.sampled_from(["true", "false"]))
    texts = draw(st.lists(st.sampled_from(values[kind]), min_size=1, max_size=2))
    return code + modifier, ",".join(texts)


@st.composite
def path(draw: st.DrawFn, type_: str, hops: int) -> tuple[str, str]:
    """A chain from a type: some references, `_has` in between, and a parameter at the end."""
    ways = [code for of, code in REFERENCES if of == type_]
    backs = [
        (source, code)
        for (source, code), (_, allowed) in REFERENCES.items()
        if allowed is None or type_ in allowed
    ]
    kind = draw(st.sampled_from(["chain", "chain", "has", "leaf"])) if hops else "leaf"
    if kind == "has":
        source, code = draw(st.sampled_from(backs))
        rest, value = draw(path(source, hops - 1))
        return f"_has:{source}:{code}:{rest}", value
    if kind == "chain" and ways:
        code = draw(st.sampled_from(ways))
        allowed = REFERENCES[type_, code][1]
        targets = sorted(COUNTS if allowed is None else allowed & COUNTS.keys())
        target = draw(st.sampled_from(targets))
        rest, value = draw(path(target, hops - 1))
        return code + draw(st.sampled_from(["", f":{target}"])) + f".{rest}", value
    code, value = draw(leaf(type_))
    return code, value


@st.composite
def searches(draw: st.DrawFn) -> tuple[str, list[tuple[str, str]]]:
    type_ = draw(st.sampled_from(sorted({of for of, _ in REFERENCES})))
    return type_, draw(st.lists(path(type_, HOPS_MAX), min_size=1, max_size=2))


def url_of(type_: str, params: list[tuple[str, str]]) -> str:
    return f"{type_}?" + "&".join(f"{name}={quote(value, safe=',:/|')}" for name, value in params)


@examples
@given(searches())
def test_chains(world: tuple[Runner, Graph], asked: tuple[str, list[tuple[str, str]]]) -> None:
    db, found = world
    type_, params = asked
    expected = set.intersection(*(found.matches(type_, name, value) for name, value in params))
    url = url_of(type_, params)
    assert db.ids(url) == expected, url
    assert db.run(db.harness.count(url)) == len(expected), url


# -- includes


@st.composite
def includes(draw: st.DrawFn) -> list[Include]:
    found: list[Include] = []
    for _ in range(draw(st.integers(1, 4))):
        reverse, iterate = draw(st.booleans()), draw(st.booleans())
        source, code = draw(st.sampled_from([("*", "*"), *REFERENCES]))
        allowed = REFERENCES[source, code][1] if source != "*" else frozenset[str]()
        if source != "*" and draw(st.integers(0, 5)) == 0:
            code = "*"
        target = None
        if source != "*" and draw(st.booleans()):
            target = draw(st.sampled_from(sorted(COUNTS if allowed is None else allowed)))
        found.append(Include(reverse, iterate, source, code, target))
    return found


@examples
@given(searches(), includes(), st.integers(1, 4))
def test_includes(
    world: tuple[Runner, Graph],
    asked: tuple[str, list[tuple[str, str]]],
    wanted: list[Include],
    rounds_max: int,
) -> None:
    db, found = world
    check_includes(db, found, CONTEXT, asked, wanted, rounds_max)


def check_includes(
    db: Runner,
    found: Graph,
    context: Context,
    asked: tuple[str, list[tuple[str, str]]],
    wanted: list[Include],
    rounds_max: int,
) -> None:
    """Each version once, none that is a match; one statement for each round."""
    type_, params = asked
    url = "&".join([url_of(type_, params[:1]), "_count=7", *(one.text() for one in wanted)])
    rows = db.run(db.harness.rows(query(url), context=context))[:7]
    matches = [found.current[type_, row["id"]] for row in rows]
    state = Rounds(query(url).includes, context, 1000, rounds_max)
    state.start([Version.of(row) for row in rows])
    got: list[Version] = []
    statements = 0
    while (made := state.statement(COLUMNS)) is not None:
        text, args = made.numbered()
        got += state.take([Version.of(row) for row in db.run(db.harness.connection.fetch(text, *args))])
        statements += 1
    names = {(one.type, one.id, one.version) for one in got}
    assert len(names) == len(got)
    assert names == found.included(matches, wanted, rounds_max), url
    assert statements <= (rounds_max if any(one.iterate for one in wanted) else 1)
    if not state.remarks:
        assert names == found.included(matches, wanted, 30), url


# -- order


@st.composite
def sort_keys(draw: st.DrawFn, type_: str) -> str:
    sign = draw(st.sampled_from(["", "-"]))
    own = [
        "_id",
        *(code for of, code in LEAVES if of == type_),
        *(code for of, code in REFERENCES if of == type_),
    ]
    ways = [code for of, code in REFERENCES if of == type_]
    if not ways or draw(st.booleans()):
        return sign + draw(st.sampled_from(own))
    code = draw(st.sampled_from(ways))
    allowed = REFERENCES[type_, code][1]
    target = draw(st.sampled_from(sorted(COUNTS if allowed is None else allowed & COUNTS.keys())))
    kinds = ["_id", *(inner for of, inner in LEAVES if of == target)]
    kinds += [inner for of, inner in REFERENCES if of == target]
    return sign + code + draw(st.sampled_from(["", f":{target}"])) + "." + draw(st.sampled_from(kinds))


@st.composite
def sorts(draw: st.DrawFn) -> tuple[str, list[str], str]:
    type_ = draw(st.sampled_from(sorted(COUNTS)))
    keys = draw(st.lists(sort_keys(type_), min_size=1, max_size=3))
    return (
        type_,
        keys,
        draw(st.sampled_from(["", "identifier=1,2,A", "identifier:not=1"])),
    )


class Key:
    """A sort value in its direction; what is missing comes last in either."""

    def __init__(self, value: Any, descending: bool) -> None:
        self.value, self.descending = value, descending

    def __lt__(self, other: Key) -> bool:
        if self.value is None or other.value is None:
            return other.value is None and self.value is not None
        return self.value > other.value if self.descending else self.value < other.value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self.value == other.value

    __hash__ = None  # type: ignore[assignment]


def ordered_by(found: Graph, type_: str, ids: list[str], keys: list[str]) -> list[tuple[Key, ...]]:
    return [
        tuple(
            Key(
                found.sort_value(found.current[type_, id_], key.removeprefix("-"), key.startswith("-")),
                key.startswith("-"),
            )
            for key in keys
        )
        for id_ in ids
    ]


@settings(examples, max_examples=share(60))
@given(sorts(), st.integers(6, 20))
def test_sorts(world: tuple[Runner, Graph], asked: tuple[str, list[str], str], count: int) -> None:
    """In order, and the same on pages forwards and backwards."""
    db, found = world
    type_, keys, condition = asked
    if condition.startswith("identifier") and not known(type_, "identifier"):
        condition = ""
    url = f"{type_}?{condition}&_sort={','.join(keys)}"
    ids = db.run(db.harness.ids(url))
    assert sorted(ids) == sorted(
        found.matches(type_, *condition.split("=")) if condition else {one["id"] for one in found.of(type_)}
    )
    values = ordered_by(found, type_, ids, keys)
    assert values == sorted(values), url
    assert pages(db, url, count) == ids


def pages(db: Runner, url: str, count: int) -> list[str]:
    """The ids of all pages forwards, after a look whether they are the same backwards."""
    asked = replace(query(url), count=count)
    page = db.run(db.harness.page(asked))
    forwards = [[row["id"] for row in page.rows]]
    while page.next is not None:
        page = db.run(db.harness.page(asked, page.next))
        forwards.append([row["id"] for row in page.rows])
    backwards = [forwards[-1]]
    while page.previous is not None:
        page = db.run(db.harness.page(asked, page.previous))
        backwards.append([row["id"] for row in page.rows])
    flat = [id_ for rows in forwards for id_ in rows]
    assert [id_ for rows in reversed(backwards) for id_ in rows] == flat
    return flat


# -- what the caller may not see

HIDDEN = frozenset({"Practitioner", "Questionnaire", "Group"})
SEEN = Permits(
    (
        Permit(ENDPOINT_TYPES - HIDDEN - {"Observation", "Location"}, frozenset("rs")),
        Permit(frozenset({"Observation"}), frozenset("rs"), (), (("status", "final,draft,active"),)),
        Permit(frozenset({"Location"}), frozenset("rs"), (), (("name", "b,c"),)),
    )
)


def may_see(resource: dict[str, Any]) -> bool:
    match resource["resourceType"]:
        case "Observation":
            return resource["status"] in ("final", "draft", "active")
        case "Location":
            return resource["name"][0] in "BbCc"
        case type_:
            return type_ not in HIDDEN


@settings(examples, max_examples=share(50))
@given(searches(), includes(), sorts())
def test_hidden_rows_are_as_if_they_were_not_there(
    world: tuple[Runner, Graph],
    asked: tuple[str, list[tuple[str, str]]],
    wanted: list[Include],
    order: tuple[str, list[str], str],
) -> None:
    """Chains, `_has`, includes and sorts say nothing of them."""
    db, found = world
    context, seen = replace(CONTEXT, restriction=SEEN), found.seen_by(may_see)
    type_, params = asked
    expected = set.intersection(*(seen.matches(type_, name, value) for name, value in params))
    rows = db.run(db.harness.rows(query(url_of(type_, params)), context=context))
    assert {row["id"] for row in rows} == expected
    check_includes(db, seen, context, asked, wanted, 3)
    type_, keys, _ = order
    rows = db.run(db.harness.rows(query(f"{type_}?_sort={','.join(keys)}"), context=context))
    assert sorted(row["id"] for row in rows) == sorted(one["id"] for one in seen.of(type_))
    values = ordered_by(seen, type_, [row["id"] for row in rows], keys)
    assert values == sorted(values)


# -- pages while others write

WHILE_WRITING = [
    "Observation?_sort=subject:Patient.name",
    "Observation?_sort=-encounter.status,patient",
    "Observation?subject.name=a,b,c,z&_sort=-patient.birthdate",
    "Observation?status=final,draft,active,amended&_sort=code,-subject.identifier",
    "Observation?_has:Provenance:target:recorded:missing=false",
    "Provenance?target.identifier=1,2,3&_sort=target.status",
    "Provenance?target.code=1,2,3,a",
    "QuestionnaireResponse?questionnaire.title:missing=false&_sort=questionnaire.title",
    "QuestionnaireResponse?_sort=questionnaire",
    "Patient?_sort=general-practitioner.name,gender",
    "List?item.status=final,draft,active,amended,completed&_sort=-item._id",
]


@pytest.mark.parametrize("url", WHILE_WRITING)
def test_pages_are_a_snapshot_while_others_write(database: str, url: str) -> None:
    """What is chained to and sorted by is of the first page's snapshot as well."""
    runner, found = Runner(database), graph(5)
    runner.run(runner.harness.clear())
    runner.run(fill(runner.harness, found))
    whole = runner.run(runner.harness.ids(url))
    assert len(whole) > 2
    maker, asked = Maker(17), replace(query(url), count=2)
    page = runner.run(runner.harness.page(asked))
    seen = [row["id"] for row in page.rows]
    while page.next is not None:
        for type_, id_ in maker.pick.sample(sorted(found.current), 12):
            if maker.maybe(0.2):
                runner.run(runner.harness.delete(type_, id_, found.delete((type_, id_))))
            else:
                resource = maker.resource(type_, id_)
                runner.run(runner.harness.put(resource, found.put(resource)))
        page = runner.run(runner.harness.page(asked, page.next))
        seen += [row["id"] for row in page.rows]
    runner.close()
    assert seen == whole
