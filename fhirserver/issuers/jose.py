"""What others signed, and which of their published keys it means: RFC 7515, RFC 7517.

The keys are those that somebody registered or publishes, never what a token brings along.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from time import time
from typing import Any, Final

import orjson
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key, import_key

LENGTH_MAX: Final = 16 * 1024
"""Characters of a token."""


class Refused(Exception):
    """What is wrong with a token, for those who are told: it repeats nothing of it."""


def parts(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, unverified. Raises Refused."""
    if len(text) > LENGTH_MAX:
        raise Refused(f"the token has at most {LENGTH_MAX} characters")
    try:
        found = jws.extract_compact(text.encode("ascii"))
        header, claims = found.headers(), orjson.loads(found.payload)
    except (JoseError, ValueError):
        raise Refused("the token is no signed JWT") from None
    if not isinstance(claims, dict):
        raise Refused("the token's claims are no JSON object")
    return dict(header), claims


async def the_key(
    fits: Callable[[Mapping[str, Any]], bool], *sources: Callable[[], Awaitable[Sequence[Any]]]
) -> Key:
    """The key that fits, of the first source that has any: the only one. Raises Refused."""
    found: list[Any] = []
    for source in sources:
        found = [key for key in await source() if isinstance(key, dict) and fits(key)]
        if found:
            break
    if len(found) != 1:
        raise Refused("the token does not mean exactly one key of its signer, by kid and type")
    try:
        return import_key(found[0])
    except (JoseError, ValueError):
        raise Refused("the signer's key is no JWK") from None


def verify(text: str, key: Key, algorithms: Collection[str]) -> None:
    """The signature. Raises Refused."""
    try:
        jwt.decode(text, key, algorithms=list(algorithms))
    except (JoseError, ValueError):
        raise Refused("the token's signature is not its signer's") from None


def times(claims: Mapping[str, Any], ahead_s: float) -> dict[str, float]:
    """`exp`, and `iat` and `nbf` if they are there, which have come: RFC 7519 section 4.1.

    Seconds since 1970; the signer's clock may be `ahead_s` ahead. Raises Refused.
    """
    found = {name: claims[name] for name in ("exp", "iat", "nbf") if claims.get(name) is not None}
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in found.values()):
        raise Refused("exp, iat and nbf are seconds since 1970")
    if "exp" not in found:
        raise Refused("the token has no exp")
    if any(found.get(name, 0) > time() + ahead_s for name in ("iat", "nbf")):
        raise Refused("the token is of the future")
    return found


def names(claims: Mapping[str, Any], audience: str) -> bool:
    """Whether the token is for `audience`, by itself or among others."""
    found = claims.get("aud")
    return audience in (found if isinstance(found, list) else [found])
