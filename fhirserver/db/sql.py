"""SQL as values: text with holes and the arguments that fill them, numbered once at the end.

A value never enters the text. `sql` takes literal text only (a type checker refuses anything built at
run time); `{}` in it is either another fragment, which is spliced in, or an argument, which becomes
`$n`. Names of tables come from `table`, which accepts the resource types of the specification only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final, LiteralString

from fhirserver.db.queries import partition
from fhirserver.fhir.structure import ENDPOINT_TYPES


@dataclass(frozen=True, slots=True)
class Fragment:
    """`texts` has one element more than `args`; argument i stands between text i and text i + 1."""

    texts: tuple[str, ...]
    args: tuple[object, ...] = ()

    def __bool__(self) -> bool:
        """False for the empty text."""
        return self.texts != ("",)

    def numbered(self) -> tuple[str, list[object]]:
        """The statement with `$1` to `$n` and its arguments. The text depends on the shape alone."""
        pieces = [self.texts[0]]
        for number, text in enumerate(self.texts[1:], 1):
            pieces.append(f"${number}")
            pieces.append(text)
        return "".join(pieces), list(self.args)


@lru_cache(maxsize=2_048)
def _holes(template: LiteralString) -> tuple[str, ...]:
    return tuple(template.split("{}"))


def sql(template: LiteralString, *args: object) -> Fragment:
    """The fragment of a literal text whose `{}` are fragments or arguments, in order.

    Raises ValueError when their numbers differ.
    """
    holes = _holes(template)
    if len(holes) != len(args) + 1:
        raise ValueError(f"{len(args)} arguments for {len(holes) - 1} places in: {template}")
    texts = [holes[0]]
    values: list[object] = []
    for arg, text in zip(args, holes[1:], strict=True):
        if isinstance(arg, Fragment):
            texts[-1] += arg.texts[0]
            texts.extend(arg.texts[1:])
            texts[-1] += text
            values.extend(arg.args)
        else:
            texts.append(text)
            values.append(arg)
    return Fragment(tuple(texts), tuple(values))


EMPTY: Final = Fragment(("",))
TRUE: Final = sql("true")
FALSE: Final = sql("false")


def join(separator: LiteralString, fragments: Iterable[Fragment]) -> Fragment:
    """The fragments with the literal separator between them; nothing gives the empty text."""
    texts = [""]
    values: list[object] = []
    for index, fragment in enumerate(fragments):
        texts[-1] += (separator if index else "") + fragment.texts[0]
        texts.extend(fragment.texts[1:])
        values.extend(fragment.args)
    return Fragment(tuple(texts), tuple(values))


def and_(*fragments: Fragment) -> Fragment:
    """All of them; none gives `true`, and `true` is left out."""
    parts = [fragment for fragment in fragments if fragment != TRUE]
    if any(part == FALSE for part in parts):
        return FALSE
    if len(parts) < 2:
        return parts[0] if parts else TRUE
    return join(" AND ", parts)


def or_(*fragments: Fragment) -> Fragment:
    """Any of them, in parentheses; none gives `false`."""
    parts = [fragment for fragment in fragments if fragment != FALSE]
    if any(part == TRUE for part in parts):
        return TRUE
    if len(parts) < 2:
        return parts[0] if parts else FALSE
    return sql("({})", join(" OR ", (sql("({})", part) for part in parts)))


def not_(fragment: Fragment) -> Fragment:
    """The rows for which it is not true."""
    return sql("NOT ({})", fragment)


@cache
def table(resource_type: str) -> Fragment:
    """The partition that holds a type's versions. Raises KeyError for anything but an R4 type."""
    if resource_type not in ENDPOINT_TYPES:
        raise KeyError(resource_type)
    return Fragment((partition(resource_type),))


@cache
def text_literal(resource_type: str) -> Fragment:
    """A type's name as an SQL string. Raises KeyError for anything but an R4 type."""
    if resource_type not in ENDPOINT_TYPES:
        raise KeyError(resource_type)
    return Fragment((f"'{resource_type}'::text",))
