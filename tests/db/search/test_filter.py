"""`_filter` against the oracle: https://hl7.org/fhir/R4/search_filter.html"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirserver.policy.restriction import Permit, Permits
from fhirserver.search import plan
from fhirserver.search.context import Context
from fhirserver.search.filter.operators import DEFINED
from tests.db.search.filter_oracle import Joined, Leaf, Negated, Resource, passes, written
from tests.db.search.harness import BOUNDS, KEYS, NOW, REGISTRY, Runner, query
from tests.db.search.population import CODES, DATES, NUMBERS, RESOURCES, TEXTS, UNITS
from tests.db.search.test_oracle import MOMENT
from tests.support.share import share

PROFILES = ["http://p/a", "http://p/b", "http://hl7.org/fhir/StructureDefinition/x"]


def _population() -> list[Resource]:
    """The common population with references, several categories and profiles."""
    pick = random.Random(20260202)
    found = copy.deepcopy(RESOURCES)
    for resource in found:
        if resource["resourceType"] == "Observation":
            resource["status"] = pick.choice(["final", "amended", "preliminary"])
            if pick.random() < 0.8:
                resource["subject"] = {"reference": f"Patient/p{pick.randrange(200)}"}
            resource["category"] = [
                {"coding": [{"code": pick.choice("abA")} for _ in range(pick.randint(0, 2))], "text": "t"}
                for _ in range(pick.randint(0, 3))
            ]
        if resource["resourceType"] == "Patient":
            if pick.random() < 0.5:
                resource["managingOrganization"] = {"reference": f"Organization/g{pick.randrange(6)}"}
            if pick.random() < 0.7:
                resource["meta"] = {"profile": pick.sample(PROFILES, pick.randint(1, 3))}
    found.append({"resourceType": "Patient", "id": "marks", "name": [{"family": "?!", "given": ["-"]}]})
    for index in range(5):
        name = pick.choice([text for text in TEXTS if len(text) < 100])
        organization = {"resourceType": "Organization", "id": f"g{index}", "name": name}
        found.append(organization | {"identifier": [{"value": pick.choice(["A", "a", "b"])}]})
    return found


POPULATION = _population()


@pytest.fixture(scope="module", params=BOUNDS, ids=["driven", "in stages", "in order"])
def db(database: str, request: pytest.FixtureRequest) -> Iterator[Runner]:
    runner = Runner(database)
    runner.run(runner.harness.clear())
    runner.run(runner.harness.put_all(POPULATION))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "BOUNDS", request.param)
        yield runner
    runner.close()


# -- filters to ask

TEXT = [
    *(text for text in TEXTS if len(text) < 100),
    "x" * 100,
    "x" * 96 + "tail",
    "mu",
    "berg",
    "é",
    "m",
    "n",
]
STRING = st.tuples(
    st.sampled_from(["eq", "ne", "co", "sw", "ew", "gt", "lt", "ge", "le"]), st.sampled_from(TEXT)
)
SYSTEM = st.sampled_from(["", "|", "urn:a|", "http://b|", "urn:z|"])
CODE = st.sampled_from([code for code in CODES if code and "|" not in code] + ["zz", "FINAL", "B"])
TOKEN = st.tuples(st.sampled_from(["eq", "ne"]), st.builds(str.__add__, SYSTEM, CODE))
ORDERED = ["eq", "ne", "gt", "lt", "ge", "le", "ap", "sa", "eb"]
DATE = st.tuples(st.sampled_from([*ORDERED, "co", "po"]), st.sampled_from(DATES))
NUMBER = st.tuples(st.sampled_from([*ORDERED, "co"]), st.sampled_from(NUMBERS))
UNIT = st.sampled_from(
    ["", *(f"{system}|{unit}" for unit in UNITS if unit for system in ("|", "|http://unitsofmeasure.org"))]
)
QUANTITY = st.tuples(st.sampled_from(ORDERED), st.builds(str.__add__, st.sampled_from(NUMBERS), UNIT))
URI = st.tuples(st.sampled_from(["eq", "ne"]), st.sampled_from([*PROFILES, "http://p/none"]))
PRESENT = st.tuples(st.just("pr"), st.sampled_from(["true", "false"]))
PATIENT = st.tuples(
    st.just("re"), st.builds(lambda n: f"Patient/p{n}", st.integers(min_value=0, max_value=200))
)
ORGANIZATION = st.tuples(st.just("re"), st.builds(lambda n: f"Organization/g{n}", st.integers(0, 6)))

KINDS: dict[str, dict[str, Any]] = {
    "Patient": {
        "name": STRING,
        "family": STRING,
        "given": STRING,
        "birthdate": DATE,
        "identifier": TOKEN,
        "organization": ORGANIZATION,
        "_profile": URI,
    },
    "Organization": {"name": STRING, "identifier": TOKEN},
    "Observation": {
        "code": TOKEN,
        "category": TOKEN,
        "combo-code": TOKEN,
        "status": TOKEN,
        "date": DATE,
        "subject": PATIENT,
        "value-quantity": QUANTITY,
        "component-value-quantity": QUANTITY,
    },
    "RiskAssessment": {"probability": NUMBER},
    "Encounter": {"location-period": DATE},
}
CHAINS = {("Observation", "subject"): "Patient", ("Patient", "organization"): "Organization"}


@st.composite
def leaves(draw: st.DrawFn, type_: str, links: int = 2) -> Leaf:
    """A test, at the end of up to `links` references, each perhaps with a filter of its own."""
    steps: list[tuple[str, Any]] = []
    while links and (onward := [name for of, name in CHAINS if of == type_]) and draw(st.booleans()):
        target, links = CHAINS[type_, onward[0]], links - 1
        inner = draw(st.none() | trees(target, links, 2)) if links else draw(st.none())
        steps.append((onward[0], inner))
        type_ = target
    name = draw(st.sampled_from(sorted(KINDS[type_])))
    operator, value = draw(st.one_of(KINDS[type_][name], KINDS[type_][name], PRESENT))
    return Leaf((*steps, (name, None)), operator, value, draw(st.booleans()))


def trees(type_: str, links: int = 2, size: int = 6) -> Any:
    """Filters on a type."""
    return st.recursive(
        leaves(type_, links),
        lambda inner: st.one_of(
            st.builds(Negated, inner),
            st.builds(
                Joined, st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3).map(tuple)
            ),
        ),
        max_leaves=size,
    )


filters = st.sampled_from(["Patient", "Observation", "Observation", "RiskAssessment", "Encounter"]).flatmap(
    lambda type_: st.tuples(st.just(type_), trees(type_))
)
examples = settings(
    max_examples=share(300),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
)


def expected(type_: str, tree: Any) -> set[str]:
    return {
        resource["id"]
        for resource in POPULATION
        if resource["resourceType"] == type_ and passes(tree, resource, POPULATION, MOMENT)
    }


def found(db: Runner, type_: str, tree: Any, more: str = "") -> set[str]:
    return db.ids(f"{type_}?_filter={quote(written(tree), safe='')}{more}")


@examples
@given(filters)
def test_filters(db: Runner, asked: tuple[str, Any]) -> None:
    assert found(db, *asked) == expected(*asked), written(asked[1])


VALUES = {
    "string": ["Müller", "o'neil", "berg", "x" * 96 + "tail", "x" * 50, "m"],
    "token": ["a", "urn:a|b", "|A", "http://b|a"],
    "date": ["2020-02-29", "2020-02-29T12:00:00Z", "2020", "1950-05-05"],
    "number": ["2", "0.0054", "100", "99.8"],
    "quantity": ["2", "2||mg", "2|http://unitsofmeasure.org|mg", "100|http://unitsofmeasure.org|cm"],
    "uri": PROFILES,
    "reference": [
        *sorted({r["subject"]["reference"] for r in POPULATION if "subject" in r})[:2],
        "Organization/g2",
    ],
}
EXAMPLES = {
    ("Patient", "name"): "string",
    ("Patient", "given"): "string",
    ("Patient", "identifier"): "token",
    ("Observation", "code"): "token",
    ("Observation", "category"): "token",
    ("Observation", "combo-code"): "token",
    ("Observation", "date"): "date",
    ("Patient", "birthdate"): "date",
    ("Encounter", "location-period"): "date",
    ("RiskAssessment", "probability"): "number",
    ("Observation", "value-quantity"): "quantity",
    ("Observation", "component-value-quantity"): "quantity",
    ("Patient", "_profile"): "uri",
    ("Observation", "subject"): "reference",
    ("Patient", "organization"): "reference",
}
ELSEWHERE = {"in", "ss", "sb"}
"""Operators that need a terminology."""


@pytest.mark.parametrize("of", EXAMPLES, ids="-".join)
def test_every_operator_tells_resources_apart(db: Runner, of: tuple[str, str]) -> None:
    """Each cell of the table, with a value that some resources pass and others do not."""
    type_, name = of
    for operator in DEFINED[EXAMPLES[of]]:
        if operator in ELSEWHERE:
            continue
        values = ["true", "false"] if operator == "pr" else VALUES[EXAMPLES[of]]
        telling = 0
        for value in values:
            leaf = Leaf(((name, None),), operator, value)
            wanted = expected(type_, leaf)
            assert found(db, type_, leaf) == wanted, written(leaf)
            assert found(db, type_, Negated(leaf)) == expected(type_, Negated(leaf)), written(leaf)
            telling += 0 < len(wanted) < sum(r["resourceType"] == type_ for r in POPULATION)
        assert telling or operator == "pr", (of, operator)


def test_several_ways_through_one_index(db: Runner) -> None:
    """Each part of an `or` is read through its own stretch of the index, a page at a time as well."""
    early, late = Leaf((("date", None),), "lt", "2020"), Leaf((("date", None),), "ge", "2021")
    code = Leaf((("code", None),), "eq", "a")
    later = Leaf((("date", None),), "sa", "2020")
    for parts in ((early, late), (early, late, code), (late, later)):
        tree = Joined("or", parts)
        wanted = expected("Observation", tree)
        assert wanted >= expected("Observation", parts[0]) > set()
        for sort in ("", "&_sort=date", "&_sort=-date", "&_sort=_id", "&_sort=-_lastUpdated"):
            assert found(db, "Observation", tree, sort) == wanted
        assert _paged(db, tree) == wanted


def _paged(db: Runner, tree: Any) -> set[str]:
    asked = query(f"Observation?_filter={quote(written(tree), safe='')}&_count=7")
    seen: list[str] = []
    cursor = None
    while True:
        page = db.run(db.harness.page(asked, cursor))
        seen += [row["id"] for row in page.rows]
        cursor = page.next
        if cursor is None:
            assert len(seen) == len(set(seen))
            return set(seen)


def test_a_filter_narrows_what_other_parameters_find(db: Runner) -> None:
    filter_ = Leaf((("code", None),), "eq", "a")
    date = Leaf((("date", None),), "ge", "2020")
    both = expected("Observation", filter_) & expected("Observation", date)
    assert both
    assert found(db, "Observation", filter_, "&date=ge2020") == both
    assert found(db, "Observation", filter_, "&_filter=date%20ge%202020") == both
    count = db.run(db.harness.count("Observation?_filter=code%20eq%20a&date=ge2020"))
    assert count == len(both)


def test_across_types(db: Runner) -> None:
    ids = [resource["id"] for resource in POPULATION[::50]]
    text = " or ".join(f"_id eq {id_}" for id_ in ids)
    assert db.ids(f"?_filter={quote(text)}") == set(ids)


def test_nothing_is_learnt_of_what_is_hidden(db: Runner) -> None:
    """What the caller may not see is not there, whatever is said of it."""
    permit = Permit(frozenset({"Observation"}), frozenset("rs"))
    context = Context(REGISTRY, KEYS, NOW, Permits((permit,)))

    def ids(text: str) -> set[str]:
        asked = query(f"Observation?_filter={quote(text, safe='')}")
        return {row["id"] for row in db.run(db.harness.rows(asked, context=context))}

    everything = {r["id"] for r in POPULATION if r["resourceType"] == "Observation"}
    for text in (
        "subject:Patient.name pr true",
        "subject:Patient[name sw m]._id pr true",
        "subject.birthdate lt 2030",
    ):
        assert ids(text) == set()
        assert ids(f"not ({text})") == everything
    assert ids("subject:Patient.name pr false and code pr true") == everything
