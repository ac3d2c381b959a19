"""How well pairs of people are told apart: precision and recall by threshold."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from fhirserver.identity.record import record_of
from fhirserver.identity.score import Grade, Match, match
from tests.support.matching.blocked import pairs, true_pairs
from tests.support.matching.febrl import febrl
from tests.support.matching.hard import hard

Person = tuple[str, dict[str, Any]]
Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was found of pairs of people, by their numbers in the list, as far as searches bring them."""

    people: Sequence[Person]
    same: frozenset[Pair]
    found: dict[Pair, Match]

    def at(self, grade: Grade) -> tuple[float, float]:
        """Precision and recall where pairs of this grade and above are taken."""
        return self._of(pair for pair, match in self.found.items() if match.grade >= grade)

    def above(self, score: float) -> tuple[float, float]:
        """The same by score."""
        return self._of(pair for pair, match in self.found.items() if match.score >= score)

    def curve(self) -> list[tuple[float, float]]:
        """(recall, precision) for every score, from the highest."""
        points, right = [], 0
        ordered = sorted(self.found.items(), key=lambda item: -item[1].bits)
        for taken, (pair, _) in enumerate(ordered, 1):
            right += pair in self.same
            points.append((right / len(self.same), right / taken))
        return points

    def _of(self, taken: Iterable[Pair]) -> tuple[float, float]:
        chosen = list(taken)
        right = sum(pair in self.same for pair in chosen)
        return right / max(len(chosen), 1), right / len(self.same)


def evaluated(people: Sequence[Person]) -> Evaluation:
    """All pairs that the searches for each of them bring."""
    records = [record_of(patient) for _, patient in people]
    found = {
        (one, other): match(records[one], records[other])
        for one, other in pairs([patient for _, patient in people])
    }
    return Evaluation(people, frozenset(true_pairs([who for who, _ in people])), found)


@cache
def evaluation(name: str, *, identifiers: bool = True) -> Evaluation:
    """Of `febrl1` to `febrl4`, or `hard` with a seed behind it."""
    if name.startswith("hard"):
        return evaluated(hard(seed=int(name.removeprefix("hard"))))
    sets = ("dataset4a", "dataset4b") if name == "febrl4" else (name.replace("febrl", "dataset"),)
    return evaluated([person for one in sets for person in febrl(one, identifiers=identifiers)])
