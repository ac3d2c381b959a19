"""The second step of signing in: time-based one-time passwords, RFC 6238 over RFC 4226.

The secret rests sealed. Each code is good once: the last time step that was used is kept, and one UPDATE
decides between two that come at the same time.
"""

from __future__ import annotations

import hmac
from base64 import b32decode, b32encode
from secrets import token_bytes
from struct import pack, unpack_from
from typing import Final
from urllib.parse import quote

from fhirserver.db.pool import Connection
from fhirserver.interactions.call import Services
from fhirserver.people.sealed import seal, unseal
from fhirserver.people.sessions import QUERIES

STEP_S: Final = 30
DIGITS: Final = 6
SECRET_BYTES: Final = 20
"""RFC 4226 section 4, R6."""
_AROUND: Final = (0, -1, 1)
"""Steps before and after that are accepted, too, for clocks that differ: RFC 6238 section 5.2."""
_PURPOSE: Final = "totp"
_AGES: Final = 2**40


def new_secret() -> bytes:
    return token_bytes(SECRET_BYTES)


def shown(secret: bytes) -> str:
    """As apps take it by hand: base32 in groups of four."""
    text = b32encode(secret).decode()
    return " ".join(text[start : start + 4] for start in range(0, len(text), 4))


def uri(secret: bytes, login: str, issuer: str) -> str:
    """As apps read it from a picture: https://github.com/google/google-authenticator/wiki/Key-Uri-Format"""
    text = b32encode(secret).decode()
    label = f"{quote(issuer, safe='')}:{quote(login, safe='')}"
    return f"otpauth://totp/{label}?secret={text}&issuer={quote(issuer, safe='')}"


def code(secret: bytes, step: int) -> str:
    """The code of a time step: RFC 4226 section 5.3."""
    digest = hmac.digest(secret, pack(">Q", step), "sha1")
    (number,) = unpack_from(">I", digest, digest[-1] & 15)
    return f"{(number & 0x7FFF_FFFF) % 10**DIGITS:0{DIGITS}}"


def step_of(secret: bytes, given: str, now_s: float) -> int | None:
    """The time step that a code is of, around now; None for a wrong one. All are compared."""
    digits = "".join(given.split())
    matching = None
    for around in _AROUND:
        step = int(now_s // STEP_S) + around
        if hmac.compare_digest(code(secret, step).encode(), digits.encode()) and matching is None:
            matching = step
    return matching


def sealed(services: Services, secret: bytes) -> str:
    return seal(services.token_secret, _PURPOSE, b32encode(secret).decode())


def unsealed(services: Services, text: str) -> bytes | None:
    found = unseal(services.token_secret, _PURPOSE, text, _AGES)
    return b32decode(found) if isinstance(found, str) else None


async def turn_on(connection: Connection, services: Services, account: int, secret: bytes, step: int) -> bool:
    """From now on a code is needed, a later one than the one that proved that the app has the secret; False
    if another is on already."""
    done = await connection.fetchval(QUERIES["totp_on"], account, sealed(services, secret), step)
    return done is not None


async def turn_off(connection: Connection, account: int) -> None:
    await connection.execute(QUERIES["totp_off"], account)


async def use(connection: Connection, services: Services, account: int, given: str, now_s: float) -> bool:
    """Whether the code is right, and uses it up: the second of two with the same code is wrong."""
    stored = await connection.fetchval(QUERIES["totp"], account)
    secret = unsealed(services, stored) if stored is not None else None
    step = step_of(secret, given, now_s) if secret is not None else None
    if step is None:
        return False
    return await connection.fetchval(QUERIES["totp_use"], account, step, stored) is not None
