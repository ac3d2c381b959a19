"""Exact JSON: numbers keep the value and the precision they were written with, and nothing is lost unseen.

A resource is plain dict, list, str, bool, int and Decimal, never float (precision is significant:
https://hl7.org/fhir/R4/datatypes.html#decimal). Reading is strict where the JSON grammar is silent and the
outcome would depend on the reader: repeated keys, U+0000 (PostgreSQL keeps none), lone surrogates, NaN,
literals whose expansion exhausts memory, and nesting that exhausts the stack.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

import msgspec

from fhirserver import errors

DEPTH_MAX: Final = 64
DIGITS_MAX: Final = 400
"""Digits of a number when written out: the range of a double (1e±308) with room for its own digits."""
LITERAL_MAX: Final = DIGITS_MAX + 10
"""Characters of a number as written, so that one written out can be read again."""
_ISSUES_MAX: Final = 20
_BOM: Final = b"\xef\xbb\xbf"
_NUL: Final = re.compile(rb"\\u0000")
_COLON: Final = re.compile(rb"\\u003[aA]")
# A compiled literal is found two to three times as fast as by `in`.
_SMALL: Final = re.compile(rb"E-")
_SIGNS: Final = tuple(re.compile(sign).search for sign in (rb"E\+", rb":-0", rb"\[-0", rb",-0"))
_UNPRINTABLE: Final = re.compile("[\x00\ud800-\udfff]")
# A number stands behind a structural byte or white space and ends before one; in a minified document a
# string can hold the same bytes, which costs the store a copy of the text and nothing else.
_PRINTED_OTHERWISE: Final = re.compile(
    rb"(?:^|[:\[,\s])(?:-?[0-9]+(?:\.[0-9]+)?[eE][+-]?[0-9]+|-0(?:\.0+)?)(?=[,\]}\s]|$)"
)


class _Refused(ValueError):
    """A literal that the fast reader does not take; the second reading says where it stands."""


def _number(literal: str) -> Decimal:
    """The Decimal of a literal with a fraction or an exponent, bounded to DIGITS_MAX digits when expanded."""
    if len(literal) > DIGITS_MAX or "e" in literal or "E" in literal:
        fault = _number_fault(literal)
        if fault:
            raise _Refused(fault)
    return Decimal(literal)


def _number_fault(literal: str) -> str | None:
    """Why a number literal is out of bounds, or None."""
    mantissa, _, exponent = literal.lower().partition("e")
    if len(mantissa) > LITERAL_MAX or len(exponent) > 5:
        return f"the number {literal[:24]}… is longer than {LITERAL_MAX} characters"
    parts = Decimal(literal).as_tuple()
    places = parts.exponent if isinstance(parts.exponent, int) else 0
    if max(places, 0) + len(parts.digits) > DIGITS_MAX or -places > DIGITS_MAX:
        return f"the number {literal[:24]} would need more than {DIGITS_MAX} digits when written out"
    return None


_decoder: Final = msgspec.json.Decoder(float_hook=_number)
_encoder: Final = msgspec.json.Encoder(decimal_format="number")


def loads(data: bytes, *, depth_max: int = DEPTH_MAX) -> Any:
    """The value of a JSON text in UTF-8 (a byte order mark is skipped).

    Raises errors.Structure with line and column of a syntax error, or with the path of each repeated key,
    U+0000, lone surrogate, over-long number and of the first value deeper than `depth_max`.
    """
    if data.startswith(_BOM):
        data = data[3:]
    try:
        value = _decoder.decode(data)
    except (ValueError, RecursionError) as error:  # DecodeError and UnicodeDecodeError are ValueErrors
        raise _explained(data, depth_max, _reason(data, error)) from None
    if _suspicious(data, value) or _too_deep(data, value, depth_max):
        found = _defects_of(data, depth_max)
        if found:
            raise errors.Structure(issues=found)
    return value


def dumps(value: Any, *, pretty: bool = False) -> bytes:
    """JSON text in UTF-8 of what `loads` gives; each Decimal with its value and its precision.

    Small numbers are written out (0.00000001 rather than 1E-8); a positive exponent stays, for expanding it
    would claim digits that nobody measured.
    """
    text = _encoder.encode(value)
    if _SMALL.search(text):
        text = _encoder.encode(_written_out(value))
    return msgspec.json.format(text, indent=2) if pretty else text


def has_exponent(data: bytes) -> bool:
    """Whether a text that `dumps` wrote holds a number that PostgreSQL's jsonb prints otherwise.

    True for exponents and for negative zero, never False for a text that has one. A text without them comes
    back from jsonb with every digit and needs no copy beside the row.
    """
    power, member, first, later = _SIGNS
    if power(data) or member(data) or first(data) or later(data) or data.startswith(b"-0"):
        return _PRINTED_OTHERWISE.search(data) is not None
    return False


def too_deep(value: Any, depth_max: int) -> bool:
    """Whether objects and arrays nest deeper than `depth_max`."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(depth_max):
        level = [
            child
            for parent in level
            for child in (parent.values() if type(parent) is dict else parent)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return bool(level)


def _suspicious(data: bytes, value: Any) -> bool:
    """Whether a key may be repeated or a string may hold U+0000 (no false negatives).

    A repeated key drops out of the decoded value, and a colon with it: equal text, or as many colons in the
    text as in the value written again, means none was. An escaped colon would upset the count.
    """
    if b"\\" in data and (_NUL.search(data) or _COLON.search(data)):
        return True
    again = _encoder.encode(value)
    return again != data and again.count(b":") != data.count(b":")


def _too_deep(data: bytes, value: Any, depth_max: int) -> bool:
    """The same for a value just read: few brackets in its text need no closer look."""
    return data.count(b"{") + data.count(b"[") > depth_max and too_deep(value, depth_max)


def _written_out(value: Any) -> Any:
    """A copy in which each Decimal that would be written with a negative exponent is written out."""
    if isinstance(value, dict):
        return {key: _written_out(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_written_out(item) for item in value]
    if isinstance(value, Decimal) and "E-" in str(value):
        return msgspec.Raw(format(value, "f").encode())
    return value


class _Object(dict[str, Any]):
    """An object of the second reading, with the keys that came twice."""

    repeated: tuple[str, ...] = ()


class _Literal(str):
    """A number of the second reading that is refused; the text says why."""


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    found = _Object(pairs)
    if len(found) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        found.repeated = tuple(key for key in found if counts[key] > 1)
    return found


def _literal(text: str) -> _Literal | None:
    fault = _number_fault(text)
    return _Literal(fault) if fault else None


def _constant(text: str) -> _Literal:
    return _Literal(f"{text} is not a JSON number")


def _explained(data: bytes, depth_max: int, reason: str) -> errors.Structure:
    """The error for a text that the first reader refused, from a second reading that knows positions."""
    try:
        found = _defects_of(data, depth_max)
    except UnicodeDecodeError as wrong:
        return errors.Structure(
            f"the body is not valid UTF-8 at {_position(data, wrong.start)}: {wrong.reason}"
        )
    except json.JSONDecodeError as wrong:
        where = f"line {wrong.lineno}, column {wrong.colno}"
        return errors.Structure(f"the body is not valid JSON at {where}: {wrong.msg}")
    except RecursionError:
        return errors.Structure(f"the body nests deeper than {depth_max} levels")
    return errors.Structure(f"the body is not valid JSON: {reason}", issues=found)


def _defects_of(data: bytes, depth_max: int) -> list[errors.Issue]:
    """The first defects of a text by the slower reader; empty when a suspicion was unfounded."""
    value = json.loads(
        data.decode("utf-8"),
        object_pairs_hook=_object,
        parse_float=_literal,
        parse_int=_integer,
        parse_constant=_constant,
    )
    return list(itertools.islice(_defects(value, depth_max), _ISSUES_MAX))


def _integer(text: str) -> _Literal | None:
    return _literal(text) if len(text) > LITERAL_MAX else None


def _defects(value: Any, depth_max: int) -> Iterator[errors.Issue]:
    """What the grammar allows and this server refuses, in the order of the document."""
    kind = value.get("resourceType") if isinstance(value, dict) else None
    todo: list[tuple[str, int, Any]] = [(kind if isinstance(kind, str) and kind.isalpha() else "", 1, value)]
    while todo:
        path, depth, item = todo.pop()
        if isinstance(item, _Literal):
            yield errors.Issue("error", "value", str(item), path or None)
        elif isinstance(item, str):
            yield from _text_defects(item, path)
        elif isinstance(item, (dict, list)):
            if depth > depth_max:
                yield errors.Issue(
                    "error", "structure", f"nested deeper than {depth_max} levels", path or None
                )
                continue
            if isinstance(item, _Object):
                yield from _object_defects(item, path)
            children = item.items() if isinstance(item, dict) else enumerate(item)
            todo.extend(reversed([(_step(path, key), depth + 1, child) for key, child in children]))


def _object_defects(item: _Object, path: str) -> Iterator[errors.Issue]:
    for key in item.repeated:
        text = f"the property '{key[:64]}' is given more than once in one object"
        yield errors.Issue("error", "structure", text, _step(path, key))
    for key in item:
        yield from _text_defects(key, path)


def _text_defects(text: str, path: str) -> Iterator[errors.Issue]:
    found = _UNPRINTABLE.search(text)
    if found:
        what = "the character U+0000" if found[0] == "\0" else "half a surrogate pair"
        yield errors.Issue("error", "value", f"a string holds {what}, which no text can carry", path or None)


def _step(path: str, key: str | int) -> str:
    if isinstance(key, int):
        return f"{path}[{key}]"
    key = key.encode("utf-8", "replace").decode()
    return f"{path}.{key}" if path else key


def _reason(data: bytes, error: Exception) -> str:
    """The first reader's message with its byte offset as line and column."""
    message = str(error)
    found = re.search(r"\(byte (\d+)\)$", message)
    return f"{message[: found.start()]}at {_position(data, int(found[1]))}" if found else message


def _position(data: bytes, offset: int) -> str:
    line = data.count(b"\n", 0, offset) + 1
    column = offset - data.rfind(b"\n", 0, offset)
    return f"line {line}, column {column}"
