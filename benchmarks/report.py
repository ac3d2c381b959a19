"""The results of a run: a table for people and a JSON file for comparisons."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.client import Measured


@dataclass(slots=True)
class Row:
    """One figure: `value` in `unit`, `share` of the yardstick named `of`, and how busy the client was."""

    name: str
    value: float
    unit: str
    share: float | None = None
    of: str = ""
    p50_ms: float | None = None
    p95_ms: float | None = None
    beyond_hello_ms: float | None = None
    client_share: float | None = None
    note: str = ""
    cpu: dict[str, float] = field(default_factory=dict)


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
        }
    return str(value)


def _table(title: str, rows: list[Row]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("")
    wide = any(row.beyond_hello_ms is not None for row in rows)
    columns = ["figure", "share", "p50 ms", "p95 ms", *(["beyond hello"] if wide else ())]
    for name in (*columns, "processor"):
        table.add_column(name, justify="right")
    table.add_column("")
    for row in rows:
        share = f"{100 * row.share:.0f} % of {row.of}" if row.share is not None else ""
        figure = f"{row.value:,.0f}" if row.value >= 100 else f"{row.value:,.2f}".rstrip("0").rstrip(".")
        cells = [row.name, f"{figure} {row.unit}", share, _ms(row.p50_ms), _ms(row.p95_ms)]
        if wide:
            cells.append(_ms(row.beyond_hello_ms))
        table.add_row(*cells, _processors(row), row.note)
    return table


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _processors(row: Row) -> str:
    parts = dict(row.cpu)
    if row.client_share is not None:
        parts["client"] = row.client_share
    return "  ".join(f"{name} {100 * share:.0f}%" for name, share in parts.items())
