"""What is announced is what was compared, no more and no less, and what the page says of itself is true."""

from collections import Counter
from typing import Any

from tests.oracle import definitions as d
from tests.oracle.beside import ORDERED
from tests.oracle.chaining import INLINE
from tests.oracle.evaluate import Search
from tests.oracle.expectations import DIFFERENT, REFUSED, refused
from tests.oracle.matrix import settle, table
from tests.oracle.modifying import MODIFIERS
from tests.oracle.population import population
from tests.oracle.ranges import PREFIXES
from tests.oracle.server import Server

SPECIAL = ("_list", "_filter", "_text", "_content", "_contained")


def _statement(server: Server) -> dict[str, Any]:
    return server.ask_singly(["metadata"])[0].body["rest"][0]


def test_parameters(server: Server) -> None:
    """https://hl7.org/fhir/R4/capabilitystatement.html: rest.resource.searchParam"""
    announced = {
        (resource["type"], one["name"], one["type"])
        for resource in _statement(server)["resource"]
        for one in resource.get("searchParam", ())
        if one["name"] not in SPECIAL
    }
    compared = {
        (type_, code, one.type)
        for type_ in d.TYPES
        for code, one in d.parameters(type_).items()
        if refused((f"{type_} {code}", code)) is None
    }
    assert announced == compared


def test_parameters_of_all_types(server: Server) -> None:
    """rest.searchParam, and what only some servers have."""
    statement = _statement(server)
    names = {one["name"] for one in statement["searchParam"]}
    names |= {one["name"] for resource in statement["resource"] for one in resource["searchParam"]}
    assert {name for name in SPECIAL if name in names} == {name for name in SPECIAL if name not in REFUSED}
    controls = {
        "_sort",
        "_count",
        "_include",
        "_revinclude",
        "_summary",
        "_elements",
        "_total",
        "_has",
        "_type",
    }
    assert controls <= names
    common = {code for code, one in d.parameters("Resource").items()}
    assert common <= names


def test_includes(server: Server, search: Search) -> None:
    """rest.resource.searchInclude: every reference that can be followed."""
    announced = {
        value
        for resource in _statement(server)["resource"]
        for value in resource.get("searchInclude", ())
        if not value.endswith("*")
    }
    compared: set[str] = set()
    for type_ in d.TYPES:
        for code, one in d.parameters(type_).items():
            kinds = {
                node.type
                for subject in search.world.subjects(type_)
                for node in search.world.nodes(subject, one)
            }
            by_url = ("include by canonical URL",) if not kinds & {"Reference"} else ()
            leads_out = one.type == "reference" and (type_ != "Bundle" or code not in INLINE)
            if leads_out and refused((f"{type_} {code}", code, *by_url)) is None:
                compared.add(f"{type_}:{code}")
    assert announced == compared


def test_the_page_says_what_there_is() -> None:
    """The population, prefixes and modifiers, and what is known not to work."""
    sources = Counter(source for source, _ in population())
    types = {resource["resourceType"] for _, resource in population()}
    lines = [("resources", "from"), *((f"{count:,}", source) for source, count in sources.items())]
    settle("population", table(lines) + f"\n\n{sum(sources.values()):,} resources of {len(types)} types.")
    lines = [("type", "prefixes", "modifiers")]
    for type_, modifiers in MODIFIERS.items():
        working = [f"`:{one}`" for one in modifiers if f"{type_} :{one}" not in REFUSED]
        prefixes = [f"`{one}`" for one in PREFIXES] if type_ in ORDERED else []
        lines.append((type_, " ".join(prefixes), " ".join(working)))
    settle("modifiers", table(lines))
    settle("refused", table([("refused by a 400 today", "is about"), *REFUSED.items()]))
    settle("different", table([("answered otherwise today", "in that"), *DIFFERENT.items()]))


def test_every_pair_is_asked_for() -> None:
    """The 1,706 pairs of base and code: asked by the tests of their types, or with an expectation here."""
    pairs = list(d.pairs())
    assert len(pairs) == 1706
    without = {code for base, one in pairs if not one.expression for code in [one.code]}
    assert without == {"_text", "_content", "_query"}
    special = [one.code for _, one in pairs if one.type == "special"]
    assert special == ["near"]
    assert {one.type for _, one in pairs} == {*MODIFIERS, "special"}
