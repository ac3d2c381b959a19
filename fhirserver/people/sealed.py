"""Short texts that only this server can read, make and date: state that a browser carries for it.

Encrypted and authenticated (Fernet: AES-128-CBC with HMAC-SHA-256) with a key of its own for each purpose, so
that what was sealed for one is nothing to another.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import orjson
from cryptography.fernet import Fernet, InvalidToken

LENGTH_MAX = 64 * 1024


@lru_cache(maxsize=64)
def _box(secret: bytes, purpose: str) -> Fernet:
    key = blake2b(purpose.encode(), key=secret, digest_size=32, person=b"sealed").digest()
    return Fernet(urlsafe_b64encode(key))


def seal(secret: bytes, purpose: str, value: Any) -> str:
    """What JSON can say, as text of [A-Za-z0-9_=-]."""
    return _box(secret, purpose).encrypt(orjson.dumps(value)).decode()


def unseal(secret: bytes, purpose: str, text: str, lifetime_s: int) -> Any:
    """The value; None for what was not sealed for this purpose, or longer ago than `lifetime_s`."""
    if len(text) > LENGTH_MAX:
        return None
    try:
        return orjson.loads(_box(secret, purpose).decrypt(text.encode(), ttl=lifetime_s))
    except (InvalidToken, ValueError):
        return None
