"""The figures of `benchmarks.scale` as a page of the documentation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from benchmarks.report import Row, machine

if TYPE_CHECKING:
    from benchmarks.scale import Size

GROUPS = {
    "patient": "About one patient",
    "population": "About everybody",
    "chain": "Chains and `_has`",
    "count": "Counts",
    "pages": "Deep pages",
    "blend": "A blend of what is about one patient",
}


def markdown(sizes: list[Size]) -> str:
    """A table a group; the last column is how much slower the largest size is than the smallest."""
    about = machine()
    lines = [
        "# Performance",
        "",
        "Written by `python -m benchmarks --scale --page`: amplified Synthea patients, one machine for all,",
        "times of whole requests over HTTP. In brackets the statement alone.",
        "",
        f"- {about['date'][:10]}, {about['cores']} cores, {about['memory_bytes'] / 2**30:.0f} GiB, Python"
        f" {about['python']}, PostgreSQL {sizes[-1].results.facts['database']['postgresql']},"
        f" {sizes[-1].results.workers} workers",
        *(
            f"- {size.resources:,} resources: {_bytes(size) / 2**30:.1f} GiB on disk,"
            f" {_bytes(size) / size.resources:,.0f} bytes each"
            for size in sizes
        ),
        "",
    ]
    for group, title in GROUPS.items():
        lines += [f"## {title}", "", *_table(sizes, group), ""]
    return "\n".join(lines)


def _bytes(size: Size) -> int:
    return size.results.facts["database"]["bytes"]


def _table(sizes: list[Size], group: str) -> Iterable[str]:
    heads = [f"{size.resources / 1e6:.1f} M" for size in sizes]
    yield "| | " + " | ".join(f"{head}: p50 / p95 ms" for head in heads) + " | ratio |"
    yield "|---" * (len(sizes) + 2) + "|"
    rows = [size.results.sections.get(group, []) for size in sizes]
    for each in zip(*rows, strict=True):
        first, last = each[0], each[-1]
        ratio = last.p50_ms / first.p50_ms if first.p50_ms and last.p50_ms else 0
        yield f"| {first.name} | " + " | ".join(map(_cell, each)) + f" | {ratio:.2f} |"


def _cell(row: Row) -> str:
    text = f"{row.p50_ms:.2f} / {row.p95_ms:.2f}"
    if row.database_ms is not None:
        text += f" ({row.database_ms:.2f})"
    if row.name.endswith("clients"):
        text += f", {row.value:,.0f}/s"
    return text + (f" {row.note}" if row.note else "")
