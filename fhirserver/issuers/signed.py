"""Tokens that an issuer signed: RFC 7519, RFC 8725.

The keys are those that the issuer publishes, never what a token brings along.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from time import time
from typing import Any, Final

from joserfc.jwk import Key

from fhirserver.issuers import jose
from fhirserver.issuers.jose import Refused
from fhirserver.issuers.trust import Issuer, Trust
from fhirserver.outbound import Unusable

ALGORITHMS: Final = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
}
"""The algorithms that are taken, with the type of their keys: no shared secrets, no `none`."""
SKEW_S: Final = 60
_TYPES: Final = frozenset({None, "jwt", "at+jwt", "application/at+jwt"})


async def claims_of(trust: Trust, issuer: Issuer, text: str, audience: str) -> dict[str, Any]:
    """The claims of a token that the issuer signed for `audience`, and that is good now. Raises Refused."""
    header, claims = jose.parts(text)
    algorithm, type_ = header.get("alg"), header.get("typ")
    if algorithm not in ALGORITHMS or "crit" in header or "b64" in header:
        raise Refused(f"the token is signed with one of {', '.join(ALGORITHMS)}")
    if (type_.lower() if isinstance(type_, str) else type_) not in _TYPES:
        raise Refused("the token is of another type")
    jose.verify(text, await _key(trust, issuer, header), [algorithm])
    _require(issuer, claims, audience)
    return claims


async def _key(trust: Trust, issuer: Issuer, header: Mapping[str, Any]) -> Key:
    """The one key that the header means: by kid, or the only one of its type."""
    type_, kid = ALGORITHMS[header["alg"]], header.get("kid")

    def fits(key: Mapping[str, Any]) -> bool:
        return (
            key.get("kty") == type_
            and key.get("use", "sig") == "sig"
            and key.get("alg", header["alg"]) == header["alg"]
            and (kid is None or key.get("kid") == kid)
        )

    try:
        return await jose.the_key(fits, partial(trust.keys, issuer), partial(trust.keys, issuer, afresh=True))
    except Unusable as error:
        raise Refused(f"the keys of the token's issuer cannot be had: {error}") from None


def _require(issuer: Issuer, claims: Mapping[str, Any], audience: str) -> None:
    if claims.get("iss") != issuer.issuer:
        raise Refused("the token is another issuer's")
    if not jose.names(claims, audience):
        raise Refused(f"the token is for another audience than {audience}")
    if jose.times(claims, SKEW_S)["exp"] <= time():
        raise Refused("the token has expired")
    if not isinstance(claims.get("sub"), str) or not 0 < len(claims["sub"]) <= 255:
        raise Refused("the token says of nobody whom it is about")
