"""What the index tables hold for one version of a resource."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from fhirserver.fhir.fhirpath import Node
from fhirserver.policy.consent import Rule

ORD_ABSENT = -(1 << 63)
"""`resource.ord` of a resource whose clinical date is not known: last in the default order."""


str_ = str


@dataclass(slots=True, eq=False)
class Term:
    """A text of the dictionary `term` (see `wording`): its parameter's key, the folded text, its own key,
    and the key of `tok` that leads to the rows with it, None where none does.

    `known`: the dictionary has it for sure, so it need not be written again.
    """

    key: int
    val: str
    text_key: int
    tok_key: int | None
    known: bool = False


@dataclass(slots=True)
class Entries:
    """The search columns of one row of `resource` and its rows in the four index tables.

    `ptk` is the key of the patient (`keys.target`), where no other can be meant. `ord` is the lower
    bound of the type's clinical date in microseconds, ORD_ABSENT when it has none, and None for types
    without a clinical date: those are ordered by `updated`, which the database sets, in microseconds.
    `d_lo` and `d_hi` are that date as `[lo, hi)`. `word` (see the module `word`) becomes `keys[0]`, so the
    order of `keys` must be kept. `tok` are keys, `str` are (key, folded text), `dat` are
    (key, lo, hi) in microseconds, half-open, and `qty` are (key, lo, hi), closed. `terms` are the
    texts that the dictionary needs, `words` the document for full text as PostgreSQL reads a tsvector.
    `rules` are those of a Consent that is in force.
    """

    ptk: int | None = None
    ord: int | None = None
    d_lo: int | None = None
    d_hi: int | None = None
    word: int = 0
    compartments: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    tok: list[int] = field(default_factory=list)
    str: list[tuple[int, str_]] = field(default_factory=list)
    dat: list[tuple[int, int, int]] = field(default_factory=list)
    qty: list[tuple[int, Decimal, Decimal]] = field(default_factory=list)
    terms: list[Term] = field(default_factory=list)
    words: str_ | None = None
    rules: tuple[Rule, ...] = ()


Indexer = Callable[[Sequence[Node], Entries], None]
"""Adds what one parameter finds in a resource to its entries. It is given one node at least."""
