"""What a search clause compiles to: a filter over a row, and ways to reach the rows that may pass it.

The filter alone decides what matches. A driver is an index access that yields every row that the
filter can accept (perhaps more); the planner picks one and checks all filters on what it yields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from fhirserver.db.sql import Fragment, or_, sql, table
from fhirserver.errors import NotSupported
from fhirserver.fhir.keys import Keys
from fhirserver.fhir.suggest import nearest
from fhirserver.params.word import Bits


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a clause is compiled: over which row alias of which type. `now` is in microseconds.

    `inline`: the resource of the type is within the one that the row holds (`facts.INLINE`), so that
    none of the row's own columns is about it. `contained`: over the resources of that type that others
    contain.
    """

    keys: Keys
    resource_type: str
    alias: Fragment
    now: int
    inline: bool = False
    contained: bool = False

    def inside(self, place: str, resource_type: str) -> Scope:
        """The resource at a place within the row's."""
        return Scope(self.keys.inside(place), resource_type, self.alias, self.now, True, self.contained)

    @property
    def rows(self) -> Fragment:
        """The table in which the rows are; that of contained ones has other types as well."""
        return _CONTAINED if self.contained else table(self.resource_type)

    @property
    def has_word(self) -> bool:
        """Whether the row's word is about the resource."""
        return not self.inline

    def words(self, mask: int, absent: bool = False) -> tuple[Bits, ...]:
        """The test of words that leads to rows, for any of some bits; none where there are no bits, or where
        the rows are not found by their words."""
        return (Bits(mask, absent),) if mask and self.has_word and not self.contained else ()


_CONTAINED: Final = sql("contained")


@dataclass(frozen=True, slots=True)
class Ids:
    """The current rows with these ids."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Identities:
    """The current rows whose `idk` is an expression's value (`= x` or `= any(...)`)."""

    equals: Fragment


@dataclass(frozen=True, slots=True)
class Patients:
    """The current rows whose `ptk` is one of these."""

    ptks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PatientOf:
    """The current rows whose `ptk` is an expression's value, for conditions on another row."""

    ptk: Fragment


@dataclass(frozen=True, slots=True)
class Tokens:
    """The rows under one of these keys of `tok`, which keeps the default order within each key."""

    keys: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TokenOf:
    """The rows under an expression's value (or `any(...)` of its values) in `tok`, for conditions on
    another row."""

    key: Fragment


@dataclass(frozen=True, slots=True)
class Rids:
    """A `SELECT rid`, in no order and with repetitions, from an index table. `once`: without repetitions."""

    select: Fragment
    once: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """The current rows with `ord` in [lo, hi]; None is an open end."""

    lo: int | None = None
    hi: int | None = None


Driver = Ids | Identities | Patients | PatientOf | Tokens | TokenOf | Rids | Span


class Rank:
    """How selective a driver is likely to be; the planner takes the lowest.

    Static: what is asked, never what is stored, decides the shape of a statement.
    """

    ID: Final = 0
    IDENTIFIER: Final = 10
    PATIENT_CODE: Final = 15
    PATIENT: Final = 20
    REFERENCE: Final = 30
    URI: Final = 32
    COMPOSITE: Final = 34
    CHAIN: Final = 36
    SOUNDS: Final = 37
    STRING_EXACT: Final = 38
    STRING: Final = 40
    TOKEN: Final = 45
    RANGE: Final = 50
    COMPARTMENT: Final = 55
    OPEN_RANGE: Final = 60
    NEGATED: Final = 65
    CONTAINS: Final = 70
    ORDER: Final = 80
    NONE: Final = 100


ORD: Final = 0
"""Stands for `ord` where else a key of `dat` or `qty` does."""


@dataclass(frozen=True, slots=True)
class Range:
    """Where matches lie among the entries under a key, or by `ord`: a value in [lo, hi] (None is an open end)
    unless one of `late`, selects of rids, leads to them.

    `instead` is a key under which matches have the same values, and others have none.
    """

    key: int
    lo: int | Decimal | None = None
    hi: int | Decimal | None = None
    late: tuple[Fragment, ...] = ()
    instead: int | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled clause. The rows of all `drivers` together hold every match; no drivers: scan.

    `exact`: they hold nothing but matches, so that the filter need not be checked on them. `words` are
    tests that the word of every match passes. `covered`: another condition leads to fewer of
    the same rows. `range` helps an order by the same values, where a row has one at most. `of_rid` gives
    the filter by the row's rid alone, if that is all it looks at: so before the row is fetched.
    """

    filter: Fragment
    drivers: tuple[Driver, ...] = ()
    rank: int = Rank.NONE
    exact: bool = False
    words: tuple[Bits, ...] = ()
    covered: bool = False
    range: Range | None = None
    of_rid: Callable[[Fragment], Fragment] | None = None


def indexed(
    alias: Fragment,
    of_rid: Callable[[Fragment], Fragment],
    drivers: tuple[Driver, ...],
    rank: int,
    range_: Range | None = None,
) -> Condition:
    """A condition that index rows alone decide, in which the drivers find what the filter finds."""
    return Condition(of_rid(sql("{}.rid", alias)), drivers, rank, True, range=range_, of_rid=of_rid)


KEYS_FEW: Final = 64
"""Keys up to which each is looked up by itself, in the default order."""


def has_keys(alias: Fragment, keys: list[int]) -> Fragment:
    """Whether the row carries any of the keys.

    Comparing two arrays takes time with the product of their lengths: many keys are put into a hash
    table, once for the statement. `IS TRUE` keeps PostgreSQL from making a join of each row's look-up.
    """
    if len(keys) == 1:
        return sql("{}.keys @> {}::bigint[]", alias, keys)
    if len(keys) <= KEYS_FEW:
        return sql("{}.keys && {}::bigint[]", alias, keys)
    return sql(
        "EXISTS (SELECT FROM unnest({}.keys) u(k)"
        " WHERE (u.k IN (SELECT unnest({}::bigint[]))) IS TRUE OFFSET 0)",
        alias,
        keys,
    )


def under_keys(keys: Iterable[int]) -> Driver:
    """The rows under any of the keys of `tok`: in the default order, unless there are many."""
    wanted = tuple(dict.fromkeys(keys))
    if len(wanted) <= KEYS_FEW:
        return Tokens(wanted)
    return Rids(sql("SELECT x.rid FROM tok x WHERE x.key = any({}::bigint[])", list(wanted)))


def exists(body: Fragment) -> Fragment:
    """EXISTS over `FROM ... WHERE ...`, evaluated row by row.

    OFFSET 0 keeps PostgreSQL from turning it into a join that reads the whole inner side.
    """
    return sql("EXISTS (SELECT {} OFFSET 0)", body)


def either(conditions: Sequence[Condition]) -> Condition:
    """Any of them."""
    if len(conditions) == 1:
        return conditions[0]
    filter_ = or_(*(condition.filter for condition in conditions))
    if not all(condition.drivers for condition in conditions):
        return Condition(filter_)
    drivers = tuple(driver for condition in conditions for driver in condition.drivers)
    exact = all(condition.exact for condition in conditions)
    return Condition(filter_, drivers, max(condition.rank for condition in conditions), exact)


class UnknownParameter(NotSupported):
    """The type has no such parameter, or this server none: ignored when the caller is lenient."""


class UnsupportedModifier(NotSupported):
    """A modifier that cannot be honoured: an error whatever the handling, as R4 demands.

    https://hl7.org/fhir/R4/search.html#modifiers
    """


def unsupported_modifier(
    code: str, modifier: str, known: tuple[str, ...], types: tuple[str, ...] = ()
) -> UnsupportedModifier:
    """The error that names what would be supported, and what of it is written alike.

    `types` are the resource types that stand for "a resource type" among `known`.
    """
    names = ", ".join(name if name.startswith("a ") else f":{name}" for name in known)
    written = [name for name in known if not name.startswith("a ")]
    alike = nearest(modifier, [*written, *types], count=1)
    hint = f"; did you mean :{alike[0]}?" if alike else ""
    return UnsupportedModifier(f"modifier :{modifier} is not supported on '{code}'; supported: {names}{hint}")
