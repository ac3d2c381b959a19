"""Chains, reverse chains, compartments and searches across types."""

from collections.abc import Callable, Iterator
from random import Random

import pytest

from tests.oracle import contexts
from tests.oracle.chaining import Chains
from tests.oracle.evaluate import Search
from tests.oracle.judging import Question, compare, finds
from tests.oracle.matrix import settle
from tests.oracle.server import Server


def test_chains(server: Server, search: Search) -> None:
    questions = list(Chains(search.world, Random("chains")).all())
    matrix = compare(server, finds(contexts.anywhere(search)), questions)
    settle("chains", matrix.table("chain", hit="parameters"))


@pytest.mark.parametrize("draw", [contexts.within, contexts.across], ids=["compartments", "types"])
def test_contexts(
    server: Server,
    search: Search,
    draw: Callable[[Search, Random], Iterator[Question]],
    request: pytest.FixtureRequest,
) -> None:
    matrix = compare(server, finds(contexts.anywhere(search)), list(draw(search, Random("contexts"))))
    settle(request.node.callspec.id, matrix.table("searched", hit="of"))
