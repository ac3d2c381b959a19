"""What was probably meant by a search value that is none: the end of an error message.

Each function gives "; did you mean ...?" with spellings that would be read, or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC
from typing import Final

from fhirserver.fhir import dates
from fhirserver.fhir.reference import is_id
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.fhir.suggest import nearest
from fhirserver.params.text import PREFIXES

_SIGNS: Final = {">=": "ge", "<=": "le", "!=": "ne", "<>": "ne", ">": "gt", "<": "lt", "=": "", "~": "ap"}
_YEAR_FIRST: Final = re.compile(r"(\d{4})[-/.]?(\d\d?)[-/.]?(\d\d?)")
_YEAR_LAST: Final = re.compile(r"(\d\d?)[-/.](\d\d?)[-/.](\d{4})")
_DAY_AND_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[ T](\d\d)(?::?(\d\d))?(:\d\d(?:\.\d+)?)?(Z|[ +-]\d\d:?\d\d)?"
)
_NUMBER: Final = re.compile(r"[+-]?\d+(?:[.,]\d+)?", re.ASCII)
_MEASURED: Final = re.compile(r"(\D{0,2}[+-]?\d+(?:\.\d+)?)[ |]?((?:[^\W\d_]|[%\[{])[^\s|]*)")
_TYPED: Final = re.compile(r"([A-Za-z]+)[:|/ ]([A-Za-z0-9.\-]{1,64})")


def did_you_mean(spellings: Iterable[str]) -> str:
    """The question, of two spellings at most."""
    found = list(dict.fromkeys(spellings))[:2]
    return f"; did you mean {' or '.join(found)}?" if found else ""


def of_date(text: str) -> str:
    """Of what is no date: other orders and separators, signs for prefixes, a blank for the T."""
    prefix, rest = _prefixed(text)
    return did_you_mean(f"{prefix}{one}" for one in _dates(rest) if _is_date(one))


def _prefixed(text: str) -> tuple[str, str]:
    """The prefix that was meant, and what comes after it."""
    for sign, prefix in _SIGNS.items():
        if text.startswith(sign):
            return prefix, text.removeprefix(sign).strip()
    if text[:2].lower() in PREFIXES:
        return text[:2].lower(), text[2:].strip(" :")
    return "", text.strip()


def _dates(text: str) -> Iterator[str]:
    yield text
    if found := _YEAR_FIRST.fullmatch(text):
        yield "-".join([found[1], found[2].zfill(2), found[3].zfill(2)])
    if found := _YEAR_LAST.fullmatch(text):
        one, other = found[1].zfill(2), found[2].zfill(2)
        yield f"{found[3]}-{one}-{other}"
        yield f"{found[3]}-{other}-{one}"
    if found := _DAY_AND_TIME.fullmatch(text):
        day, hour, minute, second, zone = found.groups()
        if zone and zone != "Z":
            zone = f"{zone[0].replace(' ', '+')}{zone[1:3]}:{zone[-2:]}"
        yield f"{day}T{hour}:{minute or '00'}{second or ''}{zone or ''}"


def _is_date(text: str) -> bool:
    try:
        dates.bounds(text, UTC)
    except ValueError:
        return False
    return True


def of_number(text: str) -> str:
    """Of what is no number: signs for prefixes, a decimal comma."""
    prefix, rest = _prefixed(text)
    return did_you_mean([f"{prefix}{rest.replace(',', '.')}"] if _NUMBER.fullmatch(rest) else [])


def of_quantity(text: str, is_number: Callable[[str], bool]) -> str:
    """Of what is no quantity: a unit without the bars in front of it."""
    found = _MEASURED.fullmatch(text)
    if found is None:
        return of_number(text)
    value = "".join(_prefixed(found[1]))
    return did_you_mean([f"{value}||{found[2]}"] if is_number(value) else [])


def of_reference(text: str) -> str | None:
    """Of what begins like a type and ends like an id; None for anything else, which may be a URL."""
    found = _TYPED.fullmatch(text)
    if found is None or not is_id(found[2]):
        return "" if text.rstrip("/") in ENDPOINT_TYPES else None
    if found[1] in ENDPOINT_TYPES:
        return did_you_mean([f"{found[1]}/{found[2]}"])
    types = nearest(found[1], ENDPOINT_TYPES, 1)
    return did_you_mean(f"{type_}/{found[2]}" for type_ in types) if types or "/" in text else None


def of_token(text: str) -> str:
    """Of too many bars: one of them is part of a value."""
    head, _, tail = text.partition("|")
    if "|" not in tail:
        return ""
    escaped = tail.replace("|", "\\|")
    return did_you_mean([f"{head}|{escaped}"])


def prefixes() -> str:
    """The comparisons, for messages."""
    return ", ".join(sorted(PREFIXES))
