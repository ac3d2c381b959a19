"""What is stored of a version's entries, compared with what would be written for it now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fhirserver.fhir.dates import micros
from fhirserver.params.entries import Entries
from fhirserver.params.index import PATIENT_CODED
from fhirserver.store.version import Version

TABLES: Final = ("tok", "str", "dat", "qty")
COLUMNS: Final = ("ptk", "ord", "d_lo", "d_hi", "compartments", "keys")

Row = tuple[Any, ...]
"""A row of an index table without its `rid`: (key, ord), (key, val), (key, lo, hi)."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A version with the columns that are derived from it, in the order of COLUMNS, and its index rows."""

    rid: int
    version: Version
    columns: Row
    rows: dict[str, list[Row]] = field(default_factory=lambda: {name: [] for name in TABLES})

    @classmethod
    def of(cls, record: Any) -> Stored:
        """From a record of the statement `chunk`, index rows still to come."""
        columns = tuple(record[name] for name in COLUMNS)
        version = Version(*(record[name] for name in _VERSION))
        return cls(record["rid"], version, columns)


_VERSION: Final = ("type", "id", "version", "updated", "method", "meta", "content")


@dataclass(frozen=True, slots=True)
class Difference:
    """What has to change for a version's entries to be right.

    `columns` are all of them as they should be, None where they are; `named` those that are not.
    """

    rid: int
    version: Version
    named: tuple[str, ...]
    columns: Row | None
    added: dict[str, list[Row]]
    removed: dict[str, list[Row]]

    def __str__(self) -> str:
        """`Patient/1 version 2: keys differ, tok: 1 missing, 2 too many`."""
        parts = [f"{name} differs" for name in self.named]
        for name in TABLES:
            counts = ((len(self.added[name]), "missing"), (len(self.removed[name]), "too many"))
            found = [f"{count} {word}" for count, word in counts if count]
            parts += [f"{name}: {', '.join(found)}"] if found else []
        return f"{self.version.path} version {self.version.version}: {', '.join(parts)}"


def columns_of(entries: Entries, version: Version) -> Row:
    """The derived columns, in the order of COLUMNS. Types without a clinical date go by the last update."""
    ord_ = entries.ord if entries.ord is not None else micros(version.updated)
    return entries.ptk, ord_, entries.d_lo, entries.d_hi, entries.compartments, entries.keys


def probes(stored: Stored, entries: Entries) -> set[tuple[int, int]]:
    """(ord, key) under which `tok` may have a row of the version: of what it says and what it should."""
    ptk, ord_, _, _, _, keys = stored.columns
    found = {*keys[1:], *entries.tok}
    if stored.version.type in PATIENT_CODED:
        for patient in {ptk, entries.ptk} - {None}:
            found |= {key ^ patient for key in keys[1:]}
    right = columns_of(entries, stored.version)[1]
    return {(one, key) for key in found for one in {ord_, right}}


def compare(stored: Stored, entries: Entries) -> Difference | None:
    """How they differ; None when they do not."""
    right = columns_of(entries, stored.version)
    named = tuple(
        name
        for name, mine, theirs in zip(COLUMNS, right, stored.columns, strict=True)
        if _comparable(name, mine) != _comparable(name, theirs)
    )
    wanted: dict[str, list[Row]] = {
        "tok": [(key, right[1]) for key in entries.tok],
        "str": list(entries.str),
        "dat": list(entries.dat),
        "qty": list(entries.qty),
    }
    added: dict[str, list[Row]] = {}
    removed: dict[str, list[Row]] = {}
    for name in TABLES:
        added[name], removed[name] = _rows(wanted[name], stored.rows[name])
    if not named and not any(added.values()) and not any(removed.values()):
        return None
    return Difference(stored.rid, stored.version, named, right if named else None, added, removed)


def _comparable(name: str, value: Any) -> Any:
    """Arrays as sets; but the first of `keys` is the presence word, which has its place."""
    if name == "keys":
        return value[:1], frozenset(value[1:])
    return frozenset(value) if name == "compartments" else value


def _rows(wanted: Sequence[Row], stored: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """What is missing and what is too many; of a row that is there twice both, since they look alike."""
    there = Counter(stored)
    if len(there) == len(wanted) and all(there.get(row) == 1 for row in wanted):
        return [], []
    right = frozenset(wanted)
    added = [row for row in right if there[row] != 1]
    return added, [row for row, count in there.items() if row not in right or count > 1]
