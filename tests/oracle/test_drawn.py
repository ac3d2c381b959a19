"""Searches, and resources, that hypothesis draws."""

from collections.abc import Iterator
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import NewDatabase
from tests.oracle import definitions as d
from tests.oracle import ordering
from tests.oracle.byhand import TERMINOLOGY
from tests.oracle.chaining import Chains
from tests.oracle.drawing import NIGHTLY, Drawn, criterion, examples, searches
from tests.oracle.evaluate import Search
from tests.oracle.generated import Maker
from tests.oracle.judging import Question, difference, of_type
from tests.oracle.matrix import settle, table
from tests.oracle.population import BASE, URLS
from tests.oracle.server import Answer, Server, running
from tests.oracle.world import World

SEARCHES, REWRITES = 250, 40
IDS = ("h0", "h1", "h2", "h3")


def _paged(server: Server, drawn: Drawn) -> Answer:
    """All pages as one."""
    if drawn.as_form:
        answer = server.post(drawn.question.path, drawn.query)
    else:
        (answer,) = server.ask_singly([f"{drawn.question.path}?{drawn.query}"])
    assert answer.status == 200, (drawn.query, answer.body)
    entries, total, following = answer.entries, answer.body["total"], answer.link("next")
    while following is not None:
        assert len(answer.entries) == drawn.size, drawn.query
        (answer,) = server.ask_singly([following])
        assert answer.body["total"] == total, drawn.query
        entries, following = entries + answer.entries, answer.link("next")
    return Answer(200, {"entry": entries, "total": total})


@pytest.fixture(scope="module")
def small(new_database: NewDatabase) -> Iterator[Server]:
    """A server in which resources are written again and again; value sets and code systems stay."""
    with new_database() as dsn, running(dsn) as started:
        started.put(TERMINOLOGY)
        yield started


def test_searches(server: Server, search: Search) -> None:
    """Ids, order, total, pages."""

    @examples(SEARCHES)
    @given(searches(Chains(search.world, Random("drawn"))))
    def run(drawn: Drawn) -> None:
        answer = _paged(server, drawn)
        wanted, _ = of_type(search)(drawn.question)
        problem = difference(answer, wanted)
        assert problem is None, f"{drawn.question.path}?{drawn.query}: {problem}"
        type_ = drawn.question.path
        subjects = [search.world.by_type[type_][path.partition("/")[2]] for path in answer.paths()]
        found = [ordering.rank(search.world, subject, list(drawn.sort)) for subject in subjects]
        assert found == ordering.ranks(search.world, subjects, list(drawn.sort)), f"{type_}?{drawn.query}"

    run()


def test_resources(small: Server) -> None:
    """Resources that are replaced: what is found is what they are now."""
    known: dict[str, list[str]] = {type_: list(IDS) for type_ in d.TYPES}
    maker = Maker(known, URLS, BASE)

    @examples(REWRITES)
    @given(
        st.lists(st.sampled_from(d.TYPES), min_size=2, max_size=3, unique=True),
        st.randoms(use_true_random=False),
    )
    def run(types: list[str], pick: Random) -> None:
        made = [maker.resource(pick, type_, id_) for type_ in types for id_ in IDS]
        these = World(
            made, BASE, Fraction(0)
        )  # alone, for what is drawn is not to depend on earlier examples
        asked: list[Question] = []
        for type_ in types:
            for _ in range(10):
                if (one := criterion(these, type_, pick)) is not None:
                    asked.append(Question(type_, (one,), ("drawn",), type_))
        small.put(made)
        search = Search(small.world())
        for question, answer in zip(asked, small.ask([one.url() for one in asked]), strict=True):
            assert answer.status == 200, (question.url(), answer.body)
            problem = difference(answer, of_type(search)(question)[0])
            assert problem is None, f"{question.url()}: {problem}"

    run()


def test_what_was_drawn() -> None:
    """How many of each; a night draws more."""
    if not NIGHTLY:
        drawn = [
            (
                "searches of one to three criteria and perhaps a chain, sorted and paged, as GET and as form",
                f"{SEARCHES:,}",
            )
        ]
        drawn.append(("sets of resources written anew, each searched by 20 to 30 criteria", f"{REWRITES:,}"))
        settle("drawn", table([("drawn by hypothesis", "examples"), *drawn]))
