"""The syntax tree of FHIRPath (N1). Nodes are values: equal text gives equal trees.

`at` is where a node's own token stands in the text, in characters from 0; it takes no part in equality.

http://hl7.org/fhirpath/N1/grammar.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal


class FHIRPathError(ValueError):
    """The expression cannot be read, is wrong for the type, or does not fit the data.

    `position` counts characters from 0 where it is known.
    """

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message if position is None else f"{message} (at character {position + 1})")
        self.position = position


class TooCostly(FHIRPathError):
    """The evaluation takes more steps, time or room than it may: see `environment.Limits`."""


@dataclass(frozen=True, slots=True)
class Empty:
    """`{}`"""


@dataclass(frozen=True, slots=True)
class Literal:
    """A value with its System type: Boolean, String, Integer, Decimal, Date, DateTime or Time.

    Dates and times keep their text (without `@` and, for Time, without `T`).
    """

    value: bool | str | int | Decimal
    type: str
    at: int = field(default=0, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class QuantityLiteral:
    """`4.5 'mg'` or `3 days`; a calendar unit has `calendar` set and is in the singular."""

    value: Decimal
    unit: str
    calendar: bool
    at: int = field(default=0, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Special:
    """`$this`, `$index` or `$total`, without the dollar sign."""

    name: str
    at: int = field(default=0, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Variable:
    """`%name`, an external constant."""

    name: str
    at: int = field(default=0, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Member:
    """`source.name`; without source the name starts an expression and may be that of a type."""

    source: Expr | None
    name: str
    at: int = field(default=0, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Call:
    """`source.name(arguments)`"""

    source: Expr | None
    name: str
    arguments: tuple[Expr, ...]
    at: int = field(default=0, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Index:
    """`source[index]`"""

    source: Expr
    index: Expr
    at: int = field(default=0, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Unary:
    """`+operand` or `-operand`"""

    operator: str
    operand: Expr
    at: int = field(default=0, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Binary:
    """`left operator right`, for every operator but `is` and `as`."""

    operator: str
    left: Expr
    right: Expr
    at: int = field(default=0, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class TypeTest:
    """`operand is type` or `operand as type`; the type as written, such as `FHIR.Patient`."""

    operator: str
    operand: Expr
    type: str
    at: int = field(default=0, compare=False, repr=False, kw_only=True)


Expr = (
    Empty | Literal | QuantityLiteral | Special | Variable | Member | Call | Index | Unary | Binary | TypeTest
)


def weight(tree: Expr) -> int:
    """How many nodes a tree has: what evaluating it costs."""
    count, todo = 0, [tree]
    while todo:
        node = todo.pop()
        count += 1
        match node:
            case Member(source) if source is not None:
                todo.append(source)
            case Call(source, _, arguments):
                todo.extend(arguments if source is None else (source, *arguments))
            case Index(source, index):
                todo += (source, index)
            case Unary(_, operand) | TypeTest(_, operand):
                todo.append(operand)
            case Binary(_, left, right):
                todo += (left, right)
            case _:
                pass
    return count
