"""`in`, `ni`, `ss` and `sb` of `_filter` over stored definitions: what the modifiers find, put together.

https://hl7.org/fhir/R4/search_filter.html#ops. What `:in`, `:below` and `:above` find, test_terms says.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirserver.errors import FhirError, Invalid
from fhirserver.interactions.meaning import understood
from fhirserver.policy.restriction import NOTHING
from fhirserver.search import plan
from fhirserver.search.context import Context
from fhirserver.search.recheck import holds
from fhirserver.terminology.errors import UnknownDefinition
from tests.db.search.harness import BASES, BOUNDS, KEYS, NOW, REGISTRY, Runner, query
from tests.db.search.meaning import found, services
from tests.db.search.test_terms import RESOURCES, SETS, TREE
from tests.support.share import share

MODIFIERS = {"in": "in", "ni": "not-in", "ss": "below", "sb": "above"}
IDS = {
    type_: {r["id"] for r in RESOURCES if r["resourceType"] == type_}
    for type_ in ("Observation", "Provenance")
}

Test = tuple[str, str, str]
"""A parameter, an operator and a value."""
Tree = Test | tuple[str, "Tree", "Tree"] | tuple[str, "Tree"]


@pytest.fixture(scope="module", params=BOUNDS, ids=["driven", "in stages", "in order"])
def db(database: str, request: pytest.FixtureRequest) -> Iterator[Runner]:
    runner = Runner(database)
    runner.run(runner.harness.clear())
    runner.run(runner.harness.put_all(RESOURCES))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "BOUNDS", request.param)
        yield runner
    runner.close()


params = st.sampled_from(["code", "component-code", "combo-code"])
sets = st.tuples(
    params, st.sampled_from(["in", "ni"]), st.sampled_from([*sorted(SETS), "ValueSet/definition1"])
)
related = st.tuples(
    params, st.sampled_from(["ss", "sb"]), st.sampled_from([f"{TREE}|{code}" for code in "abcdeC"])
)
plain = st.tuples(st.just("status"), st.sampled_from(["eq", "ne"]), st.sampled_from(["final", "amended"]))
trees = st.recursive(
    sets | related | plain,
    lambda inner: st.tuples(st.sampled_from(["and", "or"]), inner, inner) | st.tuples(st.just("not"), inner),
    max_leaves=4,
)
examples = settings(
    max_examples=share(80),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


def written(tree: Tree, path: str = "") -> str:
    match tree:
        case ("not", inner):
            return f"not ({written(inner, path)})"
        case ("and" | "or" as word, one, other):
            return f"({written(one, path)}) {word} ({written(other, path)})"
        case (name, operator, value):
            return f"{path}{name} {operator} {value}"
    raise AssertionError(tree)


def expected(db: Runner, tree: Tree) -> set[str]:
    """The Observations that pass, by sets of what the modifiers find."""
    everything = IDS["Observation"]
    match tree:
        case ("not", inner):
            return everything - expected(db, inner)
        case ("and", one, other):
            return expected(db, one) & expected(db, other)
        case ("or", one, other):
            return expected(db, one) | expected(db, other)
        case ("status", operator, value):
            equal = found(db, f"Observation?status={value}")
            return equal if operator == "eq" else everything - equal
        case (name, operator, value):
            return found(db, f"Observation?{name}:{MODIFIERS[operator]}={quote(value)}")
    raise AssertionError(tree)


def filtered(db: Runner, type_: str, text: str) -> set[str]:
    return found(db, f"{type_}?_filter={quote(text)}")


@examples
@given(trees)
def test_together_with_and_or_and_not(db: Runner, tree: Tree) -> None:
    wanted = expected(db, tree)
    text = written(tree)
    assert filtered(db, "Observation", text) == wanted
    asked = query(f"Observation?_filter={quote(text)}")
    asked = db.run(understood(db.harness.connection, services(), Context(REGISTRY, KEYS, NOW), asked))
    observations = [one for one in RESOURCES if one["resourceType"] == "Observation"]
    if "combo-code" not in text:  # which several parameters stand for: not looked at again
        assert {one["id"] for one in observations if holds(asked, REGISTRY, BASES, one)} == wanted


@examples
@given(sets | related)
def test_along_a_path(db: Runner, test: Test) -> None:
    """`ni` holds where `in` holds for nothing that the path leads to."""
    name, operator, value = test
    positive = (name, "in" if operator == "ni" else operator, value)
    targets = expected(db, positive)
    led = {
        one["id"]
        for one in RESOURCES
        if one["resourceType"] == "Provenance" and one["target"][0]["reference"].partition("/")[2] in targets
    }
    wanted = IDS["Provenance"] - led if operator == "ni" else led
    assert filtered(db, "Provenance", written(test, "target:Observation.")) == wanted
    bracketed = f"target:Observation[{written(positive)}]._id pr true"
    assert filtered(db, "Provenance", bracketed) == led


def test_they_tell_resources_apart(db: Runner) -> None:
    for text in (
        "code in http://example.org/vs/b",
        "code ni http://example.org/vs/b",
        f"code ss {TREE}|b",
        f"code sb {TREE}|b",
    ):
        assert set() < filtered(db, "Observation", text) < IDS["Observation"], text


def test_mime_types_are_below_their_type_without_parameters(db: Runner) -> None:
    assert filtered(db, "DocumentReference", "contenttype ss text/xml") == {"m0", "m1", "m2"}


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("code in urn:none", UnknownDefinition, "urn:none"),
        ("not (code in ValueSet/none)", UnknownDefinition, "ValueSet/none"),
        ("status eq final or code ss urn:none|1", UnknownDefinition, "urn:none"),
        ("subject:Patient.gender in urn:none", UnknownDefinition, "urn:none"),
        ("code ss b", Invalid, "system|code"),
        ("code in nothing", Invalid, "ValueSet/\\[id\\]"),
    ],
)
def test_errors(db: Runner, text: str, error: type[FhirError], said: str) -> None:
    with pytest.raises(error, match=said):
        filtered(db, "Observation", text)


def test_a_definition_that_the_caller_may_not_see_is_not_there(db: Runner) -> None:
    for text in ("not (code in http://example.org/vs/b)", f"code ss {TREE}|a or status eq final"):
        with pytest.raises(UnknownDefinition):
            found(db, f"Observation?_filter={quote(text)}", restriction=NOTHING)


WIDE = "http://example.org/vs/b"


@pytest.mark.parametrize("operator", ["in", "not-in"])
def test_an_untyped_chain_looks_a_value_set_up_for_every_type(db: Runner, operator: str) -> None:
    """What refers to any type, by itself and within `_has`; alone and in a filter."""
    fitting = found(db, f"Observation?code:{operator}={WIDE}")
    pointed = {
        one["id"]: one["target"][0]["reference"].partition("/")[2]
        for one in RESOURCES
        if one["resourceType"] == "Provenance"
    }
    led = {id_ for id_, target in pointed.items() if target in fitting}
    assert set() < led < set(pointed)
    assert found(db, f"Provenance?target.code:{operator}={WIDE}") == led
    within = f"Observation?_has:Provenance:target:target.code:{operator}={WIDE}"
    assert found(db, within) == {pointed[id_] for id_ in led}
    patients = {
        one["subject"]["reference"].partition("/")[2]
        for one in RESOURCES
        if one["resourceType"] == "Observation" and one["id"] in fitting
    }
    chained = f"Patient?_has:Observation:subject:subject._has:Observation:subject:code:{operator}={WIDE}"
    assert found(db, chained) == patients
    if operator == "in":
        assert filtered(db, "Provenance", f"target.code in {WIDE}") == led
        assert filtered(db, "Provenance", f"target.code ni {WIDE}") == set(pointed) - led
