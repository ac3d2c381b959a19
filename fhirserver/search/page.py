"""Page links: signed places in the order of a search's results, and the URLs that carry them.

https://hl7.org/fhir/R4/http.html#paging

A cursor holds the snapshot of the first page, the sort keys' values and the `rid` of the row to go on
from, or none for the beginning; nothing is kept on the server. Its signature covers the search and the
caller as well, so it works for both alone.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import quote

import msgspec

from fhirserver.errors import Gone, Invalid
from fhirserver.search.parse import CURSOR

_VERSION: Final = 2
_TAG_BYTES: Final = 16
_TEXT_LENGTH_MAX: Final = 8_192
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a result; without `rid` its beginning. `snapshot` is None for the state of an instant.

    `issued` is the instant of the first page in microseconds, `kept_s` how long index rows outlived their
    versions then. `values` are None, int, str, Decimal or datetime. `reverse`: what comes before the place is
    wanted. `total` is the number of matches that the first page gave, if it gave one.
    """

    snapshot: str | None
    issued: int
    kept_s: int
    values: tuple[object, ...] = ()
    rid: int | None = None
    reverse: bool = False
    total: int | None = None


def binding(
    resource_type: str | None, applied: Sequence[tuple[str, str]], principal: str, path: str = ""
) -> bytes:
    """What a cursor belongs to: a search, as it was applied, and a caller. `path` names a compartment."""
    parts = [principal, path, resource_type or "", *(text for pair in applied for text in pair)]
    return b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)


def encode(cursor: Cursor, secret: bytes, bound_to: bytes) -> str:
    """The cursor as text for a URL."""
    fields = [
        _VERSION,
        cursor.snapshot,
        cursor.issued,
        cursor.kept_s,
        [_plain(value) for value in cursor.values],
        cursor.rid,
        cursor.reverse,
        cursor.total,
    ]
    payload = msgspec.json.encode(fields)
    return urlsafe_b64encode(_tag(payload, secret, bound_to) + payload).rstrip(b"=").decode()


def decode(text: str, secret: bytes, bound_to: bytes, now: int, kept_s: int) -> Cursor:
    """The cursor in a page link. `now` is in microseconds; `kept_s` is how long index rows outlive versions.

    Raises Invalid when it is malformed, changed, or of another search or caller, and Gone when index rows
    that its snapshot needs may have been removed.
    """
    if len(text) > _TEXT_LENGTH_MAX or not text.isascii():
        raise Invalid("the page link is malformed")
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise Invalid("the page link is malformed") from None
    tag, payload = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
    if not hmac.compare_digest(tag, _tag(payload, secret, bound_to)):
        raise Invalid("the page link was changed, or belongs to another search, caller or purpose of use")
    version, *fields = msgspec.json.decode(payload)
    if version != _VERSION:
        raise Gone("the page link is of an earlier version of this server; search again")
    snapshot, issued, kept_then_s, values, rid, reverse, total = fields
    lasts_s = min(kept_s, kept_then_s)
    if now - issued > lasts_s * 1_000_000:
        raise Gone(f"the page link has expired after {lasts_s} s; search again")
    return Cursor(
        snapshot, issued, kept_then_s, tuple(_value(value) for value in values), rid, reverse, total
    )


def _tag(payload: bytes, secret: bytes, bound_to: bytes) -> bytes:
    """A keyed hash over both, each at a fixed place, so that neither can run into the other."""
    digest = blake2b(
        key=blake2b(secret, digest_size=32, person=b"page-link").digest(), digest_size=_TAG_BYTES
    )
    digest.update(len(bound_to).to_bytes(8, "big") + bound_to + payload)
    return digest.digest()


def _plain(value: object) -> object:
    match value:
        case None | int() | str():
            return value
        case Decimal():
            return {"n": str(value)}
        case datetime():
            gap = value - _EPOCH
            return {"t": (gap.days * 86_400 + gap.seconds) * 1_000_000 + gap.microseconds}
        case _:
            raise TypeError(f"a sort key of type {type(value).__name__} has no place in a page link")


def _value(plain: Any) -> object:
    match plain:
        case {"n": str(number)}:
            return Decimal(number)
        case {"t": int(micros)}:
            return _EPOCH + timedelta(microseconds=micros)
        case _:
            return plain


# -- links


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of a page, cut to its size, and where the pages around it begin; all None for a single one."""

    rows: Sequence[Any]
    first: Cursor | None = None
    next: Cursor | None = None
    previous: Cursor | None = None


def cut(rows: Sequence[Any], count: int, keys: int, at: Cursor) -> Page:
    """A page from the rows that the statement gave, which are one more if there is more.

    Rows have `rid` and the sort keys `k0` to `k<keys - 1>`. `at` is the cursor that led here, or the
    beginning of the result set.
    """
    more = len(rows) > count
    kept = (rows[1:] if at.reverse else rows[:count]) if more else rows
    begins = at.rid is None
    if begins and not more:
        return Page(kept)
    first = replace(at, values=(), rid=None, reverse=False)
    if not kept:
        return Page(kept, first)

    def place(row: Any, reverse: bool) -> Cursor:
        values = tuple(row[f"k{index}"] for index in range(keys))
        return replace(at, values=values, rid=row["rid"], reverse=reverse)

    has_next = more or at.reverse
    has_previous = more if at.reverse else not begins
    return Page(
        kept,
        first,
        place(kept[-1], False) if has_next else None,
        place(kept[0], True) if has_previous else None,
    )


def link(base: str, path: str, applied: Sequence[tuple[str, str]], cursor: str | None = None) -> str:
    """The URL of a search as it was applied, at a place if there is one."""
    params = [*applied, *([(CURSOR, cursor)] if cursor is not None else [])]
    query = "&".join(
        f"{quote(name, safe=_NAME_SAFE)}={quote(value, safe=_VALUE_SAFE)}" for name, value in params
    )
    url = f"{base}/{path}" if path else base
    return f"{url}?{query}" if query else url


_NAME_SAFE: Final = ":.-_"
_VALUE_SAFE: Final = ":/.,$-_*@"
"""Characters that need no escape in a query and are easier to read without one."""
