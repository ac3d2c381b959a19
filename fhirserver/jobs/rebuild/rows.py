"""The index rows of a version, or of what it contains: where they are looked for, and how they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fhirserver.params.entries import Entries
from fhirserver.params.index import PATIENT_CODED

TABLES: Final = ("tok", "str", "dat", "qty", "words", "consent_rule")

Row = tuple[Any, ...]
"""A row of an index table without its `rid`: (key, ord), (key, val), (key, lo, hi), (document,), and the
columns of `Rule`."""

Rows = dict[str, list[Row]]
"""By table. A stored document is given as the wanted one where the two are equal, and as OTHER elsewhere."""

OTHER: Final = ""


def no_rows() -> Rows:
    """A list for each table."""
    return {name: [] for name in TABLES}


@dataclass(frozen=True, slots=True)
class Change:
    """Index rows of `rid` that are missing, and those that are too many."""

    rid: int
    added: Rows
    removed: Rows

    def __bool__(self) -> bool:
        return any(self.added.values()) or any(self.removed.values())

    def __str__(self) -> str:
        """`tok: 1 missing, 2 too many, str: 1 missing`"""
        parts: list[str] = []
        for name in TABLES:
            counts = ((len(self.added[name]), "missing"), (len(self.removed[name]), "too many"))
            found = [f"{count} {word}" for count, word in counts if count]
            parts += [f"{name}: {', '.join(found)}"] if found else []
        return ", ".join(parts)


def wanted(entries: Entries, ord_: int) -> Rows:
    """The rows that a resource with these entries should have."""
    return {
        "tok": [(key, ord_) for key in entries.tok],
        "str": list(entries.str),
        "dat": list(entries.dat),
        "qty": list(entries.qty),
        "words": [] if entries.words is None else [(entries.words,)],
        "consent_rule": [rule.row() for rule in entries.rules],
    }


def of_rule(record: Sequence[Any]) -> Row:
    """A row of `consent_rule` without its `rid`, which comes first, as `Rule.row` gives it."""
    return tuple(tuple(value) if isinstance(value, list) else value for value in tuple(record)[1:])


def change(rid: int, right: Mapping[str, Sequence[Row]], stored: Mapping[str, Sequence[Row]]) -> Change:
    """What makes the stored rows those that are right."""
    added, removed = no_rows(), no_rows()
    for name in TABLES:
        added[name], removed[name] = _differing(right[name], stored[name])
    return Change(rid, added, removed)


def _differing(right: Sequence[Row], stored: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """What is missing and what is too many; of a row that is there twice both, since they look alike."""
    there = Counter(stored)
    if len(there) == len(right) and all(there.get(row) == 1 for row in right):
        return [], []
    names = frozenset(right)
    added = [row for row in names if there[row] != 1]
    return added, [row for row, count in there.items() if row not in names or count > 1]


def probes(
    resource_type: str, ptk: int | None, keys: Sequence[int], ords: set[int], entries: Entries | None
) -> set[tuple[int, int]]:
    """(ord, key) under which `tok` may have rows of a resource: `ptk` and `keys` are what its row says,
    `entries` what there should be, if there should be anything."""
    found = set(keys[1:]) if entries is None else {*keys[1:], *entries.tok}
    if resource_type in PATIENT_CODED:
        for patient in (ptk, None if entries is None else entries.ptk):
            found |= set() if patient is None else {key ^ patient for key in keys[1:]}
    return {(one, key) for key in found for one in ords}
