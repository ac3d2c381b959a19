"""Questions, the server's answers, and whether they are what the oracle says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from tests.oracle.evaluate import Search
from tests.oracle.expectations import different, refused
from tests.oracle.folding import PHONETIC
from tests.oracle.matrix import Count, Matrix
from tests.oracle.server import Answer, Server

ALL = (("_count", "10000"),)


@dataclass(frozen=True, slots=True)
class Question:
    """A search below a path, `row` of the matrix that counts it, and what it is a question of.

    `labels` are the names under which tests/oracle/expectations.py may have it.
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


Judge = Callable[[Question, Answer, Count], "str | None"]
"""What is wrong with an answer of a search that was not refused; counts what was found."""


def finds(expect: Expect) -> Judge:
    """Judges the matches and their total."""

    def judge(question: Question, answer: Answer, count: Count) -> str | None:
        wanted, among = expect(question)
        count.telling += 0 < len(wanted) < among and is_lasting(question)
        return difference(answer, wanted | _further(question, answer))

    return judge


def is_lasting(question: Question) -> bool:
    """Whether it finds the same in every run: what was updated within one minute differs."""
    return "_lastUpdated" not in question.query


def _further(question: Question, answer: Answer) -> set[str]:
    """What may be found beside: by its sound, more than what is written alike."""
    names = {part for name, _ in question.criteria for part in re.split("[.:]", name)}
    by_sound = PHONETIC in names and not names & {"missing", "not"}
    return set(answer.paths()) if by_sound else set()


def compare(
    server: Server,
    judge: Judge,
    questions: Sequence[Question],
    control: Sequence[tuple[str, str]] = ALL,
    *,
    singly: bool = False,
) -> Matrix:
    """Ask them all, and fail with what is not as it should be or as tests/oracle/expectations.py has it.

    `singly`: each as a request of its own.
    """
    matrix = Matrix()
    wrong: list[str] = []
    differing: set[str] = set()
    ask = server.ask_singly if singly else server.ask
    answers = ask([question.url(control) for question in questions])
    for question, answer in zip(questions, answers, strict=True):
        count = matrix.row(*question.row)
        problem = _refusal(question, answer, count)
        if problem is None and answer.status == 200:
            count.compared += 1
            count.hit.add(question.hit)
            problem = judge(question, answer, count)
            label = different(question.labels)
            if problem is not None and label is not None:
                count.different += 1
                differing.add(label)
                continue
        if problem is not None:
            wrong.append(f"{question.url(control)}: {problem}")
    expected = {label for question in questions if (label := different(question.labels))}
    wrong += [f"no longer different: {label}" for label in sorted(expected - differing)]
    assert not wrong, f"{len(wrong)} of {len(questions)}:\n" + "\n".join(wrong[:20])
    return matrix


def _refusal(question: Question, answer: Answer, count: Count) -> str | None:
    label = refused(question.labels)
    if label is not None:
        count.refused += 1
        return None if answer.status == 400 else f"no longer refused: {label}"
    return None if answer.status == 200 else str(answer.body["issue"][0].get("diagnostics"))


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
