"""The results of a run: a table for people and a JSON file for comparisons."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.client import Measured


@dataclass(slots=True)
class Row:
    """One figure: `value` in `unit`, `share` of the yardstick named `of`, and how busy the client was.

    `database_ms` is the median of the statement alone, without HTTP.
    """

    name: str
    value: float
    unit: str
    share: float | None = None
    of: str = ""
    p50_ms: float | None = None
    p95_ms: float | None = None
    beyond_hello_ms: float | None = None
    database_ms: float | None = None
    client_share: float | None = None
    note: str = ""
    cpu: dict[str, float] = field(default_factory=dict)
    """Cores used by each part of the system, from 0 to their number."""

    @property
    def cost_us(self) -> dict[str, float]:
        """Processor microseconds of each part for one of what is counted.

        Unlike the rate it hardly depends on who else uses the machine.
        """
        return {name: cores * 1e6 / self.value for name, cores in self.cpu.items()} if self.value else {}


@dataclass(slots=True)
class Results:
    """All figures of one run by section, with what is needed to compare runs."""

    workers: int
    sections: dict[str, list[Row]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def add(self, section: str, row: Row) -> Row:
        """Files a figure."""
        self.sections.setdefault(section, []).append(row)
        return row

    def save(self, path: Path) -> None:
        """Writes everything as JSON."""
        value = {"machine": machine(), "workers": self.workers, **self.facts, "sections": self.sections}
        path.write_text(json.dumps(value, indent=2, default=_plain) + "\n")

    def show(self, console: Console) -> None:
        """Prints a table a section."""
        for title, rows in self.sections.items():
            console.print(_table(title, rows))


def machine() -> dict[str, Any]:
    """Where it was measured."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("starlette", "uvicorn", "asyncpg")},
    }


def timed(name: str, measured: Measured, unit: str = "requests/s") -> Row:
    """A row of a measurement over HTTP."""
    note = ""
    if measured.failed:
        said = measured.first_error.partition(b"\r\n\r\n")[2][:200].decode(errors="replace")
        note = f"{measured.failed} failed: {said}"
    elif measured.client_share > 0.9:
        note = "bounded by the client"
    return Row(
        name, measured.rate, unit,
        p50_ms=measured.percentile(0.5), p95_ms=measured.percentile(0.95),
        client_share=measured.client_share, note=note,
    )  # fmt: skip


def _plain(value: Any) -> Any:
    if isinstance(value, Row):
        return {
            name: round(item, 4) if isinstance(item, float) else item
            for name in Row.__slots__  # pyright: ignore[reportAttributeAccessIssue]
            if (item := getattr(value, name)) not in (None, "", {})
        } | {"cost_us": {name: round(cost, 1) for name, cost in value.cost_us.items()}}
    return str(value)


_Cell = Callable[[Row], str]
_COLUMNS: tuple[tuple[str, _Cell], ...] = (
    ("figure", lambda row: f"{_number(row.value)} {row.unit}"),
    ("share", lambda row: "" if row.share is None else f"{100 * row.share:.0f} % of {row.of}"),
    ("p50 ms", lambda row: _ms(row.p50_ms)),
    ("p95 ms", lambda row: _ms(row.p95_ms)),
    ("beyond hello", lambda row: _ms(row.beyond_hello_ms)),
    ("in the database", lambda row: _ms(row.database_ms)),
    ("µs each", lambda row: "  ".join(f"{name} {cost:,.0f}" for name, cost in row.cost_us.items())),
    ("client cores", lambda row: "" if row.client_share is None else f"{row.client_share:.2f}"),
    ("", lambda row: row.note),
)


def _table(title: str, rows: list[Row]) -> Table:
    """A table with those columns that say something."""
    table = Table(title=Text(title), title_justify="left", title_style="bold")
    table.add_column("")
    columns = [(head, [cell(row) for row in rows]) for head, cell in _COLUMNS]
    columns = [(head, cells) for head, cells in columns if any(cells)]
    for head, _ in columns:
        table.add_column(head, justify="right")
    for number, row in enumerate(rows):
        table.add_row(Text(row.name), *(Text(cells[number]) for _, cells in columns))
    return table


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
