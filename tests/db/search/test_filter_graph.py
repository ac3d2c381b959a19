"""`_filter` along references of every kind: PostgreSQL against the slow oracle of the graph.

https://hl7.org/fhir/R4/search_filter.html: a path follows references as a chain does, untyped ones and
canonical ones as well; a filter in brackets holds for what the reference leads to.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirserver.search import narrow, plan
from tests.db.search.graph import (
    COUNTS,
    DATES,
    LEAVES,
    NAMES,
    REFERENCES,
    STATUSES,
    URLS,
    Graph,
    Resource,
    graph,
)
from tests.db.search.harness import BOUNDS, Runner, query
from tests.db.search.test_graph import fill
from tests.support.share import share

HOPS_MAX = 3
VALUES = {
    "string": ("sw", NAMES),
    "identifier": ("eq", ["1", "2", "3"]),
    "date": ("eq", DATES),
    "uri": ("eq", URLS),
    "token": ("eq", STATUSES),
}
"""For each type of parameter the operator that says what a search without modifier does."""

Tree = tuple[str, "Tree", "Tree"] | tuple[str, "Tree"] | tuple[str, str, str] | tuple[str, str, str, "Tree"]
"""and, or; not; a path with operator and value; `in`, a reference, its target and what holds there."""


@pytest.fixture(scope="module", params=BOUNDS, ids=["driven", "in stages", "in order"])
def world(database: str, request: pytest.FixtureRequest) -> Iterator[tuple[Runner, Graph]]:
    runner, found = Runner(database), graph(12)
    runner.run(runner.harness.clear())
    runner.run(fill(runner.harness, found))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "BOUNDS", request.param)
        yield runner, found
    runner.close()


@st.composite
def leaves(draw: st.DrawFn, type_: str, hops: int) -> tuple[str, str, str]:
    """A path along some references, an operator and a value."""
    ways = [code for of, code in REFERENCES if of == type_]
    if hops and ways and draw(st.booleans()):
        code = draw(st.sampled_from(ways))
        target = draw(st.sampled_from(_targets(type_, code)))
        rest, operator, value = draw(leaves(target, hops - 1))
        return f"{code}{draw(st.sampled_from(['', f':{target}']))}.{rest}", operator, value
    code = draw(st.sampled_from(["_id", *(code for of, code in LEAVES if of == type_)]))
    if code == "_id":
        return code, "eq", f"{type_[0].lower()}{draw(st.integers(0, COUNTS[type_]))}"
    operator, values = VALUES[LEAVES[type_, code][0]]
    if draw(st.integers(0, 3)) == 0:
        return code, "pr", draw(st.sampled_from(["true", "false"]))
    return code, operator, draw(st.sampled_from(values))


def _targets(type_: str, code: str) -> list[str]:
    allowed = REFERENCES[type_, code][1]
    return sorted(COUNTS if allowed is None else allowed & COUNTS.keys())


@st.composite
def trees(draw: st.DrawFn, type_: str, depth: int) -> Tree:
    ways = [code for of, code in REFERENCES if of == type_]
    match draw(st.sampled_from(["and", "or", "not", "in", "test", "test"])) if depth else "test":
        case "not":
            return "not", draw(trees(type_, depth - 1))
        case "and" | "or" as word:
            return word, draw(trees(type_, depth - 1)), draw(trees(type_, depth - 1))
        case "in" if ways:
            code = draw(st.sampled_from(ways))
            target = draw(st.sampled_from(_targets(type_, code)))
            return "in", code, target, draw(trees(target, depth - 1))
        case _:
            return draw(leaves(type_, HOPS_MAX if depth else 1))


@st.composite
def searches(draw: st.DrawFn) -> tuple[str, Tree]:
    type_ = draw(st.sampled_from(sorted({of for of, _ in REFERENCES})))
    return type_, draw(trees(type_, 2))


def written(tree: Tree) -> str:
    match tree:
        case ("not", inner):
            return f"not ({written(inner)})"
        case ("in", code, target, inner):
            return f"{code}:{target}[{written(inner)}]._id pr true"
        case ("and" | "or" as word, one, other) if not isinstance(one, str):
            return f"({written(one)}) {word} ({written(other)})"
        case (path, operator, value):
            return f'{path} {operator} "{value}"' if operator != "pr" else f"{path} pr {value}"
    raise AssertionError(tree)


def holds(found: Graph, resource: Resource, tree: Tree) -> bool:
    match tree:
        case ("not", inner):
            return not holds(found, resource, inner)
        case ("in", code, target, inner):
            led = (one for one in found.targets(resource, code) if one["resourceType"] == target)
            return any(holds(found, one, inner) for one in led)
        case ("and", one, other) if not isinstance(one, str):
            return holds(found, resource, one) and holds(found, resource, other)
        case ("or", one, other) if not isinstance(one, str):
            return holds(found, resource, one) or holds(found, resource, other)
        case (path, "pr", value):
            return found.holds(resource, f"{path}:missing", "false") is (value == "true")
        case (path, _, value):
            return found.holds(resource, path, value)
    raise AssertionError(tree)


@settings(
    max_examples=share(100),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
)
@given(searches(), st.booleans())
def test_paths(world: tuple[Runner, Graph], asked: tuple[str, Tree], narrowed: bool) -> None:
    db, found = world
    type_, tree = asked
    wanted = {resource["id"] for resource in found.of(type_) if holds(found, resource, tree)}
    text = written(tree)
    meant = query(f"{type_}?_filter={quote(text)}")
    if narrowed and narrow.is_wide(meant):
        meant = narrow.narrowed(meant, COUNTS.keys())
    rows = [row["id"] for row in db.run(db.harness.rows(meant))]
    assert len(rows) == len(set(rows))
    assert set(rows) == wanted, text


@pytest.mark.parametrize(
    ("type_", "tree"),
    [
        ("QuestionnaireResponse", ("questionnaire.title", "pr", "true")),
        ("QuestionnaireResponse", ("not", ("questionnaire.version", "eq", "1"))),
        ("Provenance", ("target.identifier", "eq", "1")),
        ("Observation", ("subject.name", "sw", "a")),
        ("List", ("in", "item", "Observation", ("subject.name", "pr", "true"))),
    ],
)
def test_some_tell_resources_apart(world: tuple[Runner, Graph], type_: str, tree: Tree) -> None:
    db, found = world
    wanted = {resource["id"] for resource in found.of(type_) if holds(found, resource, tree)}
    assert set() < wanted < {resource["id"] for resource in found.of(type_)}
    assert db.ids(f"{type_}?_filter={quote(written(tree))}") == wanted


def test_a_filter_that_leads_to_any_type_is_wide() -> None:
    for text in ("target.identifier eq 1", "not (recorded ge 2020 or target.identifier eq 1)"):
        assert narrow.is_wide(query(f"Provenance?_filter={quote(text)}"))
    assert not narrow.is_wide(query(f"Provenance?_filter={quote('target:Patient.identifier eq 1')}"))
