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
from typing import Final

from fhirserver.db.sql import Fragment, join, sql, table, text_literal, whole

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


def union(selects: Sequence[tuple[str, Fragment]], of: Fragment) -> Fragment:
    """All rows of SELECTs with the same columns, each over the `table` of the type beside it.

    `of` names the list of types; lists within each other need different names.
    """
    if len(selects) <= BRANCHES_MAX:
        return join(" UNION ALL ", (select for _, select in selects))
    shapes: dict[_Shape, list[tuple[str, _Args]]] = {}
    parts: list[Fragment] = []
    for type_, select in selects:
        shape, args = select.flat(table(type_))
        if all(isinstance(arg, Fragment) or _cast(arg) is not None for arg in args):
            shapes.setdefault(shape, []).append((type_, args))
        else:
            parts.append(select)
    parts += [_merged(shape, members, of) for shape, members in shapes.items()]
    return join(" UNION ALL ", parts)


def _merged(shape: _Shape, members: Sequence[tuple[str, _Args]], of: Fragment) -> Fragment:
    """One SELECT for members of one shape."""
    first = members[0][1]
    if len(members) == 1:
        return Fragment(shape, first)
    columns = [
        index
        for index, arg in enumerate(first)
        if not isinstance(arg, Fragment) and any(args[index] != arg for _, args in members)
    ]
    rows = sql(
        "(SELECT * FROM resource y WHERE y.type = {}.type AND y.type = any(ARRAY[{}]))",
        of,
        join(", ", (text_literal(type_) for type_, _ in members)),
    )
    body = Fragment(
        shape,
        tuple(
            rows
            if isinstance(arg, Fragment)
            else sql("{}.c{}", of, whole(index))
            if index in columns
            else arg
            for index, arg in enumerate(first)
        ),
    )
    return sql(
        "SELECT x.* FROM (VALUES {}) {}({}) CROSS JOIN LATERAL ({}) x",
        join(", ", (_row(members, number, columns) for number in range(len(members)))),
        of,
        join(", ", [sql("type"), *(sql("c{}", whole(index)) for index in columns)]),
        body,
    )


def _row(members: Sequence[tuple[str, _Args]], number: int, columns: Sequence[int]) -> Fragment:
    """A type and the arguments that are its own; the first row says of which types they are."""
    type_, args = members[number]
    values = [sql("{}", args[index]) for index in columns]
    if number == 0:
        casts = (_column_cast(members, index) for index in columns)
        values = [sql("{}::{}", value, cast) for value, cast in zip(values, casts, strict=True)]
    return sql("({})", join(", ", [text_literal(type_), *values]))


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
