"""Access tokens: sealed by this server for itself, opaque to everybody else.

A token says who asks and what was granted, so that no request needs a look-up before its own statement;
whether the grant still holds is asked inside that statement. RFC 6750; RFC 6749 section 1.4
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import msgspec

from fhirserver.errors import Unauthorized
from fhirserver.policy.principal import Principal, Role
from fhirserver.policy.scopes import UnknownScope, parse_all

_TAG_BYTES: Final = 32
TOKEN_LENGTH_MAX: Final = 16 * 1024
_CACHE_MAX: Final = 4_096
_IDENTITY: Final = frozenset({"fhirUser", "profile"})
"""Scopes that tell who the user is: https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#scopes-for-requesting-identity-data"""


class Claims(msgspec.Struct, frozen=True, array_like=True):
    """What a token carries. `expires` is in seconds since the epoch; `user` is type and id; `scopes` are all
    that were granted; `roles` the names of those that the user has; `purposes` of use, if there are any, are
    the only ones that the token serves."""

    grant: int
    tenant: int
    client: str
    expires: int
    scopes: tuple[str, ...]
    user: tuple[str, str] | None = None
    patient: str | None = None
    own: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()


_decoder = msgspec.json.Decoder(Claims)


def seal(claims: Claims, secret: bytes) -> str:
    """The token as text."""
    payload = msgspec.json.encode(claims)
    return urlsafe_b64encode(_tag(payload, secret) + payload).rstrip(b"=").decode()


def unseal(text: str, secret: bytes) -> Claims:
    """The claims of a token, however old. Raises Unauthorized for what is none of this server's."""
    if len(text) > TOKEN_LENGTH_MAX or not text.isascii():
        raise Unauthorized("the access token is malformed")
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise Unauthorized("the access token is malformed") from None
    tag, payload = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
    if not hmac.compare_digest(tag, _tag(payload, secret)):
        raise Unauthorized("the access token is not one that this server gave")
    return _decoder.decode(payload)


def _tag(payload: bytes, secret: bytes) -> bytes:
    return blake2b(payload, key=secret, digest_size=_TAG_BYTES, person=b"access-token").digest()


def principal_of(claims: Claims, roles: Mapping[str, Role]) -> Principal:
    """Who asks with a token; a role that is not configured any more gives nothing.

    Raises Unauthorized for a token with a scope that is not understood: what it narrowed is not known.
    """
    try:
        scopes = parse_all(claims.scopes)
    except UnknownScope as unknown:
        raise Unauthorized(f"the access token holds a scope that is none here: {unknown}") from None
    user = "/".join(claims.user) if claims.user else ""
    return Principal(
        id=f"{claims.tenant}|{claims.client}|{user}|{claims.patient or ''}",
        scopes=scopes,
        client=claims.client,
        user=claims.user,
        patient=claims.patient,
        own=claims.own,
        roles=tuple(roles[name] for name in claims.roles if name in roles),
        grant=claims.grant,
        tenant=claims.tenant,
        reads_self=bool(_IDENTITY.intersection(claims.scopes)),
        purposes=claims.purposes,
    )


@dataclass(slots=True)
class Tokens:
    """Reads tokens and remembers those it has read."""

    secret: bytes
    roles: Mapping[str, Role]
    _known: dict[str, tuple[int, Principal]]

    @classmethod
    def of(cls, secret: bytes, roles: Mapping[str, Role]) -> Tokens:
        return cls(secret, roles, {})

    def principal(self, text: str, now_s: float) -> Principal:
        """Raises Unauthorized for a token that is not valid, or no longer."""
        found = self._known.get(text)
        if found is None:
            claims = unseal(text, self.secret)
            if len(self._known) >= _CACHE_MAX:
                self._known.clear()
            found = self._known[text] = claims.expires, principal_of(claims, self.roles)
        if found[0] <= now_s:
            self._known.pop(text, None)
            raise Unauthorized("the access token has expired")
        return found[1]
