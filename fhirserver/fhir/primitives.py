"""The lexical spaces of the primitive types: https://hl7.org/fhir/R4/datatypes.html#primitive

Each is written once, as a Rust and Python expression and as a range, and used twice: by the schemas of the
fast path and by the walker that names each defect.
"""

from __future__ import annotations

import binascii
import operator
import re
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, Final

TEXT_MAX: Final = 1024 * 1024
ELEMENT_ID: Final = "Element.id"
"""Name of the lexical space of element ids: https://hl7.org/fhir/R4/element.html#Element"""
_INTEGER_MAX: Final = 2**31 - 1
_DECIMAL_MAX: Final = 10**400

# No year 0000, and 29 February in leap years only, so that every date that passes is a day of the calendar.
_YEAR: Final = "(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
_LEAP: Final = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_DAY: Final = (
    f"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    f"|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP}-02-29)"
)
_TIME: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
_ZONE: Final = "(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_MONTH: Final = f"{_YEAR}(?:-(?:0[1-9]|1[0-2]))?"
_ID: Final = r"[A-Za-z0-9\-.]{1,64}"
_HEX: Final = "[0-9a-f]"
_XML_SPACE: Final = re.compile(r"[ \t\r\n]+")
_WHOLE: Final = "wholeLiteral"


@dataclass(frozen=True, slots=True)
class Text:
    """A primitive written as a JSON string.

    `full` is its whole lexical space (None for base64, which a library knows); `plain`, for the fast path, is
    the part that is common and quickly recognised, and never more than `full`.
    """

    full: re.Pattern[str] | None
    plain: str
    meaning: str
    length_max: int | None = None


@dataclass(frozen=True, slots=True)
class Number:
    """A primitive written as a JSON number, between `low` and `high`, both included."""

    low: int
    high: int
    whole: bool
    meaning: str


def _text(full: str, meaning: str, *, plain: str | None = None, length_max: int | None = None) -> Text:
    return Text(re.compile(full), plain or full, meaning, length_max)


_PROSE: Final = _text(
    r"[^\x00-\x08\x0b\x0c\x0e-\x1f]+", "text without control characters, not empty", length_max=TEXT_MAX
)
_URI: Final = _text(r"[^\s\x00-\x20]+", "a URI without spaces, for example http://loinc.org", plain="[!-~]+")

TEXTS: Final[dict[str, Text]] = {
    "string": _PROSE,
    "markdown": _PROSE,
    "code": _text(
        r"[^\s\x00-\x20]+(?: [^\s\x00-\x20]+)*",
        "a code without spaces at its ends, for example final",
        plain="[!-~]+(?: [!-~]+)*",
    ),
    "uri": _URI,
    "url": _URI,
    "canonical": _URI,
    "oid": _text(r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+", "an OID, for example urn:oid:1.2.3.4"),
    "uuid": _text(
        f"urn:uuid:{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}",
        "a UUID in lower case, for example urn:uuid:c757873d-ec9a-4326-a141-556f43239520",
    ),
    "id": _text(_ID, "1 to 64 letters, digits, '-' and '.'"),
    "date": _text(f"{_MONTH}|{_DAY}", "a date, for example 2018, 1973-06 or 1905-08-23"),
    "dateTime": _text(
        f"{_MONTH}|{_DAY}(?:T{_TIME}{_ZONE})?",
        "a date, or a date with time and zone, for example 2018-05 or 2015-02-07T13:28:17-05:00",
    ),
    "instant": _text(
        f"{_DAY}T{_TIME}{_ZONE}", "a time to the second with zone, for example 2015-02-07T13:28:17.239+02:00"
    ),
    "time": _text(_TIME, "a time of day with seconds, for example 14:35:00"),
    "base64Binary": Text(
        None,
        "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?",
        "base64, for example AQID",
    ),
    "xhtml": _text(r"(?s:.+)", "XHTML in one div"),
    ELEMENT_ID: _text(
        r"[^\s\x00-\x20]+", "a text without spaces, for example a1", plain="[!-~]+", length_max=TEXT_MAX
    ),
}
NUMBERS: Final[dict[str, Number]] = {
    "integer": Number(
        -_INTEGER_MAX - 1, _INTEGER_MAX, True, "a whole number of 32 bits without a fraction or an exponent"
    ),
    "unsignedInt": Number(0, _INTEGER_MAX, True, f"a whole number from 0 to {_INTEGER_MAX}"),
    "positiveInt": Number(1, _INTEGER_MAX, True, f"a whole number from 1 to {_INTEGER_MAX}"),
    "decimal": Number(-_DECIMAL_MAX, _DECIMAL_MAX, False, "a number below 1e400"),
}


def lexical_space(type_name: str, *, attr: bool) -> str:
    """Which of the lexical spaces here an element of a primitive type has; `attr` as in its definition.

    An attribute of type string is an element's id, which is narrower than a string.
    """
    return ELEMENT_ID if attr and type_name == "string" else type_name


def fault(type_name: str, value: Any) -> str | None:
    """What is wrong with a primitive's JSON value and what would be right; None when nothing is."""
    text = TEXTS.get(type_name)
    if text is not None:
        return _text_fault(text, type_name, value)
    if type_name == "boolean":
        return None if value is True or value is False else f"{show(value)} is not true or false, unquoted"
    number = NUMBERS[type_name]
    if _is_written_as(number, value) and number.low <= value <= number.high:
        return None
    hint = ", unquoted" if isinstance(value, str) else ""
    return f"{show(value)} is not of type {type_name}: {number.meaning}{hint}"


def _is_written_as(number: Number, value: Any) -> bool:
    """Whether JSON has the value as a number, for whole ones without fraction and exponent.

    Reading gives a Decimal for each literal with one of the two, also when its value is whole.
    """
    return type(value) is int or (type(value) is Decimal and not number.whole)


def _text_fault(text: Text, type_name: str, value: Any) -> str | None:
    if not isinstance(value, str):
        return f"{show(value)} is not a JSON string, as type {type_name} needs: {text.meaning}"
    if not value:
        return f"a value of type {type_name} is never empty; leave the element out"
    matches = text.full.fullmatch(value) is not None if text.full else _is_base64(value)
    if not matches:
        return f"{show(value)} is not of type {type_name}: {text.meaning}"
    if text.length_max is not None and len(value) > text.length_max:
        return f"a value of type {type_name} has at most {text.length_max} characters, this one {len(value)}"
    return None


def _is_base64(value: str) -> bool:
    """Whether the text is base64 (RFC 4648), with white space at most around its groups of four.

    https://hl7.org/fhir/R4/datatypes.html#base64Binary
    """
    lines = _XML_SPACE.split(value)
    if any(len(line) % 4 for line in lines):
        return False
    try:
        return bool(binascii.a2b_base64("".join(lines), strict_mode=True))
    except ValueError:
        return False


def show(value: Any) -> str:
    """A value for a message, quoted when text, shortened when long."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = str(value)
    short = text if len(text) <= 60 else text[:59] + "…"
    return f"'{short}'" if isinstance(value, str) else short


@cache
def json_schema(type_name: str) -> dict[str, Any]:
    """The schema of a primitive's JSON value on the fast path (accepts no more than `fault` does)."""
    text = TEXTS.get(type_name)
    if text is not None:
        limits = {"maxLength": text.length_max} if text.length_max else {"minLength": 1}
        return {"type": "string", "pattern": f"^(?:{text.plain})$", **limits}
    if type_name == "boolean":
        return {"type": "boolean"}
    number = NUMBERS[type_name]
    high = number.high if number.whole else 10**15
    low = number.low if number.whole else -high
    limits = {"minimum": low, "maximum": high}
    return {"type": "integer", _WHOLE: True, **limits} if number.whole else {"type": "number", **limits}


class _WholeLiteral:
    """The keyword that refuses 1e0, a Decimal, where `integer`, which goes by the value, takes it."""

    def __init__(self, parent_schema: dict[str, Any], value: Any, schema_path: list[str | int]) -> None:
        pass

    # not written in Python, for the sake of speed; raises TypeError for what is no int
    validate = staticmethod(operator.index)


KEYWORDS: Final[dict[str, type[Any]]] = {_WHOLE: _WholeLiteral}
"""The keywords of `json_schema` beyond those of Draft 4."""


def reference_pattern(targets: tuple[str, ...]) -> str:
    """The plain forms of Reference.reference that point at one of the resource types."""
    types = "|".join(targets)
    return f"^(?:urn:uuid:[0-9a-fA-F-]+|(?:https?://[!-~]+/)?(?:{types})/{_ID})$"
