"""What is stored of a version's entries, compared with what would be written for it now."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final

from fhirserver.jobs.rebuild import inside, rows
from fhirserver.jobs.rebuild.inside import Inside, StoredInner
from fhirserver.jobs.rebuild.rows import Change, Row, Rows
from fhirserver.params.entries import Entries, Term
from fhirserver.store.contained import Container, Inner
from fhirserver.store.version import Version
from fhirserver.store.write import ord_of

COLUMNS: Final = ("ptk", "ord", "d_lo", "d_hi", "compartments", "keys")
_VERSION: Final = ("type", "id", "version", "updated", "method", "meta", "content")


@dataclass(frozen=True, slots=True)
class Stored:
    """A version with the columns that are derived from it, in the order of COLUMNS, with its index rows and
    what it contains."""

    rid: int
    version: Version
    columns: Row
    rows: Rows = field(default_factory=rows.no_rows)
    inner: list[StoredInner] = field(default_factory=list)

    @classmethod
    def of(cls, record: Any) -> Stored:
        """From a record of the statement `chunk`; index rows and what is contained are still to come."""
        columns = tuple(record[name] for name in COLUMNS)
        version = Version(*(record[name] for name in _VERSION))
        return cls(record["rid"], version, columns)


@dataclass(frozen=True, slots=True)
class Derived:
    """What should be stored of a version."""

    entries: Entries
    inner: tuple[Inner, ...] = ()

    def terms(self) -> list[Term]:
        """The texts that the dictionary should have."""
        return [term for entries in self._all() for term in entries.terms]

    def _all(self) -> list[Entries]:
        return [self.entries, *(one.entries for one in self.inner)]


@dataclass(frozen=True, slots=True)
class Difference:
    """What has to change for a version's entries to be right.

    `columns` are all of them as they should be, None where they are; `named` those that are not. `terms` are
    texts that the dictionary lacks; `inside` is None where what the version contains is as it should be.
    """

    rid: int
    version: Version
    named: tuple[str, ...]
    columns: Row | None
    change: Change
    terms: tuple[Term, ...] = ()
    inside: Inside | None = None

    def __str__(self) -> str:
        """`Patient/1 version 2: keys differs, tok: 1 missing, 2 too many`."""
        parts = [f"{name} differs" for name in self.named]
        parts += [str(self.change)] if self.change else []
        parts += [f"term: {len(self.terms)} missing"] if self.terms else []
        parts += [str(self.inside)] if self.inside is not None else []
        return f"{self.version.path} version {self.version.version}: {', '.join(parts)}"


def columns_of(entries: Entries, version: Version) -> Row:
    """The derived columns, in the order of COLUMNS. Types without a clinical date go by the last update."""
    ord_ = ord_of(entries, version.updated)
    return entries.ptk, ord_, entries.d_lo, entries.d_hi, entries.compartments, entries.keys


def probes(stored: Stored, entries: Entries) -> set[tuple[int, int]]:
    """(ord, key) under which `tok` may have a row of the version: of what it says and what it should."""
    ptk, ord_, _, _, _, keys = stored.columns
    ords = {ord_, ord_of(entries, stored.version.updated)}
    return rows.probes(stored.version.type, ptk, keys, ords, entries)


def compare(stored: Stored, derived: Derived, missing: Collection[Term] = ()) -> Difference | None:
    """How they differ; None when they do not. `missing`: of all texts those that the dictionary lacks."""
    entries, version = derived.entries, stored.version
    right = columns_of(entries, version)
    named = tuple(
        name
        for name, mine, theirs in zip(COLUMNS, right, stored.columns, strict=True)
        if inside.comparable(name, mine) != inside.comparable(name, theirs)
    )
    change = rows.change(stored.rid, rows.wanted(entries, right[1]), stored.rows)
    terms = tuple(dict.fromkeys(term for term in derived.terms() if term in missing)) if missing else ()
    around = Container(
        *(version.type, stored.rid, version.id, version.version, version.updated, version.method),
        *(right[1], entries),
    )
    within = inside.compare(stored.inner, derived.inner, around)
    if not named and not change and not terms and within is None:
        return None
    return Difference(stored.rid, version, named, right if named else None, change, terms, within)
