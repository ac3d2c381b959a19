"""Every token parameter in every form."""

from tests.oracle.evaluate import Search
from tests.oracle.judging import compare, finds, of_type
from tests.oracle.matrix import settle
from tests.oracle.pairs import questions
from tests.oracle.server import Server


def test_tokens(server: Server, search: Search) -> None:
    matrix = compare(server, finds(of_type(search)), list(questions(search.world, "token")))
    settle("token", matrix.table("type", "form", hit="parameters"))
