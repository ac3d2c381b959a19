"""Takes a file apart into requests. Bodies are slices of the file wherever possible.

A Bundle of type transaction or batch is posted as it is; other Bundles are taken apart
(https://hl7.org/fhir/R4/http.html#transaction); lines of NDJSON are grouped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from fhirserver.cli.loading import files, peek, xml
from fhirserver.cli.loading.files import Source

JSON: Final = "application/fhir+json"
XML: Final = "application/fhir+xml"
GROUP_ENTRIES_MAX: Final = 200
GROUP_BYTES_MAX: Final = 2 * 1024 * 1024
# Documents and messages are kept whole, as the signature on them needs it.
TAKEN_APART: Final = frozenset({"collection", "searchset", "history"})
_string: Final = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Piece:
    """One resource of a group: `label` names it to people, `url` is relative to the FHIR base."""

    label: str
    method: str
    url: str
    resource: bytes
    full_url: str | None = None

    def entry(self) -> bytes:
        """The Bundle.entry around the resource."""
        full_url = b'"fullUrl":' + _string(self.full_url) + b"," if self.full_url else b""
        return b"".join(
            (
                b"{", full_url, b'"resource":', self.resource,
                b',"request":{"method":', _string(self.method), b',"url":', _string(self.url), b"}}",
            )
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unit:
    """One request. `share` is its part of the file, from 0 to 1; `pieces` are what a group was made of."""

    source: Source
    method: str
    url: str
    body: bytes
    content_type: str
    share: float
    label: str | None = None
    pieces: tuple[Piece, ...] = ()
    as_batch: Callable[[], Unit] | None = None
    """The same as a batch, for when the transaction is refused; None if its entries belong together."""

    @property
    def file(self) -> Path:
        """The file it came from."""
        return self.source.path

    @property
    def repeatable(self) -> bool:
        """Whether sending it twice leaves the same as sending it once."""
        return self.method == "PUT" or (
            bool(self.pieces) and all(piece.method == "PUT" for piece in self.pieces)
        )


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line that is no resource; the others of its file are."""

    source: Source
    label: str
    text: str


def group(
    source: Source, pieces: Sequence[Piece], share: float, *, kind: str = "transaction", whole: bool = False
) -> Unit:
    """A Bundle of the pieces; `whole` if they refer to each other by fullUrl and must stay together."""
    body = b"".join(
        (
            b'{"resourceType":"Bundle","type":"', kind.encode(), b'","entry":[',
            b",".join([piece.entry() for piece in pieces]), b"]}",
        )
    )  # fmt: skip
    together = whole or kind == "batch"
    as_batch = None if together else partial(group, source, pieces, share, kind="batch")
    return Unit(source, "POST", "", body, JSON, share, None, tuple(pieces), as_batch)


def units(source: Source) -> Iterator[Unit | Unreadable]:
    """The requests for a file, and the lines that cannot be one.

    Raises ValueError and OSError where the file is not what it says.
    """
    match source.format:
        case "ndjson":
            yield from _lines(source)
        case "xml":
            yield from _xml(source)
        case _:
            yield from _json(source, files.read(source))


def _json(source: Source, data: bytes) -> Iterator[Unit]:
    data = data.removeprefix(b"\xef\xbb\xbf")
    head = peek.head(data)
    if head.bundle_type in ("transaction", "batch"):
        yield Unit(source, "POST", "", data, JSON, 1.0)
    elif head.bundle_type in TAKEN_APART:
        yield from _taken_apart(source, data)
    else:
        method, url = peek.target(head.resourceType, head.id)
        yield Unit(source, method, url, data, JSON, 1.0)


def _taken_apart(source: Source, data: bytes) -> Iterator[Unit]:
    pieces: list[Piece] = []
    for number, entry in enumerate(peek.entries(data)):
        if not bytes(entry.resource):
            continue  # a deletion in a history, or an entry that is only a link
        head = peek.head(entry.resource)
        if head.resourceType == "OperationOutcome":
            continue  # a search's remark, not data
        method, url = peek.target(head.resourceType, head.id)
        label = f"entry[{number}] {url}"
        pieces.append(Piece(label, method, url, bytes(entry.resource), entry.fullUrl))
    if any((piece.full_url or "").startswith("urn:") for piece in pieces) and _refers(data):
        yield group(source, pieces, 1.0, whole=True)
        return
    for start in range(0, len(pieces), GROUP_ENTRIES_MAX):
        chunk = pieces[start : start + GROUP_ENTRIES_MAX]
        yield group(source, chunk, len(chunk) / len(pieces))


def _refers(data: bytes) -> bool:
    return data.count(b'"urn:') > data.count(b'"fullUrl"')


def _lines(source: Source) -> Iterator[Unit | Unreadable]:
    """Lines in groups; a line that is a transaction or batch itself goes alone."""
    size = max(source.size_bytes, 1)
    pieces: list[Piece] = []
    length, position = 0, 0
    with files.lines(source) as (text, raw):
        for number, line in enumerate(text, 1):
            line = line.strip()
            if not line:
                continue
            try:
                head = peek.head(line)
            except ValueError as error:
                yield Unreadable(source, f"line {number}", str(error))
                continue
            if head.bundle_type in ("transaction", "batch"):
                yield Unit(source, "POST", "", line, JSON, 0.0, f"line {number}")
                continue
            method, url = peek.target(head.resourceType, head.id)
            pieces.append(Piece(f"line {number} {url}", method, url, line))
            length += len(line)
            if len(pieces) >= GROUP_ENTRIES_MAX or length >= GROUP_BYTES_MAX:
                now = raw.tell()
                yield group(source, pieces, (now - position) / size)
                pieces, length, position = [], 0, now
    if pieces:
        yield group(source, pieces, (size - position) / size)


def _xml(source: Source) -> Iterator[Unit]:
    data = files.read(source)
    head = xml.head(data)
    if head.bundle_type in TAKEN_APART:
        yield _xml_group(source, data, "transaction")
        return
    if head.bundle_type in ("transaction", "batch"):
        method, url = "POST", ""
    else:
        method, url = peek.target(head.resourceType, head.id)
    yield Unit(source, method, url, data, XML, 1.0)


def _xml_group(source: Source, data: bytes, kind: str) -> Unit:
    body, entries = xml.regrouped(data, kind)
    pieces = tuple(
        Piece(f"entry[{entry.number}] {entry.url}", entry.method, entry.url, b"") for entry in entries
    )
    together = kind == "batch" or any(entry.full_url.startswith("urn:") for entry in entries)
    as_batch = None if together else partial(_xml_group, source, data, "batch")
    return Unit(source, "POST", "", body, XML, 1.0, None, pieces, as_batch)
