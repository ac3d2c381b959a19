"""Recursive descent over the full FHIRPath grammar, by operator precedence.

http://hl7.org/fhirpath/N1/grammar.html, http://hl7.org/fhirpath/N1/#operator-precedence
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Final

from fhirserver.fhir.fhirpath.lexer import Token, tokens
from fhirserver.fhir.fhirpath.tree import (
    Binary,
    Call,
    Empty,
    Expr,
    FHIRPathError,
    Index,
    Literal,
    Member,
    QuantityLiteral,
    Special,
    TypeTest,
    Unary,
    Variable,
)

DEPTH_MAX: Final = 64

_STRENGTH: Final = {
    "*": 11, "/": 11, "div": 11, "mod": 11,
    "+": 10, "-": 10, "&": 10,
    "is": 9, "as": 9,
    "|": 8,
    "<=": 7, "<": 7, ">": 7, ">=": 7,
    "=": 6, "~": 6, "!=": 6, "!~": 6,
    "in": 5, "contains": 5,
    "and": 4,
    "or": 3, "xor": 3,
    "implies": 2,
}  # fmt: skip
_NAMES_OF_OPERATORS: Final = frozenset({"as", "contains", "in", "is"})
"""Operators that the grammar lets stand as identifiers too. After a dot all are taken for one, as
`Patient.text.div` is in wide use."""
CALENDAR: Final = frozenset({"year", "month", "week", "day", "hour", "minute", "second", "millisecond"})
"""Units of calendar durations, in the singular: http://hl7.org/fhirpath/N1/#time-valued-quantities"""
_DIGITS_MAX: Final = 64
_DATED: Final = {"date": "Date", "datetime": "DateTime", "time": "Time"}


@lru_cache(maxsize=4_096)
def parse(expression: str) -> Expr:
    """The syntax tree of an expression, which is kept. Raises FHIRPathError."""
    return read(expression)


def read(expression: str) -> Expr:
    """The same for an expression of a request, which is not kept."""
    return _Parser(expression).whole()


class _Parser:
    __slots__ = ("_at", "_depth", "_tokens")

    def __init__(self, expression: str) -> None:
        self._tokens = tokens(expression)
        self._at = 0
        self._depth = 0

    def whole(self) -> Expr:
        found = self._expression(0)
        if self._peek.kind != "end":
            raise self._unexpected()
        return found

    @property
    def _peek(self) -> Token:
        return self._tokens[self._at]

    def _next(self) -> Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _is(self, symbol: str) -> bool:
        token = self._peek
        return token.kind == "symbol" and token.text == symbol

    def _accept(self, symbol: str) -> bool:
        if self._is(symbol):
            self._at += 1
            return True
        return False

    def _expect(self, symbol: str) -> None:
        if not self._accept(symbol):
            raise self._unexpected(f", '{symbol}' expected")

    def _unexpected(self, hint: str = "") -> FHIRPathError:
        token = self._peek
        text = "end of the expression" if token.kind == "end" else f"'{token.text}'"
        return FHIRPathError(f"unexpected {text}{hint}", token.position)

    def _expression(self, weakest: int) -> Expr:
        """An expression whose operators bind more strongly than `weakest`; all are left-associative."""
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise FHIRPathError(f"expressions nest to {DEPTH_MAX} levels", self._peek.position)
        left = self._polarity()
        while (strength := self._operator_strength()) > weakest:
            token = self._next()
            if token.text in ("is", "as"):
                left = TypeTest(token.text, left, self._type_name(), at=token.position)
            else:
                left = Binary(token.text, left, self._expression(strength), at=token.position)
        self._depth -= 1
        return left

    def _operator_strength(self) -> int:
        token = self._peek
        return _STRENGTH.get(token.text, 0) if token.kind in ("symbol", "name") else 0

    def _polarity(self) -> Expr:
        signs: list[Token] = []
        while self._is("+") or self._is("-"):
            if len(signs) == DEPTH_MAX:
                raise FHIRPathError(f"a term has at most {DEPTH_MAX} signs", self._peek.position)
            signs.append(self._next())
        found = self._postfix(self._term())
        for sign in reversed(signs):
            found = Unary(sign.text, found, at=sign.position)
        return found

    def _postfix(self, found: Expr) -> Expr:
        while True:
            if self._accept("."):
                found = self._invocation(found)
            elif self._accept("["):
                found = Index(found, self._expression(0), at=self._tokens[self._at - 1].position)
                self._expect("]")
            else:
                return found

    def _term(self) -> Expr:
        token = self._peek
        if token.kind in ("name", "delimited", "special"):
            return self._invocation(None)
        self._next()
        match token.kind:
            case "number":
                return self._number(token)
            case "string":
                return Literal(token.text, "String", at=token.position)
            case "date" | "datetime" | "time":
                return Literal(token.text, _DATED[token.kind], at=token.position)
            case "symbol" if token.text == "(":
                found = self._expression(0)
                self._expect(")")
                return found
            case "symbol" if token.text == "{":
                self._expect("}")
                return Empty()
            case "symbol" if token.text == "%":
                return self._variable()
            case _:
                self._at -= 1
                raise self._unexpected()

    def _variable(self) -> Expr:
        token = self._next()
        if token.kind not in ("name", "delimited", "string"):
            self._at -= 1
            raise self._unexpected(", a name expected after '%'")
        name = token.text
        # `%vs-name` and `%ext-name` are written without quotes in R4's own invariants.
        while token.kind == "name" and name in ("vs", "ext") and self._is("-"):
            self._next()
            name = f"{name}-{self._next().text}"
        return Variable(name, at=token.position - 1)

    def _number(self, number: Token) -> Expr:
        text, at = number.text, number.position
        if len(text) > _DIGITS_MAX:
            raise FHIRPathError(f"a number has at most {_DIGITS_MAX} digits", at)
        token = self._peek
        if token.kind == "string":
            self._next()
            return QuantityLiteral(Decimal(text), token.text, calendar=False, at=at)
        unit = token.text.removesuffix("s")
        if token.kind == "name" and unit in CALENDAR:
            self._next()
            return QuantityLiteral(Decimal(text), unit, calendar=True, at=at)
        if "." in text:
            return Literal(Decimal(text), "Decimal", at=at)
        return Literal(int(text), "Integer", at=at)

    def _invocation(self, source: Expr | None) -> Expr:
        token = self._next()
        if token.kind == "special":
            if source is not None:
                raise FHIRPathError(f"'${token.text}' cannot follow a '.'", token.position)
            return Special(token.text, at=token.position)
        is_operator = token.kind == "name" and token.text in _STRENGTH
        if is_operator and source is None and token.text not in _NAMES_OF_OPERATORS:
            raise FHIRPathError(f"unexpected '{token.text}'", token.position)
        if token.kind not in ("name", "delimited"):
            self._at -= 1
            raise self._unexpected(", a name expected")
        if self._accept("("):
            return Call(source, token.text, self._arguments(), at=token.position)
        if source is None and token.kind == "name" and token.text in ("true", "false"):
            return Literal(token.text == "true", "Boolean", at=token.position)
        return Member(source, token.text, at=token.position)

    def _arguments(self) -> tuple[Expr, ...]:
        if self._accept(")"):
            return ()
        found = [self._expression(0)]
        while self._accept(","):
            found.append(self._expression(0))
        self._expect(")")
        return tuple(found)

    def _type_name(self) -> str:
        """A type specifier: a name, perhaps qualified by `FHIR.` or `System.`"""
        parts = [self._identifier()]
        while self._accept("."):
            parts.append(self._identifier())
        return ".".join(parts)

    def _identifier(self) -> str:
        token = self._next()
        if token.kind not in ("name", "delimited"):
            self._at -= 1
            raise self._unexpected(", the name of a type expected")
        return token.text


def type_argument(argument: Expr) -> str:
    """The type that an argument of `is()`, `as()` or `ofType()` names. Raises FHIRPathError."""
    match argument:
        case Member(None, name):
            return name
        case Member(Member(None, namespace), name):
            return f"{namespace}.{name}"
        case _:
            raise FHIRPathError("the argument must be the name of a type")
