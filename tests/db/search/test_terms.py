"""`:in`, `:not-in`, `:above`, `:below`, `:of-type` and MIME types: PostgreSQL against a slow reading.

The hierarchy and the value sets are small and written out here; what they mean is read off by hand.
https://hl7.org/fhir/R4/search.html#token
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirserver.errors import FhirError, Invalid, TooCostly
from fhirserver.interactions import stored
from fhirserver.interactions.meaning import understood
from fhirserver.params import condition
from fhirserver.policy.restriction import NOTHING
from fhirserver.search import plan
from fhirserver.search.compile import count_statement
from fhirserver.search.context import Context
from fhirserver.search.query import SearchQuery
from fhirserver.search.recheck import holds
from fhirserver.terminology.errors import UnknownDefinition
from tests.db.search.harness import BASES, BOUNDS, KEYS, NOW, REGISTRY, Runner, query
from tests.db.search.meaning import found, services
from tests.support.share import share
from tests.support.terminology import code_system, concept, filtered, value_set

TREE, FLAT = "http://example.org/tree", "urn:oid:1.2.3"
BELOW = {"a": {"a", "b", "c", "d"}, "b": {"b", "c"}, "c": {"c"}, "d": {"d"}, "e": {"e"}, "x": {"x"}}
"""Code of the tree -> itself and what is below it; x is none of its codes."""
SETS = {
    "http://example.org/vs/b": {(TREE, "b"), (TREE, "c")},
    "http://example.org/vs/some": {(TREE, "a"), (FLAT, "1")},
    "http://example.org/vs/none": set(),
    "http://example.org/vs/bare": {(None, "d")},
}
DEFINITIONS = [
    code_system(concept("a", concept("b", concept("c")), concept("d")), concept("e"), url=TREE),
    value_set(filtered("concept", "is-a", "b", TREE), url="http://example.org/vs/b"),
    value_set(
        {"system": TREE, "concept": [{"code": "a"}]},
        {"system": FLAT, "concept": [{"code": "1"}]},
        url="http://example.org/vs/some",
    ),
    value_set({"system": TREE}, exclude=[{"system": TREE}], url="http://example.org/vs/none"),
    {
        "resourceType": "ValueSet",
        "url": "http://example.org/vs/bare",
        "status": "active",
        "expansion": {"timestamp": "2020-01-01T00:00:00Z", "contains": [{"code": "d"}]},
    },
]
CODINGS: list[tuple[str | None, str | None]] = [
    *((TREE, code) for code in "aBcdex"),
    (FLAT, "1"),
    (FLAT, "a"),
    (None, "d"),
    (None, "b"),
    (TREE, None),
]
TYPES = [("http://t", "MR"), ("http://t", "mr"), ("http://t", "SS"), ("urn:t", "MR"), (None, "MR")]


def population() -> list[dict[str, Any]]:
    pick = random.Random(20260102)
    made: list[dict[str, Any]] = []
    for index, one in enumerate(DEFINITIONS):
        made.append({**one, "id": f"definition{index}", "version": "1.0"})
    for index in range(40):
        made.append({"resourceType": "Patient", "id": f"p{index}", **_identified(pick)})
    for index in range(120):
        made.append(_observation(pick, index))
    for index in range(60):
        target = {"reference": f"Observation/o{index * 2}"}
        agent = [{"who": {"display": "x"}}]
        made.append(
            {
                "resourceType": "Provenance",
                "id": f"v{index}",
                "target": [target],
                "recorded": "2020-01-01T00:00:00Z",
                "agent": agent,
            }
        )
    for index, mime in enumerate(MIMES):
        attachments = [{"attachment": {"contentType": one}} for one in mime]
        made.append(
            {
                "resourceType": "DocumentReference",
                "id": f"m{index}",
                "status": "current",
                "content": attachments,
            }
        )
    return made


def _observation(pick: random.Random, index: int) -> dict[str, Any]:
    codings = [
        {key: value for key, value in (("system", system), ("code", code)) if value}
        for system, code in pick.sample(CODINGS, pick.randint(0, 2))
    ]
    made: dict[str, Any] = {
        "resourceType": "Observation",
        "id": f"o{index}",
        "status": pick.choice(["final", "amended", "registered"]),
        "code": {"coding": codings, "text": "t"},
        "subject": {"reference": f"Patient/p{pick.randrange(40)}"},
    }
    if pick.random() < 0.3:
        made["component"] = [{"code": {"coding": [{"system": TREE, "code": pick.choice("abcd")}]}}]
    return made


def _identified(pick: random.Random) -> dict[str, Any]:
    identifiers: list[dict[str, Any]] = []
    for _ in range(pick.randint(0, 2)):
        one: dict[str, Any] = {"value": pick.choice(["1", "2", "A", "a", "x|y"])}
        types = [
            {key: value for key, value in (("system", system), ("code", code)) if value}
            for system, code in pick.sample(TYPES, pick.randint(0, 2))
        ]
        if types:
            one["type"] = {"coding": types}
        identifiers.append(one)
    return {"identifier": identifiers} if identifiers else {}


MIMES = [
    ["text/xml"],
    ["text/xml; charset=UTF-8"],
    ["Text/XML;version=1", "text/plain"],
    ["text/plain"],
    ["text/xmlish"],
    ["application/fhir+json; fhirVersion=4.0"],
]
RESOURCES = population()


@pytest.fixture(scope="module", params=BOUNDS, ids=["driven", "in stages", "in order"])
def db(database: str, request: pytest.FixtureRequest) -> Iterator[Runner]:
    runner = Runner(database)
    runner.run(runner.harness.clear())
    runner.run(runner.harness.put_all(RESOURCES))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "BOUNDS", request.param)
        patch.setattr(condition, "KEYS_FEW", condition.KEYS_FEW if request.param is BOUNDS[0] else 1)
        yield runner
    runner.close()


examples = settings(
    max_examples=share(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


def expected(type_: str, test: Callable[[dict[str, Any]], bool]) -> set[str]:
    return {one["id"] for one in RESOURCES if one["resourceType"] == type_ and test(one)}


def meant(db: Runner, url: str) -> SearchQuery:
    return db.run(understood(db.harness.connection, services(), Context(REGISTRY, KEYS, NOW), query(url)))


def confirmed(db: Runner, url: str) -> set[str]:
    """What is found, which looking at the values of each resource again must not contradict."""
    asked = meant(db, url)
    type_ = asked.types[0]
    fitting = {
        one["id"] for one in RESOURCES if one["resourceType"] == type_ and holds(asked, REGISTRY, BASES, one)
    }
    matched = found(db, url)
    assert matched == fitting
    return matched


def _codings(resource: dict[str, Any], *of: str) -> list[tuple[str | None, str | None]]:
    concepts = [resource["code"]] if "code" in of else []
    concepts += [part["code"] for part in resource.get("component", [])] if "component-code" in of else []
    return [(one.get("system"), one.get("code")) for held in concepts for one in held["coding"]]


def _same(pair: tuple[str | None, str | None], wanted: tuple[str | None, str]) -> bool:
    return pair[0] == wanted[0] and pair[1] is not None and pair[1].casefold() == wanted[1].casefold()


OF = {"code": ["code"], "component-code": ["component-code"], "combo-code": ["code", "component-code"]}
codes = st.sampled_from(sorted(OF))
sets = st.lists(st.sampled_from(sorted(SETS)), min_size=1, max_size=2)
spellings = st.sampled_from(["url", "version", "id", "own base"])


def _spelt(url: str, spelling: str) -> str:
    (definition,) = (one for one in RESOURCES if one.get("url") == url)
    return {
        "url": quote(url),
        "version": quote(f"{url}|1.0", safe="|"),
        "id": f"ValueSet/{definition['id']}",
        "own base": f"{BASES[0]}/ValueSet/{definition['id']}",
    }[spelling]


def _in(resource: dict[str, Any], code: str, urls: list[str]) -> bool:
    members = [pair for url in urls for pair in SETS[url]]
    return any(_same(pair, one) for pair in _codings(resource, *OF[code]) for one in members)


@examples
@given(codes, sets, spellings, st.booleans())
def test_in(db: Runner, code: str, urls: list[str], spelling: str, negated: bool) -> None:
    """A code is in one of the value sets, or in none of them, which includes having no code."""
    asked = ",".join(_spelt(url, spelling) for url in urls)
    modifier = "not-in" if negated else "in"
    wanted = expected("Observation", lambda one: _in(one, code, urls) is not negated)
    url = f"Observation?{code}:{modifier}={asked}"
    assert confirmed(db, url) == wanted


concepts = st.lists(st.sampled_from([*((TREE, code) for code in "abcdexC")]), min_size=1, max_size=2)


@examples
@given(codes, concepts, st.booleans())
def test_above_and_below(db: Runner, code: str, asked: list[tuple[str, str]], above: bool) -> None:
    def related(pair: tuple[str | None, str | None]) -> bool:
        if pair[0] != TREE or pair[1] is None:
            return False
        own = pair[1].casefold()
        for _, wanted in asked:
            wanted = wanted.casefold()
            if (wanted in BELOW.get(own, {own})) if above else (own in BELOW.get(wanted, {wanted})):
                return True
        return False

    text = ",".join(f"{system}|{one}" for system, one in asked)
    url = f"Observation?{code}:{'above' if above else 'below'}={text}"
    wanted = expected("Observation", lambda one: any(map(related, _codings(one, *OF[code]))))
    assert confirmed(db, url) == wanted


@examples
@given(sets, st.booleans(), st.sampled_from(["chain", "_has", "both"]))
def test_inside_chains(db: Runner, urls: list[str], negated: bool, form: str) -> None:
    asked = f"code:{'not-in' if negated else 'in'}={','.join(map(quote, urls))}"
    observations = [one for one in RESOURCES if one["resourceType"] == "Observation"]
    fitting = [one for one in observations if _in(one, "code", urls) is not negated]
    subjects = {one["subject"]["reference"].removeprefix("Patient/") for one in fitting}
    match form:
        case "_has":
            assert found(db, f"Patient?_has:Observation:patient:{asked}") == subjects
        case "both":
            of_same = {
                one["id"]
                for one in observations
                if one["subject"]["reference"].removeprefix("Patient/") in subjects
            }
            assert found(db, f"Observation?subject:Patient._has:Observation:patient:{asked}") == of_same
        case _:
            targets = {one["id"] for one in fitting}
            wanted = expected("Provenance", lambda one: one["target"][0]["reference"][12:] in targets)
            assert found(db, f"Provenance?target:Observation.{asked}") == wanted


@examples
@given(st.lists(st.tuples(st.sampled_from(TYPES[:4]), st.sampled_from("12Aaz")), min_size=1, max_size=2))
def test_of_type(db: Runner, asked: list[tuple[tuple[str, str], str]]) -> None:
    def fits(one: dict[str, Any]) -> bool:
        return any(
            coding.get("system") == system
            and coding.get("code", "").casefold() == code.casefold()
            and identifier["value"] == value
            for identifier in one.get("identifier", [])
            for coding in identifier.get("type", {}).get("coding", [])
            for (system, code), value in asked
        )

    text = ",".join(f"{system}|{code}|{value}" for (system, code), value in asked)
    url = f"Patient?identifier:of-type={text}"
    assert confirmed(db, url) == expected("Patient", fits)
    chained = f"Observation?subject:Patient.identifier:of-type={text}"
    patients = expected("Patient", fits)
    of_them = expected("Observation", lambda one: one["subject"]["reference"].partition("/")[2] in patients)
    assert found(db, chained) == of_them


def test_an_identifier_whose_value_holds_a_bar(db: Runner) -> None:
    asked = "Patient?identifier:of-type=http://t|MR|x\\|y"
    assert found(db, asked) == expected(
        "Patient",
        lambda one: any(
            identifier["value"] == "x|y"
            and coding.get("system") == "http://t"
            and coding["code"] in ("MR", "mr")
            for identifier in one.get("identifier", [])
            for coding in identifier.get("type", {}).get("coding", [])
        ),
    )


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ("contenttype=text/xml", {"m0"}),
        ("contenttype:below=text/xml", {"m0", "m1", "m2"}),
        ("contenttype:below=TEXT/XML", {"m0", "m1", "m2"}),
        ("contenttype:below=text/xml,application/fhir%2Bjson", {"m0", "m1", "m2", "m5"}),
        ("contenttype:below=text/xml;%20charset=UTF-8", {"m1"}),
        ("contenttype:above=text/xml;%20charset=UTF-8", {"m0", "m1"}),
        ("contenttype:below=text/x", set()),
        ("contenttype:not=text/plain", {"m0", "m1", "m4", "m5"}),
    ],
)
def test_mime_types(db: Runner, asked: str, wanted: set[str]) -> None:
    """https://hl7.org/fhir/R4/search.html#mimetype"""
    assert confirmed(db, f"DocumentReference?{asked}") == wanted


def test_codes_whose_system_the_definitions_imply(db: Runner) -> None:
    status = "http://hl7.org/fhir/ValueSet/observation-status"
    everything = expected("Observation", lambda one: True)
    assert found(db, f"Observation?status:in={status}&_count=1000") == everything
    assert found(db, f"Observation?status:not-in={status}") == set()
    assert found(db, "Observation?status:in=http://example.org/vs/b") == set()


# -- what does not answer


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ("code:in=http://example.org/nothing", UnknownDefinition, "http://example.org/nothing"),
        ("code:not-in=http://example.org/vs/b|2.0", UnknownDefinition, r"http://example.org/vs/b\|2.0"),
        ("code:in=ValueSet/nothing", UnknownDefinition, "ValueSet/nothing"),
        ("code:in=Patient/p0", Invalid, "Patient/p0"),
        ("code:in=ValueSet/definition1/_history/1", Invalid, "_history"),
        ("code:below=urn:none|1", UnknownDefinition, "no code system 'urn:none'"),
        ("code:below=b", Invalid, "system|code"),
        ("subject:Patient._has:Observation:patient:code:in=urn:none", UnknownDefinition, "urn:none"),
        ("code:in=http://hl7.org/fhir/ValueSet/mimetypes", TooCostly, "no end"),
    ],
)
def test_errors(db: Runner, asked: str, error: type[FhirError], said: str) -> None:
    with pytest.raises(error, match=said) as caught:
        found(db, f"Observation?{asked}")
    assert caught.value.status == 400


def test_a_definition_that_the_caller_may_not_see_is_not_there(db: Runner) -> None:
    for asked in ("code:in=http://example.org/vs/b", f"code:below={TREE}|a", "code:in=ValueSet/definition1"):
        with pytest.raises(UnknownDefinition):
            found(db, f"Observation?{asked}", restriction=NOTHING)


def test_too_many_codes(db: Runner) -> None:
    few = services(codes_max=2)
    assert found(db, "Observation?code:in=http://example.org/vs/b", using=few)
    for asked in (
        f"code:below={TREE}|a",
        "code:in=http://example.org/vs/b,http://example.org/vs/some",
        f"code:below={TREE}|b,{TREE}|d",
    ):
        with pytest.raises(TooCostly, match="2 is the limit"):
            found(db, f"Observation?{asked}", using=few)


def test_large_definitions_are_read_in_a_thread(db: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = "Observation?code:in=http://example.org/vs/b"
    wanted = found(db, asked)
    monkeypatch.setattr(stored, "_LONG", 0)
    assert wanted and found(db, asked) == wanted


def test_what_was_read_is_not_read_again(db: Runner) -> None:
    """Versions are cached, not names: the caller may see another one tomorrow."""
    using = services()
    asked = "Observation?code:in=http://example.org/vs/b"
    found(db, asked, using=using)
    known = len(using.terminology)
    found(db, asked, using=using)
    assert len(using.terminology) == known == 5  # value set, code system, a head of each, the expansion


def test_a_statement_does_not_depend_on_how_many_codes_there_are(db: Runner) -> None:
    texts = [
        count_statement(meant(db, f"Observation?code:below={TREE}|{code}"), Context(REGISTRY, KEYS, NOW))
        for code in ("b", "a")
    ]
    assert texts[0].numbered()[0] == texts[1].numbered()[0]
