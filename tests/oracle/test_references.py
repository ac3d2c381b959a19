"""Every reference and uri parameter in every form."""

import pytest

from tests.oracle.evaluate import Search
from tests.oracle.judging import compare, finds, of_type
from tests.oracle.matrix import settle
from tests.oracle.pairs import questions
from tests.oracle.server import Server


@pytest.mark.parametrize("type_", ["reference", "uri"])
def test_references(server: Server, search: Search, type_: str) -> None:
    matrix = compare(server, finds(of_type(search)), list(questions(search.world, type_)))
    settle(type_, matrix.table("type", "form", hit="parameters"))
