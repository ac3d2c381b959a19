"""Access tokens of other issuers: RFC 9068, taken as they are where the settings trust their issuer.

What such a token grants becomes a grant here when the token comes for the first time, so that everything
that ends a grant ends it as well: the person's own apps page, a role that is lost, the issuer that is let in
no more. From then on it costs what an own token costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from time import time
from typing import Any, Final

import orjson

from fhirserver.db.pool import Connection
from fhirserver.errors import Invalid, Unauthorized
from fhirserver.fhir.reference import is_id
from fhirserver.issuers import jose, known, signed
from fhirserver.issuers.jose import Refused
from fhirserver.issuers.trust import Issuer, Trust
from fhirserver.oauth import grants
from fhirserver.oauth import scopes as scoping
from fhirserver.oauth.context import Server
from fhirserver.oauth.errors import OAuthError
from fhirserver.people import identity
from fhirserver.policy.consent.enforcement import code_of
from fhirserver.policy.principal import Principal
from fhirserver.policy.token import Claims, principal_of

_KIND: Final = "token"
_KNOWN_MAX: Final = 4_096


class Foreign:
    """Reads tokens of trusted issuers and remembers those it has read."""

    def __init__(self, server: Server, trust: Trust) -> None:
        self._server = server
        self._trust = trust
        self._known: dict[str, tuple[float, Principal]] = {}

    @property
    def is_used(self) -> bool:
        """Whether the tokens of any issuer are taken."""
        return any(one.tokens for one in self._trust.issuers.values())

    async def principal(self, text: str) -> Principal:
        """Who asks with a token. Raises Unauthorized."""
        found = self._known.get(text)
        if found is None:
            try:
                found = await self._read(text)
            except Refused as refused:
                raise Unauthorized(f"{refused}") from None
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            self._known[text] = found
        if found[0] <= time():
            self._known.pop(text, None)
            raise Unauthorized("the access token has expired")
        return found[1]

    async def _read(self, text: str) -> tuple[float, Principal]:
        """When it expires, and who it is of. Raises Refused."""
        _, unverified = jose.parts(text)
        name = unverified.get("iss")
        issuer = self._trust.issuers.get(name) if isinstance(name, str) else None
        if issuer is None or not issuer.tokens:
            raise Refused("the access token's issuer is not one that is trusted here")
        claims = await signed.claims_of(self._trust, issuer, text, self._audience(issuer))
        scopes = _scopes(self._server, claims)
        async with self._server.services.pool.acquire() as connection:
            given = await self._claims(connection, issuer, text, claims, scopes)
        return claims["exp"], principal_of(given, self._server.roles)

    def _audience(self, issuer: Issuer) -> str:
        # Another tenant's base is an audience of its own: what is for one tenant is not for the next.
        return (
            self._server.base
            if self._server.services.settings.is_of_path
            else issuer.audience or self._server.base
        )

    async def _claims(
        self, connection: Connection, issuer: Issuer, text: str, claims: Mapping[str, Any], scopes: list[str]
    ) -> Claims:
        """The claims of an own token that would say the same. Raises Refused."""
        server, subject = self._server, claims["sub"]
        person = await _person(connection, server, issuer, claims)
        who = await identity.of_person(connection, server.services, person["id"]) if person else None
        patient = claims.get("patient")
        _require(scopes, who is not None, patient)
        account = (
            None
            if who is None
            else await known.account(connection, server.services, who.person, issuer.issuer, subject)
        )
        if account is not None and account.disabled:
            raise Refused("the account of whom the access token is about is disabled")
        number = await self._grant(connection, issuer, text, claims, scopes, account.id if account else None)
        return Claims(
            number,
            server.tenant,
            issuer.issuer,
            int(claims["exp"]),
            tuple(scopes),
            who.user if who else None,
            patient,
            who.own if who else (),
            who.roles if who else (),
            _purposes(claims),
        )

    async def _grant(
        self,
        connection: Connection,
        issuer: Issuer,
        text: str,
        claims: Mapping[str, Any],
        scopes: list[str],
        account: int | None,
    ) -> int:
        """The grant of a token, the same in all workers: of several that see it first, one makes it."""
        server = self._server
        digest = sha256(f"{server.tenant}\0{text}".encode()).digest()
        async with connection.transaction():
            await connection.execute(
                "SELECT pg_advisory_xact_lock($1)", int.from_bytes(digest[:8], signed=True)
            )
            made: Any = await connection.fetchval(
                "SELECT value ->> 'grant' FROM auth.once WHERE kind = $1 AND hash = $2", _KIND, digest
            )
            if made is not None:
                return int(made)
            await _client(connection, server, issuer)
            number = await grants.create(
                connection,
                server,
                issuer.issuer,
                scopes,
                max(claims["exp"] - time(), 1),
                account=account,
                context={"patient": claims["patient"]} if claims.get("patient") else {},
            )
            await connection.execute(
                "INSERT INTO auth.once (kind, hash, tenant, value, expires) VALUES ($1, $2, $3, $4, $5)",
                _KIND,
                digest,
                server.tenant,
                orjson.dumps({"grant": number}).decode(),
                datetime.fromtimestamp(claims["exp"], UTC),
            )
        return number


async def _client(connection: Connection, server: Server, issuer: Issuer) -> None:
    """The issuer as a client: it can ask for nothing here, but be shown and disabled as any other."""
    metadata = {
        "client_name": issuer.label,
        "token_endpoint_auth_method": "private_key_jwt",
        "grant_types": [],
        "redirect_uris": [],
    }
    await connection.execute(
        "INSERT INTO auth.client (tenant, id, status, metadata) VALUES ($1, $2, 'approved', $3)"
        " ON CONFLICT DO NOTHING",
        server.tenant,
        issuer.issuer,
        orjson.dumps(metadata).decode(),
    )


def _purposes(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """The purposes of use of the token, as codes: of IHE's extension, of UDAP's, or of a claim of that name.

    https://profiles.ihe.net/ITI/IUA/index.html#371421-jwt-access-token. Raises Refused for no purpose.
    """
    extensions = claims.get("extensions")
    places = [extensions.get(name) for name in ("ihe_iua", "hl7-b2b")] if isinstance(extensions, dict) else []
    for place in (*places, claims):
        said = place.get("purpose_of_use") if isinstance(place, dict) else None
        if said is not None:
            return tuple(dict.fromkeys(_purpose(one) for one in (said if isinstance(said, list) else [said])))
    return ()


def _purpose(said: Any) -> str:
    text = f"{said.get('system', '')}|{said.get('code', '')}" if isinstance(said, dict) else said
    try:
        return code_of(text.replace("#", "|").removeprefix("|") if isinstance(text, str) else "")
    except Invalid as error:
        raise Refused(f"purpose_of_use of the access token: {error}") from None


def _scopes(server: Server, claims: Mapping[str, Any]) -> list[str]:
    """Those scopes of the token that this server understands; what is malformed grants nothing.

    Raises Refused for a token without any: an id token says who somebody is and grants nothing.
    """
    said = claims.get("scope", claims.get("scp"))
    texts = said.split() if isinstance(said, str) else said if isinstance(said, list) else []
    found: list[str] = []
    for text in dict.fromkeys(one for one in texts if isinstance(one, str)):
        try:
            found += scoping.known([text], server.services)
        except OAuthError:
            continue
    if not any(one.startswith(scoping.RESOURCES) for one in found):
        raise Refused("the access token has no scope that says what may be read or written")
    return found


def _require(scopes: list[str], is_known: bool, patient: object) -> None:
    """https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html. Raises Refused."""
    contexts = {one.partition("/")[0] for one in scopes if one.startswith(scoping.RESOURCES)}
    if "system" in contexts and len(contexts) > 1:
        raise Refused("the access token mixes system/ scopes with those of a person")
    if contexts & {"user", "patient"} and not is_known:
        raise Refused(
            "the access token is of nobody who is known here: no Person has its iss|sub as identifier"
        )
    if patient is not None and not (isinstance(patient, str) and is_id(patient)):
        raise Refused("patient of the access token is no id")
    if "patient" in contexts and patient is None:
        raise Refused("the access token has patient/ scopes and names no patient")


async def _person(
    connection: Connection, server: Server, issuer: Issuer, claims: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The Person of the token. Raises Refused where its two ways of saying who it is contradict."""
    found = await known.person(connection, server.services, issuer.issuer, claims["sub"])
    said = claims.get("fhirUser")
    if not issuer.fhir_user or not isinstance(said, str):
        return found
    named = await known.of_reference(connection, server.services, said)
    if found is not None and (named is None or named["id"] != found["id"]):
        raise Refused("fhirUser of the access token is somebody else than its iss|sub")
    return named
