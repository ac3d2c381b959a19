"""SQL as values: text with holes and the arguments that fill them, numbered once at the end.

A value never enters the text. `sql` takes literal text only (a type checker refuses anything built at
run time); `{}` in it is either another fragment, which is spliced in, or an argument, which becomes
`$n`. Names of tables come from `table`, which accepts the resource types of the specification only.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Final, LiteralString

from fhirserver.db.queries import partition
from fhirserver.fhir.structure import ENDPOINT_TYPES


class Fragment:
    """`texts` has one element more than `args`; argument i stands between text i and text i + 1.

    An argument is a value or a further fragment. Fragments are never changed once made.
    """

    __slots__ = ("args", "texts")

    def __init__(self, texts: tuple[str, ...], args: tuple[object, ...] = ()) -> None:
        self.texts = texts
        self.args = args

    def numbered(self) -> tuple[str, list[object]]:
        """The statement with `$1` to `$n` and its arguments. The text depends on the shape alone."""
        pieces: list[str] = []
        values: list[object] = []
        self._write(pieces, values)
        return "".join(pieces), values

    def _write(self, pieces: list[str], values: list[object]) -> None:
        texts = self.texts
        pieces.append(texts[0])
        for index, arg in enumerate(self.args, 1):
            if isinstance(arg, Fragment):
                arg._write(pieces, values)
            else:
                values.append(arg)
                pieces.append(f"${len(values)}")
            pieces.append(texts[index])

    def flat(self, kept: Fragment) -> tuple[tuple[str, ...], tuple[object, ...]]:
        """Its texts and arguments with all fragments in it spliced, but for `kept`, which stays one."""
        texts: list[str] = [""]
        args: list[object] = []
        self._splice(kept, texts, args)
        return tuple(texts), tuple(args)

    def _splice(self, kept: Fragment, texts: list[str], args: list[object]) -> None:
        texts[-1] += self.texts[0]
        for index, arg in enumerate(self.args, 1):
            if isinstance(arg, Fragment) and arg is not kept:
                arg._splice(kept, texts, args)
            else:
                args.append(arg)
                texts.append("")
            texts[-1] += self.texts[index]

    def __repr__(self) -> str:
        return f"<Fragment {self.numbered()[0]}>"


@lru_cache(maxsize=2_048)
def _holes(template: LiteralString) -> tuple[str, ...]:
    return tuple(template.split("{}"))


def sql(template: LiteralString, *args: object) -> Fragment:
    """The fragment of a literal text whose `{}` are fragments or arguments, in order.

    Raises ValueError when their numbers differ.
    """
    texts = _holes(template)
    if len(texts) != len(args) + 1:
        raise ValueError(f"{len(args)} arguments for {len(texts) - 1} places in: {template}")
    return Fragment(texts, args)


EMPTY: Final = Fragment(("",))
TRUE: Final = Fragment(("true",))
FALSE: Final = Fragment(("false",))


def join(separator: LiteralString, fragments: Iterable[Fragment]) -> Fragment:
    """The fragments with the literal separator between them; nothing gives EMPTY."""
    parts = tuple(fragments)
    if not parts:
        return EMPTY
    return Fragment(("", *(separator for _ in parts[1:]), ""), parts)


def and_(*fragments: Fragment) -> Fragment:
    """All of them; none gives TRUE, and TRUE is left out."""
    parts = [fragment for fragment in fragments if fragment is not TRUE]
    if any(part is FALSE for part in parts):
        return FALSE
    if len(parts) < 2:
        return parts[0] if parts else TRUE
    return join(" AND ", parts)


def or_(*fragments: Fragment) -> Fragment:
    """Any of them, in parentheses; none gives FALSE."""
    parts = [fragment for fragment in fragments if fragment is not FALSE]
    if any(part is TRUE for part in parts):
        return TRUE
    if len(parts) < 2:
        return parts[0] if parts else FALSE
    return sql("(({}))", join(") OR (", parts))


def not_(fragment: Fragment) -> Fragment:
    """The rows for which it is not true."""
    return sql("NOT ({})", fragment)


def whole(number: int) -> Fragment:
    """A whole number as text. For LIMIT, which the planner has to see to read no more than it takes."""
    return Fragment((str(int(number)),))


@cache
def table(resource_type: str) -> Fragment:
    """The partition that holds a type's versions. Raises KeyError for anything but an R4 type."""
    if resource_type not in ENDPOINT_TYPES:
        raise KeyError(resource_type)
    return Fragment((partition(resource_type),))


def type_names(resource_types: Iterable[str]) -> Fragment:
    """Names of types as an SQL array. Raises KeyError for anything but an R4 type."""
    names = list(resource_types)
    if unknown := [name for name in names if name not in ENDPOINT_TYPES]:
        raise KeyError(unknown[0])
    return Fragment(("'{" + ",".join(names) + "}'::text[]",))


@cache
def name_literal(resource_type: str) -> Fragment:
    """A type's name as an SQL literal. Raises KeyError for anything but an R4 type."""
    if resource_type not in ENDPOINT_TYPES:
        raise KeyError(resource_type)
    return Fragment((f"'{resource_type}'",))
