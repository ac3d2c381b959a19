"""Keyed 64-bit hashes that stand for values in the index tables.

A key is BLAKE2b over the parts, keyed with a secret kept in the database, so it is stable across
processes and nobody can craft a value that collides with another's. A key narrows; where something
is *decided* (a conditional match, what somebody may see) the row itself is checked again.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

_SEPARATOR = "\x1f"
_BITS = (1 << 64) - 1


class Keys:
    """Hashes for one tenant. `secret` is 16 to 64 bytes."""

    __slots__ = ("_anywhere", "_cached", "_inside", "_key", "_place", "tenant")

    def __init__(self, secret: bytes, tenant: int) -> None:
        self.tenant = tenant
        self._key = blake2b(str(tenant).encode(), key=secret, digest_size=32).digest()
        self._place = b""
        self._cached = lru_cache(maxsize=65_536)(self._hash)
        self._anywhere = self._cached
        self._inside: dict[str, Keys] = {}

    def inside(self, place: str) -> Keys:
        """Hashes of what is found in a resource within another, such as `Bundle.composition`.

        The values there have keys of their own; what they refer to is the same.
        """
        found = self._inside.get(place)
        if found is None:
            found = self._inside[place] = Keys.__new__(Keys)
            found.tenant, found._key = self.tenant, self._key
            found._place, found._inside = blake2b(place.encode(), digest_size=16).digest(), {}
            found._cached = lru_cache(maxsize=4_096)(found._hash)
            found._anywhere = self._anywhere
        return found

    def _hash(self, text: str) -> int:
        digest = blake2b(text.encode(), key=self._key, digest_size=8, salt=self._place).digest()
        return int.from_bytes(digest, "big", signed=True)

    def of(self, *parts: str) -> int:
        """Signed 64-bit key of the parts; the separator cannot occur in valid FHIR strings."""
        return self._cached(_SEPARATOR.join(parts))

    def param(self, resource_type: str, code: str) -> int:
        """Key of a search parameter on a type."""
        return self._cached(f"param{_SEPARATOR}{resource_type}{_SEPARATOR}{code}")

    def uri(self, text: str) -> int:
        """Key of a URI or canonical URL, `url|version` included.

        It is indexed as `param(...) ^ uri(...)` by the resource that has it, and by those that refer to
        it as `param(...) ^ turned(uri(...))`, so that a chain joins on it like on `target`. Were both
        alike, what joins them would lead back as well: a resource may have keys of both kinds.
        """
        return self._anywhere(f"uri{_SEPARATOR}{text}")

    def target(self, resource_type: str, id_: str) -> int:
        """Key of a resource's identity (`Type/id`), the column `resource.idk`.

        A reference is indexed as `param(...) ^ target(...)`, which SQL computes as well (`#`), so a
        chain joins on it without knowing the secret.
        """
        text = f"target{_SEPARATOR}{resource_type}{_SEPARATOR}{id_}"
        digest = blake2b(text.encode(), key=self._key, digest_size=8).digest()
        return int.from_bytes(digest, "big", signed=True)


def turned(key: int) -> int:
    """A key with its 64 bits turned by one place to the left; of `a ^ b` it is that of both."""
    return _signed((key << 1 | key >> 63 & 1) & _BITS)


def turned_back(key: int) -> int:
    """The key of which `turned` makes this one."""
    return _signed((key & _BITS) >> 1 | (key & 1) << 63)


def _signed(bits: int) -> int:
    return bits - (1 << 64) if bits >> 63 else bits
