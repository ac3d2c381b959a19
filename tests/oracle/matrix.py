"""docs/reference/search-matrix.md: what was compared, counted by the tests and checked in.

The page consists of blocks, each written by one test. Run the tests with FHIRSERVER_TEST_WRITE_MATRIX=1 to
write what they counted; without it a block that says something else fails its test.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.oracle.definitions import ROOT

PAGE = ROOT / "docs/reference/search-matrix.md"
WRITE = "FHIRSERVER_TEST_WRITE_MATRIX"


@dataclass(slots=True)
class Count:
    """How many comparisons, how many of them found some but not all, of what, and what is known not to work:
    how many searches were refused, how many answered otherwise than the specification says."""

    compared: int = 0
    telling: int = 0
    refused: int = 0
    different: int = 0
    hit: set[str] = field(default_factory=set)


class Matrix:
    """Counts by row; the cells of a row stand in the order they were first counted in."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, ...], Count] = {}

    def row(self, *labels: str) -> Count:
        return self.rows.setdefault(labels, Count())

    def table(self, *heads: str, hit: str) -> str:
        """Markdown; `heads` name the labels, `hit` what the comparisons are of."""
        lines: list[tuple[str, ...]] = [
            (*heads, hit, "comparisons", "found some, not all", "refused", "different")
        ]
        for labels, count in self.rows.items():
            figures = (len(count.hit), count.compared, count.telling, count.refused, count.different)
            lines.append((*labels, *(f"{figure:,}" for figure in figures)))
        return table(lines)


def table(lines: Sequence[Iterable[str]]) -> str:
    rows = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]
    rule = f"|{'---|' * len(list(lines[0]))}"
    return "\n".join((rows[0], rule, *rows[1:]))


def settle(block: str, text: str) -> None:
    """Compare a block of the page with what was counted, or write it."""
    if os.environ.get(WRITE):
        with PAGE.open("r+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            written = _replaced(file.read(), block, text)
            file.seek(0)
            file.truncate()
            file.write(written)
        return
    held = _pattern(block).search(PAGE.read_text(encoding="utf-8"))
    assert held is not None, f"no block {block} in {PAGE.name}"
    assert held[2].strip() == text.strip(), f"{PAGE.name} is stale: run with {WRITE}=1"


def _pattern(block: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {block} -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def _replaced(page: str, block: str, text: str) -> str:
    assert _pattern(block).search(page), f"no block {block} in {PAGE.name}"
    return _pattern(block).sub(lambda found: f"{found[1]}\n{text.strip()}\n\n{found[3]}", page)
