"""The files of a package archive (tar in gzip), one after the other, whoever made it.

Nothing is written to a disk and nothing is kept but the file that is looked at. What no honest package has is
refused, named, before anything is done with the rest: links, devices, paths that lead elsewhere, the same
file twice, more than the limits. POSIX.1-2017 (pax, section "ustar Interchange Format"), RFC 1952.
"""

from __future__ import annotations

import hashlib
import io
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from fhirserver.errors import Structure, TooLarge

_BLOCK: Final = 512
_CHUNK_BYTES: Final = 64 * 1024
_GZIP_WINDOW: Final = 31
_GZIP_MAGIC: Final = b"\x1f\x8b"
_NAMES_BYTES_MAX: Final = 64 * 1024
"""Of the records that carry a long name."""
_NAME_LENGTH_MAX: Final = 1_024
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f\\]|^[A-Za-z]:")
_KINDS: Final = {
    b"1": "a link",
    b"2": "a link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    b"K": "a link",
    b"S": "a sparse file",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may be at most. The ratio counts beyond `free_bytes`."""

    unpacked_bytes_max: int = 1024 * 1024 * 1024
    entry_bytes_max: int = 64 * 1024 * 1024
    entries_max: int = 100_000
    ratio_max: int = 100
    free_bytes: int = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Archive:
    """A package that can be read as often as needed; `label` is how messages call it."""

    label: str
    open: Callable[[], BinaryIO]
    limits: Limits = Limits()

    @classmethod
    def of_path(cls, path: Path, limits: Limits | None = None) -> Archive:
        return cls(path.name, lambda: path.open("rb"), limits or Limits())

    @classmethod
    def of_bytes(cls, data: bytes, label: str, limits: Limits | None = None) -> Archive:
        return cls(label, lambda: io.BytesIO(data), limits or Limits())

    def digest(self) -> str:
        """SHA-256 of the packed bytes, hexadecimal."""
        with self.open() as packed:
            found = hashlib.sha256()
            while piece := packed.read(_CHUNK_BYTES):
                found.update(piece)
            return found.hexdigest()

    def files(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
        """Names and contents of the files that are wanted, in the order of the archive.

        Raises Structure for what is no such archive or should not be in one, TooLarge beyond the limits.
        """
        try:
            with self.open() as packed:
                yield from _Reader(packed, self.limits).files(wanted)
        except (Structure, TooLarge) as error:
            raise type(error)(f"{self.label}: {error}") from None

    def file(self, name: str) -> bytes | None:
        """The content of one file; None where there is none. Reads no further."""
        return next((data for _, data in self.files(lambda one: one == name)), None)


def is_packed(data: bytes) -> bool:
    """Whether the bytes begin as gzip does."""
    return data.startswith(_GZIP_MAGIC)


class _Unpacked:
    """What the gzip members of a file unpack to, piece by piece, within the limits."""

    def __init__(self, packed: BinaryIO, limits: Limits) -> None:
        self._packed, self._limits = packed, limits
        self._member = zlib.decompressobj(_GZIP_WINDOW)
        self._rest = b""
        self._read = self._written = 0
        self._ready = bytearray()
        self._begun = self._ended = False

    def take(self, count: int) -> bytes:
        """The next `count` bytes, fewer at the end."""
        while len(self._ready) < count and not self._ended:
            self._ready += self._more()
        taken = bytes(self._ready[:count])
        del self._ready[:count]
        return taken

    def skip(self, count: int) -> int:
        """Pass over `count` bytes; how many there were."""
        passed = 0
        while passed < count:
            piece = self.take(min(_CHUNK_BYTES, count - passed))
            if not piece:
                break
            passed += len(piece)
        return passed

    def _more(self) -> bytes:
        """The next piece; empty where nothing came of what was read, and at the end."""
        if self._member.eof:
            return self._after_member()
        data = self._rest or self._packed.read(_CHUNK_BYTES)
        if not data:
            raise _torn() if self._begun else Structure("the archive is empty")
        self._read += 0 if self._rest else len(data)
        self._begun = True
        try:
            piece = self._member.decompress(data, _CHUNK_BYTES)
        except zlib.error:
            raise Structure("is not a tar archive in gzip") from None
        self._rest = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        self._count(len(piece))
        return piece

    def _after_member(self) -> bytes:
        """Another member, or nothing but padding."""
        data = self._rest or self._packed.read(_CHUNK_BYTES)
        if data and len(data) < len(_GZIP_MAGIC):
            data += self._packed.read(_CHUNK_BYTES)
        self._rest = b""
        if data.startswith(_GZIP_MAGIC):
            self._read += len(data)
            self._rest, self._member = data, zlib.decompressobj(_GZIP_WINDOW)
        elif data.strip(b"\0"):
            raise Structure("something follows the end of the gzip data")
        elif not data:
            self._ended = True
        return b""

    def _count(self, length: int) -> None:
        self._written += length
        limits = self._limits
        if self._written > limits.unpacked_bytes_max:
            raise TooLarge(f"the archive unpacks to more than {limits.unpacked_bytes_max} bytes")
        if self._written > max(limits.free_bytes, limits.ratio_max * self._read):
            raise TooLarge(f"the archive unpacks to more than {limits.ratio_max} times its size")


@dataclass(slots=True)
class _Header:
    """What a header block says, with what a record before it said of a longer name or size."""

    name: str
    size: int
    kind: bytes


class _Reader:
    """Walks the entries of one archive."""

    def __init__(self, packed: BinaryIO, limits: Limits) -> None:
        self._data, self._limits = _Unpacked(packed, limits), limits
        self._seen: set[str] = set()
        self._count = 0

    def files(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
        long_name: str | None = None
        long_size: int | None = None
        while (header := self._header()) is not None:
            self._count += 1
            if self._count > self._limits.entries_max:
                raise TooLarge(f"the archive has more than {self._limits.entries_max} entries")
            if header.kind in (b"x", b"g", b"L"):
                records = self._records(header)
                if header.kind != b"g":
                    long_name, long_size = records.get("path", long_name), _size_of(records, long_size)
                continue
            name = long_name if long_name is not None else header.name
            size = long_size if long_size is not None else header.size
            long_name = long_size = None
            if (found := self._file(name, size, header.kind, wanted)) is not None:
                yield found

    def _file(
        self, name: str, size: int, kind: bytes, wanted: Callable[[str], bool]
    ) -> tuple[str, bytes] | None:
        """The content of an entry that is a file and wanted."""
        is_folder = kind == b"5" or (kind in (b"0", b"\0") and name.endswith("/"))
        if not is_folder and kind not in (b"0", b"\0", b"7"):
            raise Structure(f"{_quoted(name)} is {_KINDS.get(kind, 'of an unknown kind')}, not a file")
        place = _safe(name, folder=is_folder)
        if is_folder:
            self._pass(size)
            return None
        if place in self._seen:
            raise Structure(f"{_quoted(name)} stands twice in the archive")
        self._seen.add(place)
        if size > self._limits.entry_bytes_max:
            raise TooLarge(f"{_quoted(name)} is larger than {self._limits.entry_bytes_max} bytes")
        if not wanted(place):
            self._pass(size)
            return None
        return place, self._content(size)

    def _content(self, size: int) -> bytes:
        """The content of an entry, which fills whole blocks."""
        padded = size + -size % _BLOCK
        data = self._data.take(padded)
        if len(data) < padded:
            raise _torn()
        return data[:size]

    def _pass(self, size: int) -> None:
        padded = size + -size % _BLOCK
        if self._data.skip(padded) < padded:
            raise _torn()

    def _header(self) -> _Header | None:
        """The next header; None at the end, when nothing but zeros follows."""
        block = self._data.take(_BLOCK)
        if not block.strip(b"\0"):
            while block:
                block = self._data.take(_CHUNK_BYTES)
                if block.strip(b"\0"):
                    raise Structure("something follows the end of the archive")
            return None
        if len(block) < _BLOCK:
            raise _torn()
        expected = sum(block) - sum(block[148:156]) + 8 * ord(" ")
        if _octal(block[148:156]) != expected:
            raise Structure("is not a tar archive in gzip")
        prefix = b"" if block[257:263] != b"ustar\0" else block[345:500].split(b"\0")[0]
        name = block[:100].split(b"\0")[0]
        return _Header(
            _text(prefix + b"/" + name if prefix else name), _number(block[124:136]), block[156:157]
        )

    def _records(self, header: _Header) -> dict[str, str]:
        """What a pax header or a GNU long name says of the entry that follows."""
        if header.size > _NAMES_BYTES_MAX:
            raise TooLarge(f"a name in the archive is longer than {_NAMES_BYTES_MAX} bytes")
        data = self._content(header.size)
        if header.kind == b"L":
            return {"path": _text(data.split(b"\0")[0])}
        return _pax(data)


def _torn() -> Structure:
    return Structure("the archive stops in the middle")


def _pax(data: bytes) -> dict[str, str]:
    """Records `length keyword=value newline`."""
    found: dict[str, str] = {}
    while data:
        length, _, _ = data.partition(b" ")
        if not length.isdigit() or len(length) > 6 or not len(length) + 1 < int(length) <= len(data):
            raise Structure("an extended header of the archive is malformed")
        record, data = data[len(length) + 1 : int(length)], data[int(length) :]
        keyword, separator, value = record.removesuffix(b"\n").partition(b"=")
        if not separator:
            raise Structure("an extended header of the archive is malformed")
        if keyword.startswith(b"GNU.sparse"):
            raise Structure("the archive has a sparse file")
        if keyword in (b"path", b"size"):
            found[keyword.decode()] = _text(value)
    return found


def _size_of(records: dict[str, str], otherwise: int | None) -> int | None:
    size = records.get("size")
    if size is None:
        return otherwise
    if not size.isascii() or not size.isdigit() or len(size) > 18:
        raise Structure("an extended header of the archive is malformed")
    return int(size)


def _number(field: bytes) -> int:
    """A size: octal digits, or binary where they do not suffice."""
    value = int.from_bytes(field[1:], "big") if field[:1] == b"\x80" else _octal(field)
    if value is None or value >= 1 << 60:
        raise Structure("is not a tar archive in gzip")
    return value


def _octal(field: bytes) -> int | None:
    digits = field.strip(b" \0")
    try:
        return int(digits, 8) if digits else 0
    except ValueError:
        return None


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise Structure(f"the archive has a name that is not UTF-8: {name[:80]!r}") from None


def _safe(name: str, *, folder: bool) -> str:
    """`name` if it leads to a place inside the archive and nowhere else."""
    place = name.removeprefix("./")
    if folder:
        place = place.rstrip("/")
        if place in ("", "."):
            return place
    parts = place.split("/")
    if (
        _UNSAFE.search(place)
        or len(place) > _NAME_LENGTH_MAX
        or any(part in ("", ".", "..") for part in parts)
    ):
        raise Structure(f"{_quoted(name)} is no path inside a package")
    return place


def _quoted(name: str) -> str:
    return repr(name if len(name) <= 120 else name[:117] + "...")
