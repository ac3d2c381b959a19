"""A large constant JSON text with a short beginning that differs, compressed without compressing it anew.

The Host header can choose the base that stands near the beginning of a statement, so a text for a new base
must not cost a compression of the whole. RFC 1951 (blocks end at bytes after a full flush), RFC 1952 (gzip).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
_LEVEL: Final = 9
_RAW: Final = -15
_ETAG_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class Tail:
    """The constant part, as text and as deflated blocks that refer to nothing before them."""

    text: bytes
    deflated: bytes

    @classmethod
    def of(cls, text: bytes) -> Tail:
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW)
        return cls(text, packer.compress(text) + packer.flush())


@dataclass(frozen=True, slots=True)
class Packed:
    """A body, its gzip form and the weak entity tag of both (RFC 9110 section 8.8.1)."""

    body: bytes
    gzip: bytes
    etag: str


def join(head: bytes, tail: Tail) -> Packed:
    """`head` and `tail` as one body; only the head is compressed here."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW)
    deflated = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    body = head + tail.text
    checksum = zlib.crc32(body).to_bytes(4, "little") + (len(body) & 0xFFFFFFFF).to_bytes(4, "little")
    digest = blake2b(body, digest_size=_ETAG_BYTES).hexdigest()
    return Packed(body, b"".join((_HEADER, deflated, tail.deflated, checksum)), f'W/"{digest}"')
