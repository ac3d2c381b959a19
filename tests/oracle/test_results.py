"""What a search returns of what it finds: the order, the pages, what is included, parts of resources."""

from random import Random

import pytest

from tests.oracle import resulting
from tests.oracle.chaining import Chains
from tests.oracle.evaluate import Search
from tests.oracle.judging import compare
from tests.oracle.matrix import settle
from tests.oracle.server import Server


@pytest.fixture(scope="module")
def chains(search: Search) -> Chains:
    return Chains(search.world, Random("results"))


def test_sorts(server: Server, search: Search, chains: Chains) -> None:
    pick = Random("sorts")
    questions = [*resulting.sorts(search.world, pick), *resulting.sorts_over_references(chains, pick)]
    first = (("_count", str(resulting.FIRST)),)
    matrix = compare(server, resulting.in_order(search.world), questions, first)
    settle("sorts", matrix.table("sorted", hit="parameters"))


def test_includes(server: Server, search: Search, chains: Chains) -> None:
    questions = list(resulting.includes(chains, Random("includes")))
    matrix = compare(server, resulting.brings(search.world), questions)
    settle("includes", matrix.table("included", hit="parameters"))
