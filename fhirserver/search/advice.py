"""Which way a search takes, in words, and what would shorten it: what `$explain` says beside the plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Final

from fhirserver.params.condition import Condition, Rank
from fhirserver.params.registry import SearchParam
from fhirserver.search import query as asked
from fhirserver.search.access import Keys, Sorted
from fhirserver.search.explain import Step, read
from fhirserver.search.plan import Choice
from fhirserver.search.query import SearchQuery
from fhirserver.search.sources import best

MANY: Final = 5_000
"""Rows that may be looked at for a page before something is said about it."""
WHOLE: Final = 1_000
"""Rows of a table that is read as a whole before that is said: smaller ones are no faster by an index."""

_RANKS: Final = {rank: name.lower().replace("_", " ") for name, rank in vars(Rank).items() if name.isupper()}


def shown(value: object) -> str:
    """A parsed value as text: its kind and its parts, search parameters by their names."""
    if isinstance(value, SearchParam):
        return value.code
    if is_dataclass(value):
        parts = ", ".join(f"{one.name}={shown(getattr(value, one.name))}" for one in fields(value))
        return f"{type(value).__name__}({parts})"
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(shown(one) for one in value)}]"
    return repr(value)


def way(condition: Condition) -> str:
    """How the matches of a condition are found when they are what is followed."""
    if condition.drivers:
        return f"index ({_RANKS.get(condition.rank, 'combined')})"
    return "words of rows" if condition.words else "none: tested on rows"


def strategy(choice: Choice) -> str:
    """What the statement does, in order; see `plan`."""
    if choice.sure is not None:
        return f"follows what is known to be few: {_rank(choice.sure)}"
    parts = [f"follows the first to lead to few rows of: {', '.join(map(_rank, choice.drivers))}"]
    match choice.access:
        case None:
            parts.append("no index has the order: what matches is fetched and sorted")
        case Keys():
            parts.append("reads its keys in the order wanted until the page is full")
        case Sorted(index):
            parts.append(f"reads {index.table.numbered()[0]} in the order wanted until the page is full")
        case _:
            parts.append("reads the type in the order wanted until the page is full")
    if choice.bits:
        parts.append("finds frequent and absent values by the words of rows where the page is not full")
    return "; else ".join(parts if choice.drivers else parts[1:])


def gathering(conditions: Sequence[Condition]) -> str:
    """The same of a statement over what others contain."""
    first = best(conditions)
    return f"sorts all that follows from: {_rank(first)}" if first else "sorts all that others contain"


def counting(conditions: Sequence[Condition]) -> str:
    """The same of a statement that counts."""
    first = best(conditions)
    return f"counts what follows from: {_rank(first)}" if first else "counts the type"


def _rank(condition: Condition) -> str:
    return _RANKS.get(condition.rank, "combined")


def advice(
    query: SearchQuery,
    compiled: Sequence[tuple[asked.Condition, Condition]],
    choice: Choice | None,
    done: list[Step],
) -> list[str]:
    """What would shorten the search; nothing where little was read.

    `choice` is None for a search of what others contain.
    """
    whole = [f"all {step.read} rows of {step.reads} were read" for step in _wholes(done)]
    looked_at = read(done)
    if looked_at < MANY:
        return whole
    return [
        *whole,
        f"{looked_at} rows were looked at for a page of {query.count}",
        *_causes(query, compiled, choice),
    ]


def _wholes(done: Sequence[Step]) -> list[Step]:
    return [step for step in done if step.kind == "Seq Scan" and step.read > WHOLE]


def _causes(
    query: SearchQuery, compiled: Sequence[tuple[asked.Condition, Condition]], choice: Choice | None
) -> Iterator[str]:
    for condition, found in compiled:
        if not found.drivers:
            yield f"no index leads to {_name(condition)}, which is tested on each row that others lead to"
    if choice is not None and choice.sure is None and choice.access is None:
        yield (
            f"no index has the order of _sort={','.join(key.code for key in query.sort)}: a sort by its first"
            " key alone, or none, stops reading when the page is full"
        )
    plain = [c for c, _ in compiled if isinstance(c, asked.Clause) and c.modifier is None]
    together = [clause.param.code for clause in plain if clause.param.type in ("token", "quantity", "date")]
    if len(together) > 1:
        yield (
            f"a composite SearchParameter of {' and '.join(together)} would be one index that leads to what"
            " fulfils them together"
        )
    if choice is not None and choice.sure is None:
        yield "a patient, an encounter or an identifier, where one is known, leads to few rows at once"


def _name(condition: Any) -> str:
    param = getattr(condition, "param", None)
    modifier = getattr(condition, "modifier", None)
    if param is None:
        return shown(condition)
    return f"'{param.code}:{modifier}'" if modifier else f"'{param.code}'"
