"""The syntax tree of FHIRPath (N1). Nodes are values: equal text gives equal trees.

http://hl7.org/fhirpath/N1/grammar.html
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


class FHIRPathError(ValueError):
    """The expression cannot be read, is wrong for the type, or uses what is not supported.

    `position` counts characters from 0 where it is known.
    """

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message if position is None else f"{message} (at character {position + 1})")
        self.position = position


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


@dataclass(frozen=True, slots=True)
class QuantityLiteral:
    """`4.5 'mg'` or `3 days`; a calendar unit has `calendar` set and is in the singular."""

    value: Decimal
    unit: str
    calendar: bool


@dataclass(frozen=True, slots=True)
class Special:
    """`$this`, `$index` or `$total`, without the dollar sign."""

    name: str


@dataclass(frozen=True, slots=True)
class Variable:
    """`%name`, an external constant."""

    name: str


@dataclass(frozen=True, slots=True)
class Member:
    """`source.name`; without source the name starts an expression and may be that of a type."""

    source: Expr | None
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """`source.name(arguments)`"""

    source: Expr | None
    name: str
    arguments: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """`source[index]`"""

    source: Expr
    index: Expr


@dataclass(frozen=True, slots=True)
class Unary:
    """`+operand` or `-operand`"""

    operator: str
    operand: Expr


@dataclass(frozen=True, slots=True)
class Binary:
    """`left operator right`, for every operator but `is` and `as`."""

    operator: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class TypeTest:
    """`operand is type` or `operand as type`; the type as written, such as `FHIR.Patient`."""

    operator: str
    operand: Expr
    type: str


Expr = (
    Empty | Literal | QuantityLiteral | Special | Variable | Member | Call | Index | Unary | Binary | TypeTest
)
