"""Questions, the server's answers, and whether they are what the oracle says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from tests.oracle.evaluate import Search
from tests.oracle.matrix import Count, Matrix
from tests.oracle.refusals import expected
from tests.oracle.server import Answer, Server

ALL = (("_elements", "id"), ("_count", "10000"))


@dataclass(frozen=True, slots=True)
class Question:
    """A search below a path, `row` of the matrix that counts it, and what it is a question of.

    `labels` are the names by which a refusal may be expected.
    """

    path: str
    criteria: tuple[tuple[str, str], ...]
    row: tuple[str, ...]
    hit: str
    labels: tuple[str, ...] = ()

    @property
    def query(self) -> str:
        return "&".join(f"{quote(name, safe=':.*')}={quote(value, safe='')}" for name, value in self.criteria)

    def url(self, control: Iterable[tuple[str, str]] = ALL) -> str:
        return f"{self.path}?{'&'.join(filter(None, (self.query, *(f'{k}={v}' for k, v in control))))}"


Expect = Callable[[Question], "tuple[set[str], int]"]
"""The paths that a question finds, and among how many."""


def of_type(search: Search) -> Expect:
    """What a search of one type finds."""

    def expect(question: Question) -> tuple[set[str], int]:
        found = search.all_of(question.path, question.criteria)
        return {f"{question.path}/{id_}" for id_ in found}, len(search.world.by_type[question.path])

    return expect


def compare(server: Server, expect: Expect, questions: Sequence[Question]) -> Matrix:
    """Ask them all; fails with what differs, and with what was refused or answered unexpectedly."""
    matrix = Matrix()
    wrong: list[str] = []
    answers = server.ask([question.url() for question in questions])
    for question, answer in zip(questions, answers, strict=True):
        if (problem := _problem(question, answer, expect, matrix.row(*question.row))) is not None:
            wrong.append(f"{question.url()}: {problem}")
    assert not wrong, f"{len(wrong)} of {len(questions)}:\n" + "\n".join(wrong[:20])
    return matrix


def _problem(question: Question, answer: Answer, expect: Expect, count: Count) -> str | None:
    refusal = expected(*question.labels)
    if refusal is not None:
        count.refused += 1
        return None if answer.status == 400 else f"no longer refused: take {refusal!r} from the refusals"
    if answer.status != 200:
        return str(answer.body["issue"][0].get("diagnostics"))
    wanted, among = expect(question)
    count.compared += 1
    count.telling += 0 < len(wanted) < among
    count.hit.add(question.hit)
    return difference(answer, wanted)


def difference(answer: Answer, wanted: set[str]) -> str | None:
    """Nothing more, nothing less, nothing twice, and a total that says so."""
    found = answer.paths()
    if len(found) != len(set(found)):
        return f"twice: {sorted(path for path in found if found.count(path) > 1)[:4]}"
    if set(found) != wanted:
        extra, lost = sorted(set(found) - wanted), sorted(wanted - set(found))
        return f"{len(extra)} too many {extra[:4]}, {len(lost)} missing {lost[:4]}"
    if answer.body.get("total") != len(wanted):
        return f"total {answer.body.get('total')} instead of {len(wanted)}"
    return None
