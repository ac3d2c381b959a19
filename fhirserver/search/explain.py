"""What PostgreSQL did for a statement: the steps of its plan with the rows that each really read.

The statement is executed. Its plan is made for the values at hand, where the server otherwise keeps one
plan for all searches of a shape: see `Pool`.
https://www.postgresql.org/docs/current/sql-explain.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from fhirserver.db.sql import Fragment, sql


@dataclass(frozen=True, slots=True)
class Step:
    """A node of the plan. `rows` were given on, in all loops; `dropped` were read and did not pass a test.

    `reads` is the table that it reads, if it reads one, by `index` where that is not None. `expected` is
    what statistics had said of a loop; `begun` is false where the step was never needed. `ms` includes the
    steps below.
    """

    depth: int
    kind: str
    reads: str | None
    index: str | None
    rows: int
    dropped: int
    expected: int
    begun: bool
    ms: float

    @property
    def read(self) -> int:
        """The rows of a table that were looked at."""
        return self.rows + self.dropped if self.reads is not None else 0

    def __str__(self) -> str:
        what = " ".join(
            [
                self.kind,
                *([f"using {self.index}"] if self.index else []),
                *([f"on {self.reads}"] if self.reads else []),
            ]
        )
        indent = "  " * self.depth
        if not self.begun:
            return f"{indent}{what}: not needed"
        dropped = f", {self.dropped} more did not pass" if self.dropped else ""
        return f"{indent}{what}: {self.rows} rows{dropped} ({self.expected} expected), {self.ms:.2f} ms"


def explained(statement: Fragment) -> Fragment:
    """The statement that executes another and answers with its plan, which `steps` reads."""
    return sql("EXPLAIN (ANALYZE, FORMAT JSON) {}", statement)


def steps(answer: str) -> list[Step]:
    """The plan, each step followed by those below it."""
    return list(_below(orjson.loads(answer)[0]["Plan"], 0))


def _below(node: dict[str, Any], depth: int) -> Iterator[Step]:
    loops = node["Actual Loops"]
    dropped = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    yield Step(
        depth,
        node["Node Type"],
        node.get("Relation Name"),
        node.get("Index Name"),
        round(node["Actual Rows"] * loops),
        round(dropped * loops),
        round(node["Plan Rows"]),
        loops > 0,
        node["Actual Total Time"] * loops,
    )
    for below in node.get("Plans", ()):
        yield from _below(below, depth + 1)


def read(found: Sequence[Step]) -> int:
    """All rows of tables that a statement looked at."""
    return sum(step.read for step in found)
