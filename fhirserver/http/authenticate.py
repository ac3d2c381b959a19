"""Who asks: the bearer token of a request, RFC 6750 section 2.1.

Tokens in URLs and forms are not read: they would end in logs and histories.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import time
from typing import Final

from fhirserver.errors import Unauthorized
from fhirserver.policy.principal import OPEN, Principal
from fhirserver.policy.token import Tokens

Authenticate = Callable[[str | None], Awaitable[Principal]]
"""From an Authorization header to who asks. Raises Unauthorized."""

_SCHEME: Final = "bearer "


def bearer(authorization: str | None) -> str:
    """The token of the header. Raises Unauthorized for none."""
    if authorization is None:
        raise Unauthorized("sign in: this server needs an access token in 'Authorization: Bearer ...'", None)
    if authorization[: len(_SCHEME)].lower() != _SCHEME or not (
        token := authorization[len(_SCHEME) :].strip()
    ):
        raise Unauthorized("the Authorization header is 'Bearer' and an access token", "invalid_request")
    return token


async def everybody(_: str | None) -> Principal:
    """Where nobody has to sign in."""
    return OPEN


def by_token(
    tokens: Tokens | None, tenant: int, foreign: Callable[[str], Awaitable[Principal]] | None = None
) -> Authenticate:
    """Where tokens of the tenant are needed: this server's own, or those of issuers that `foreign` reads.

    A JWT has dots, an own token never has.
    """

    async def authenticate(authorization: str | None) -> Principal:
        text = bearer(authorization)
        if foreign is not None and (tokens is None or "." in text):
            return await foreign(text)
        if tokens is None:
            raise Unauthorized("the access token's issuer is not one that is trusted here")
        principal = tokens.principal(text, time())
        if principal.tenant != tenant:
            raise Unauthorized("the access token is not one of this FHIR base")
        return principal

    return authenticate
