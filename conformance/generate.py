"""Derive the committed R4 tables from the published definitions, or check that they are what is derived.

    python conformance/generate.py             download what is missing, derive, write
    python conformance/generate.py --check     derive in memory; exit 1 and say what differs
    python conformance/generate.py --source D  use the two archives in folder D, download nothing

Exit status: 0 all well, 1 a committed file differs, 2 the sources or the derived tables are not as expected.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from derive.corrections import CorrectionError
from derive.sources import SourceError, Sources, fetch
from derive.tables import ROOT, Table, TableError, derive

CACHE = ROOT / ".definitions"
NAMES_SHOWN_MAX = 8


def main() -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, say what differs")
    parser.add_argument("--source", type=Path, metavar="DIR", help="folder with both archives")
    arguments = parser.parse_args()
    started_s = time.monotonic()
    try:
        if arguments.source is None:
            fetch(CACHE)
        tables = derive(Sources.open(arguments.source or CACHE), report)
    except (SourceError, TableError, CorrectionError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    status = check(tables) if arguments.check else write(tables)
    print(f"{time.monotonic() - started_s:.1f} s")
    return status


def report(table: Table) -> None:
    """One line of progress."""
    print(f"derived  {table.path:<32} {len(table.text) // 1024:>5} KiB  {table.summary}", flush=True)


def write(tables: list[Table]) -> int:
    """Write the files that differ from what is derived."""
    for table in tables:
        path = ROOT / table.path
        if _committed(table) != table.text:
            path.parent.mkdir(exist_ok=True)
            path.write_text(table.text, encoding="utf-8")
            print(f"wrote    {table.path}")
    return 0


def check(tables: list[Table]) -> int:
    """Print how each committed file differs; 1 if any does."""
    status = 0
    for table in tables:
        text = _committed(table)
        if text != table.text:
            status = 1
            print(f"differs  {table.path}: {difference(text, table.value)}")
    if not status:
        print("all committed tables are what the definitions give")
    return status


def _committed(table: Table) -> str | None:
    path = ROOT / table.path
    return path.read_text(encoding="utf-8") if path.exists() else None


def difference(text: str | None, derived: Any) -> str:
    """What a committed file lacks, has too much or has otherwise, by the names of its entries."""
    if text is None:
        return "the file is missing"
    try:
        committed = json.loads(text)
    except ValueError as error:
        return f"not JSON ({error})"
    old, new = _entries(committed), _entries(derived)
    parts = [
        _named("missing", [name for name in new if name not in old]),
        _named("not derived", [name for name in old if name not in new]),
        _named("changed", [name for name in new if name in old and old[name] != new[name]]),
    ]
    return "; ".join(part for part in parts if part) or "only layout or order"


def _entries(table: Any) -> dict[str, Any]:
    """A table's entries by name: keys of an object, URLs or leading texts of rows."""
    if isinstance(table, dict):
        return table
    named: dict[str, Any] = {}
    for row in table:
        named[row["url"] if isinstance(row, dict) else " ".join(row[:2])] = row
    return named


def _named(what: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - NAMES_SHOWN_MAX} more" if len(names) > NAMES_SHOWN_MAX else ""
    return f"{len(names)} {what} ({', '.join(names[:NAMES_SHOWN_MAX])}{more})"


if __name__ == "__main__":
    sys.exit(main())
