"""The same SELECT over many types in one: a row of values for each type instead of a branch.

A chain through a reference to any type, or `_revinclude=*`, has one SELECT for a hundred types, which
differ in their partition and in a few arguments. As branches they take PostgreSQL tens of milliseconds
to plan, and too much text to be kept prepared. Here what differs becomes a column of a VALUES list, and
the partition becomes the table of all types, of which it opens the one that a row of the list names.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from fhirserver.db.sql import TRUE, Fragment, join, name_literal, sql, table, type_names, whole

BRANCHES_MAX: Final = 8
"""SELECTs up to which each is a branch of its own."""

_Shape = tuple[str, ...]
_Args = tuple[object, ...]

_ONE: Final[dict[type, Fragment]] = {
    bool: sql("boolean"),
    int: sql("bigint"),
    float: sql("float8"),
    str: sql("text"),
    Decimal: sql("numeric"),
    datetime: sql("timestamptz"),
}
_MANY: Final[dict[type, Fragment]] = {int: sql("bigint[]"), str: sql("text[]")}


class Part(NamedTuple):
    """A SELECT over the table of a type, for the rows around it that pass the gate.

    The gate is about those rows alone, so it is looked at before the table is.
    """

    type: str
    select: Fragment
    gate: Fragment = TRUE


def union(parts: Sequence[Part], of: Fragment) -> Fragment:
    """All rows of SELECTs that have the same columns.

    `of` names the list of types; lists within each other need different names.
    """
    if len(parts) <= BRANCHES_MAX:
        return join(" UNION ALL ", (_branch(part) for part in parts))
    shapes: dict[_Shape, list[tuple[str, _Args]]] = {}
    selects: list[Fragment] = []
    for part in parts:
        shape, args = sql("({} OFFSET 0) x WHERE {}", part.select, part.gate).flat(table(part.type))
        if all(isinstance(arg, Fragment) or _cast(arg) is not None for arg in args):
            shapes.setdefault(shape, []).append((part.type, args))
        else:
            selects.append(_branch(part))
    selects += [_merged(shape, members, of) for shape, members in shapes.items()]
    return join(" UNION ALL ", selects)


def _branch(part: Part) -> Fragment:
    if part.gate is TRUE:
        return part.select
    return sql("SELECT x.* FROM ({} OFFSET 0) x WHERE {}", part.select, part.gate)


def _merged(shape: _Shape, members: Sequence[tuple[str, _Args]], of: Fragment) -> Fragment:
    """One SELECT for members of one shape.

    OFFSET 0 has it evaluated for one row of the list after the other: in a join PostgreSQL might read
    all partitions instead.
    """
    first = members[0][1]
    if len(members) == 1:
        return sql("SELECT x.* FROM {}", Fragment(shape, first))
    columns = [
        index
        for index, arg in enumerate(first)
        if not isinstance(arg, Fragment) and any(args[index] != arg for _, args in members)
    ]
    rows = sql(
        "(SELECT * FROM resource y WHERE y.type = {}.type AND y.type = any({}))",
        of,
        type_names(type_ for type_, _ in members),
    )
    args = [
        rows if isinstance(arg, Fragment) else sql("{}.c{}", of, whole(index)) if index in columns else arg
        for index, arg in enumerate(first)
    ]
    return sql(
        "SELECT x.* FROM (VALUES {}) {}({}) CROSS JOIN LATERAL {}",
        join(",", (_row(members, number, columns) for number in range(len(members)))),
        of,
        join(",", [sql("type"), *(sql("c{}", whole(index)) for index in columns)]),
        Fragment(shape, tuple(args)),
    )


def _row(members: Sequence[tuple[str, _Args]], number: int, columns: Sequence[int]) -> Fragment:
    """A type and the arguments that are its own; the first row says of which types they are."""
    type_, args = members[number]
    if number == 0:
        casts = [_column_cast(members, index) for index in columns]
        values = [sql("{}::{}", args[index], cast) for index, cast in zip(columns, casts, strict=True)]
        return sql("({})", join(",", [sql("{}::text", name_literal(type_)), *values]))
    return sql("({})", join(",", [name_literal(type_), *(sql("{}", args[index]) for index in columns)]))


def _column_cast(members: Sequence[tuple[str, _Args]], index: int) -> Fragment:
    """The type of a column; an empty list says nothing about it."""
    told = next((args[index] for _, args in members if args[index] != []), [])
    found = _cast(told)
    assert found is not None
    return found


def _cast(arg: object) -> Fragment | None:
    """The SQL type of an argument; None for what has no place in a list of values."""
    if isinstance(arg, list):
        return _MANY.get(type(arg[0]) if arg else int)
    return _ONE.get(type(arg))
