"""Tokens that an issuer signed: RFC 7519, RFC 8725.

The keys are those that the issuer publishes, never what a token brings along.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import time
from typing import Any, Final

import orjson
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from fhirserver.issuers.trust import Issuer, Trust
from fhirserver.outbound import Unusable

ALGORITHMS: Final = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
}
"""The algorithms that are taken, with the type of their keys: no shared secrets, no `none`."""
LENGTH_MAX: Final = 16 * 1024
SKEW_S: Final = 60
_TYPES: Final = frozenset({None, "jwt", "at+jwt", "application/at+jwt"})


class Refused(Exception):
    """What is wrong with a token, for those who are told: it repeats nothing of it."""


def parts(text: str) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Header and claims, unverified. Raises Refused."""
    if len(text) > LENGTH_MAX or not text.isascii():
        raise Refused("the token is malformed")
    try:
        found = jws.extract_compact(text.encode())
        header, claims = found.headers(), orjson.loads(found.payload)
    except (JoseError, ValueError):
        raise Refused("the token is no signed JWT") from None
    if not isinstance(claims, dict):
        raise Refused("the token's claims are no JSON object")
    return header, claims


async def claims_of(trust: Trust, issuer: Issuer, text: str, audience: str) -> dict[str, Any]:
    """The claims of a token that the issuer signed for `audience`, and that is good now. Raises Refused."""
    header, claims = parts(text)
    algorithm, type_ = header.get("alg"), header.get("typ")
    if algorithm not in ALGORITHMS or "crit" in header or "b64" in header:
        raise Refused(f"the token is signed with one of {', '.join(ALGORITHMS)}")
    if (type_.lower() if isinstance(type_, str) else type_) not in _TYPES:
        raise Refused("the token is of another type")
    key = await _key(trust, issuer, header)
    try:
        jwt.decode(text, key, algorithms=[algorithm])
    except (JoseError, ValueError):
        raise Refused("the token's signature is not its issuer's") from None
    _require(issuer, claims, audience)
    return claims


async def _key(trust: Trust, issuer: Issuer, header: Mapping[str, Any]) -> KeySet:
    """The one key that the header means: by kid, or the only one of its type."""
    type_, kid = ALGORITHMS[header["alg"]], header.get("kid")

    def fitting(keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            key
            for key in keys
            if key.get("kty") == type_
            and key.get("use", "sig") == "sig"
            and key.get("alg", header["alg"]) == header["alg"]
            and (kid is None or key.get("kid") == kid)
        ]

    try:
        found = fitting(await trust.keys(issuer)) or fitting(await trust.keys(issuer, afresh=True))
    except Unusable as error:
        raise Refused(f"the keys of the token's issuer cannot be had: {error}") from None
    if len(found) != 1:
        raise Refused("the token's issuer does not publish exactly one such key")
    try:
        return KeySet.import_key_set({"keys": [{**found[0], "kid": kid} if kid else found[0]]})  # type: ignore[typeddict-item]
    except (JoseError, ValueError):
        raise Refused("the issuer's key is no JWK") from None


def _require(issuer: Issuer, claims: Mapping[str, Any], audience: str) -> None:
    if claims.get("iss") != issuer.issuer:
        raise Refused("the token is another issuer's")
    named = claims.get("aud")
    if audience not in (named if isinstance(named, list) else [named]):
        raise Refused(f"the token is for another audience than {audience}")
    times = {name: claims.get(name) for name in ("exp", "iat", "nbf") if claims.get(name) is not None}
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in times.values()):
        raise Refused("exp, iat and nbf are seconds since 1970")
    moment, expires = time(), times.get("exp")
    if expires is None or expires <= moment:
        raise Refused("the token has expired, or has no exp")
    if any((times.get(name) or 0) > moment + SKEW_S for name in ("iat", "nbf")):
        raise Refused("the token is of the future")
    if not isinstance(claims.get("sub"), str) or not 0 < len(claims["sub"]) <= 255:
        raise Refused("the token says of nobody whom it is about")
