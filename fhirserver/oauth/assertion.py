"""Client assertions: https://hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html

The keys come from the client's registration alone, inline or from its `jwks_uri`: never from the assertion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from hashlib import sha256
from time import time
from typing import Any, Final

from joserfc.jwk import Key

from fhirserver.db.pool import Connection
from fhirserver.issuers import jose
from fhirserver.issuers.jose import Refused
from fhirserver.oauth.context import Server, now
from fhirserver.oauth.errors import invalid_client
from fhirserver.oauth.jwks import KeySets

ALGORITHMS: Final = ("RS384", "ES384")
_KEY_TYPE: Final = {"RS384": "RSA", "ES384": "EC"}
_CURVE: Final = "P-384"
AHEAD_S: Final = 300
SKEW_S: Final = 60
JTI_LENGTH_MAX: Final = 256


def issuer(text: str) -> str:
    """The client that the assertion is said to be of. Raises invalid_client."""
    with _refusing():
        _, claims = jose.parts(text)
    found = claims.get("iss")
    if not isinstance(found, str) or not found or claims.get("sub") != found:
        raise invalid_client("iss and sub of the client assertion are both the client_id")
    return found


async def verify(
    connection: Connection, server: Server, text: str, client: str, metadata: Mapping[str, Any]
) -> None:
    """Everything that an assertion has to be, its `jti` used up. Raises invalid_client."""
    with _refusing():
        header, claims = jose.parts(text)
        _require_header(header)
        jose.verify(text, await _key(server.key_sets, header, metadata), ALGORITHMS)
        expires = _require_claims(server, claims)
    await _use(connection, server, client, claims, expires)


@contextmanager
def _refusing() -> Iterator[None]:
    """What is wrong with the token is wrong with the client's authentication, RFC 6749 section 5.2."""
    try:
        yield
    except Refused as refused:
        raise invalid_client(f"client assertion: {refused}") from None


def _require_header(header: Mapping[str, Any]) -> None:
    if header.get("alg") not in ALGORITHMS:
        raise Refused(f"alg is one of {', '.join(ALGORITHMS)}")
    if header.get("typ") != "JWT":
        raise Refused("typ is JWT")
    if not isinstance(header.get("kid"), str):
        raise Refused("it names its key by kid")
    if header.keys() & {"jwk", "x5c", "x5u", "crit"}:
        raise Refused("it carries no keys and no critical headers")


async def _key(sets: KeySets, header: Mapping[str, Any], metadata: Mapping[str, Any]) -> Key:
    """The one registered key of this kid and type, RFC 7515 section 4.1.4."""
    # `jku` may be there only when it repeats what was registered; keys are fetched from that in any case.
    if "jku" in header and header["jku"] != metadata.get("jwks_uri"):
        raise Refused("jku is not the client's registered jwks_uri")
    kid, type_ = header["kid"], _KEY_TYPE[header["alg"]]
    uri = metadata.get("jwks_uri")

    def fits(key: Mapping[str, Any]) -> bool:
        return (
            (key.get("kid"), key.get("kty")) == (kid, type_)
            and (type_ != "EC" or key.get("crv") == _CURVE)
            and key.get("use", "sig") == "sig"
            and "d" not in key
        )

    async def inline() -> list[Any]:
        return (metadata.get("jwks") or {}).get("keys", [])

    async def fetched(*, afresh: bool = False) -> list[Any]:
        return (await sets.fetched(uri, afresh=afresh))["keys"] if uri else []

    return await jose.the_key(fits, inline, fetched, partial(fetched, afresh=True))


def _require_claims(server: Server, claims: Mapping[str, Any]) -> int:
    """Audience and times; the instant at which it expires."""
    if not jose.names(claims, server.token_url):
        raise Refused(f"aud is {server.token_url}")
    moment, expires = time(), jose.times(claims, SKEW_S)["exp"]
    if expires <= moment - SKEW_S:
        raise Refused("it has expired")
    if expires > moment + AHEAD_S + SKEW_S:
        raise Refused(f"exp is at most {AHEAD_S} seconds ahead")
    return int(expires)


async def _use(
    connection: Connection, server: Server, client: str, claims: Mapping[str, Any], expires: int
) -> None:
    """A jti is good once. One INSERT decides, so that of two at the same time one loses."""
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= JTI_LENGTH_MAX:
        raise invalid_client("the client assertion has a jti")
    digest = sha256(f"{server.tenant}\0{client}\0{jti}".encode()).digest()
    remember = now() + timedelta(seconds=max(expires - time(), 0) + 2 * SKEW_S)
    used = await connection.execute(
        "INSERT INTO auth.once (kind, hash, tenant, expires) VALUES ('jti', $1, $2, $3)"
        " ON CONFLICT DO NOTHING",
        digest,
        server.tenant,
        remember,
    )
    if not used.endswith(" 1"):
        raise invalid_client("the jti of the client assertion was used before")
