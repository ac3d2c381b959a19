"""Client assertions: https://hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html

The keys come from the client's registration alone, inline or from its `jwks_uri`: never from the assertion.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from hashlib import sha256
from time import time
from typing import Any, Final

import orjson
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from fhirserver.db.pool import Connection
from fhirserver.oauth.context import Server, now
from fhirserver.oauth.errors import invalid_client
from fhirserver.oauth.jwks import KeySets

ALGORITHMS: Final = ("RS384", "ES384")
_KEY_TYPE: Final = {"RS384": "RSA", "ES384": "EC"}
_CURVE: Final = "P-384"
AHEAD_S: Final = 300
SKEW_S: Final = 60
LENGTH_MAX: Final = 16 * 1024
JTI_LENGTH_MAX: Final = 256


def _parts(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, unverified. Raises invalid_client."""
    if len(text) > LENGTH_MAX:
        raise invalid_client(f"a client assertion has at most {LENGTH_MAX} characters")
    try:
        found = jws.extract_compact(text.encode())
        header, claims = found.headers(), orjson.loads(found.payload)
    except (JoseError, ValueError, UnicodeError):
        raise invalid_client("the client assertion is no signed JWT") from None
    if not isinstance(claims, dict):
        raise invalid_client("the claims of the client assertion are no JSON object")
    return dict(header), claims


def issuer(text: str) -> str:
    """The client that the assertion is said to be of. Raises invalid_client."""
    _, claims = _parts(text)
    found = claims.get("iss")
    if not isinstance(found, str) or not found or claims.get("sub") != found:
        raise invalid_client("iss and sub of the client assertion are both the client_id")
    return found


async def verify(
    connection: Connection, server: Server, text: str, client: str, metadata: Mapping[str, Any]
) -> None:
    """Everything that an assertion has to be, its `jti` used up. Raises invalid_client."""
    header, claims = _parts(text)
    _require_header(header)
    key = await _key(server.key_sets, header, metadata)
    try:
        jwt.decode(text, key, algorithms=list(ALGORITHMS))
    except (JoseError, ValueError):
        raise invalid_client("the signature of the client assertion does not fit the client's key") from None
    expires = _require_claims(server, claims)
    await _use(connection, server, client, claims, expires)


def _require_header(header: Mapping[str, Any]) -> None:
    if header.get("alg") not in ALGORITHMS:
        raise invalid_client(f"alg of the client assertion is one of {', '.join(ALGORITHMS)}")
    if header.get("typ") != "JWT":
        raise invalid_client("typ of the client assertion is JWT")
    if not isinstance(header.get("kid"), str):
        raise invalid_client("the client assertion names its key by kid")
    if header.keys() & {"jwk", "x5c", "x5u", "crit"}:
        raise invalid_client("the client assertion carries no keys and no critical headers")


async def _key(sets: KeySets, header: Mapping[str, Any], metadata: Mapping[str, Any]) -> Any:
    """The one registered key of this kid and type, RFC 7515 section 4.1.4."""
    # `jku` may be there only when it repeats what was registered; keys are fetched from that in any case.
    if "jku" in header and header["jku"] != metadata.get("jwks_uri"):
        raise invalid_client("jku of the client assertion is not the client's registered jwks_uri")
    kid, type_ = header["kid"], _KEY_TYPE[header["alg"]]

    def fitting(found: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [
            key
            for key in found.get("keys", ())
            if isinstance(key, dict)
            and (key.get("kid"), key.get("kty")) == (kid, type_)
            and (type_ != "EC" or key.get("crv") == _CURVE)
            and key.get("use", "sig") == "sig"
            and "d" not in key
        ]

    uri = metadata.get("jwks_uri")
    keys = fitting(metadata.get("jwks") or {})
    if not keys and uri:
        keys = fitting(await sets.fetched(uri)) or fitting(await sets.fetched(uri, afresh=True))
    if len(keys) != 1:
        raise invalid_client("the client has not exactly one registered key of this kid and type")
    try:
        return KeySet.import_key_set({"keys": [keys[0]]})  # type: ignore[typeddict-item]
    except (JoseError, ValueError):
        raise invalid_client("the client's registered key is no JWK") from None


def _require_claims(server: Server, claims: Mapping[str, Any]) -> int:
    """Audience and times; the instant at which it expires."""
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    if server.token_url not in named:
        raise invalid_client(f"aud of the client assertion is {server.token_url}")
    moment = time()
    times = {name: claims.get(name) for name in ("exp", "iat", "nbf") if claims.get(name) is not None}
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in times.values()):
        raise invalid_client("exp, iat and nbf of the client assertion are seconds since 1970")
    expires = times.get("exp")
    if expires is None or expires <= moment - SKEW_S:
        raise invalid_client("the client assertion has expired, or has no exp")
    if expires > moment + AHEAD_S + SKEW_S:
        raise invalid_client(f"exp of the client assertion is at most {AHEAD_S} seconds ahead")
    if any((times.get(name) or 0) > moment + SKEW_S for name in ("iat", "nbf")):
        raise invalid_client("the client assertion is of the future")
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
