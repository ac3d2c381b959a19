"""What a version contains as it is stored, compared with what would be written for it now.

Where anything about it differs, all of it is written anew, under the `rid` that it had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fhirserver.fhir import json
from fhirserver.jobs.rebuild import rows
from fhirserver.jobs.rebuild.rows import Rows
from fhirserver.params.entries import Entries
from fhirserver.store.contained import COLUMNS, Container, Inner, record_of
from fhirserver.store.write import ord_of

_KEYS: Final = frozenset({"keys", "container_keys"})
_SETS: Final = frozenset({"compartments", "container_compartments"})
_TEXTS: Final = frozenset({"meta", "content"})


@dataclass(frozen=True, slots=True)
class StoredInner:
    """A row of `contained`, its columns by their names, with its index rows.

    `shifted`: it does not begin and end with its container.
    """

    rid: int
    columns: Mapping[str, Any]
    shifted: bool
    rows: Rows = field(default_factory=rows.no_rows)

    @classmethod
    def of(cls, record: Any) -> StoredInner:
        """From a record of the statement `inside`; index rows are still to come."""
        return cls(record["rid"], {name: record[name] for name in COLUMNS}, record["shifted"])

    def probes(self, entries: Entries | None) -> set[tuple[int, int]]:
        """(ord, key) under which `tok` may have a row of it; `entries` are those that it should have."""
        columns = self.columns
        ords = {columns["ord"]} | (set() if entries is None else {ord_of(entries, columns["updated"])})
        return rows.probes(columns["type"], columns["ptk"], columns["keys"], ords, entries)


@dataclass(frozen=True, slots=True)
class Inside:
    """All rows that are there, and all that should be, each with the `rid` that it has had, if any.

    `missing` and `surplus` are their numbers, `different` is that of those that are there and not right.
    """

    around: Container
    removed: list[StoredInner]
    added: list[tuple[Inner, int | None]]
    missing: int
    surplus: int
    different: int

    def __str__(self) -> str:
        """`contained: 1 missing, 2 different`"""
        counts = (self.missing, "missing"), (self.surplus, "too many"), (self.different, "different")
        return "contained: " + ", ".join(f"{count} {word}" for count, word in counts if count)


def paired(stored: Sequence[StoredInner], right: Sequence[Inner]) -> list[tuple[Inner, StoredInner | None]]:
    """What should be there with the row that is it, each row once."""
    there: dict[int, list[StoredInner]] = {}
    for one in stored:
        there.setdefault(one.columns["idk"], []).append(one)
    return [(inner, there[inner.idk].pop(0) if there.get(inner.idk) else None) for inner in right]


def compare(stored: Sequence[StoredInner], right: Sequence[Inner], around: Container) -> Inside | None:
    """How they differ; None when they do not."""
    if not stored and not right:
        return None
    pairs = paired(stored, right)
    known = [(inner, row) for inner, row in pairs if row is not None]
    missing, surplus = len(right) - len(known), len(stored) - len(known)
    different = sum(not _is_right(inner, row, around) for inner, row in known)
    if not missing and not surplus and not different:
        return None
    added = [(inner, None if row is None else row.rid) for inner, row in pairs]
    return Inside(around, list(stored), added, missing, surplus, different)


def _is_right(inner: Inner, row: StoredInner, around: Container) -> bool:
    ord_ = ord_of(inner.entries, around.updated)
    should = record_of(inner, row.rid, ord_, around)
    if row.shifted or any(
        comparable(name, value) != comparable(name, row.columns[name])
        for name, value in zip(COLUMNS, should, strict=True)
    ):
        return False
    return not rows.change(row.rid, rows.wanted(inner.entries, ord_), row.rows)


def comparable(name: str, value: Any) -> Any:
    """Arrays as sets; but the first of `keys` is the presence word, which has its place. JSON as values."""
    if name in _KEYS:
        return value[:1], frozenset(value[1:])
    if name in _SETS:
        return frozenset(value)
    return json.loads(value.encode()) if name in _TEXTS and value is not None else value
