"""EHR launches: https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html#launch-app-ehr-launch

A launch is good once, for five minutes, for one client and one person. An EHR, a client that was registered
as one, opens it with a token that holds the scope `launch`: one that a person granted it opens launches of
that person, a backend service's of anybody.
"""

from __future__ import annotations

from datetime import timedelta
from time import time
from typing import Any, Final
from urllib.parse import urlencode

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse

from fhirserver.db.pool import Connection
from fhirserver.errors import Unauthorized
from fhirserver.fhir.reference import is_id
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.oauth import clients, grants
from fhirserver.oauth.clients import Client
from fhirserver.oauth.context import Server, hashed, new_secret, now
from fhirserver.oauth.errors import NO_STORE, OAuthError
from fhirserver.oauth.form import json_of
from fhirserver.people import identity
from fhirserver.policy.token import Claims, unseal

LIFETIME_S: Final = 300
_KIND: Final = "launch"
_USERS: Final = frozenset({"Practitioner", "Patient", "RelatedPerson", "Person"})
_TEXTS: Final = ("patient", "encounter", "intent")
_KNOWN: Final = frozenset({"client_id", "user", "fhirContext", "need_patient_banner", *_TEXTS})


async def open_launch(request: Request, server: Server) -> JSONResponse:
    """POST of JSON (client_id, user, patient, encounter, fhirContext, intent, need_patient_banner): 201 with
    `launch` and, where the client registered one, the address to open."""
    given = await json_of(request)
    async with server.services.pool.acquire() as connection:
        claims = await _caller(connection, server, request.headers.get("authorization", ""))
        client = await clients.find(connection, server.tenant, str(given.get("client_id", "")))
        if client is None or client.status != "approved":
            raise OAuthError("invalid_request", "client_id names no approved client")
        user = "/".join(claims.user) if claims.user else given.get("user")
        if claims.user and given.get("user") not in (None, user):
            raise OAuthError("access_denied", "a person's token opens launches of that person alone", 403)
        launch = await create(connection, server, client, _user(user), context_of(given))
    body: dict[str, Any] = {"launch": launch, "expires_in": LIFETIME_S}
    if address := address_of(server, client, launch):
        body["launch_uri"] = address
    return JSONResponse(body, 201, NO_STORE)


async def _caller(connection: Connection, server: Server, authorization: str) -> Claims:
    """The claims of a token that is good and holds the scope. Raises OAuthError: RFC 6750 section 3.1"""
    token = authorization[7:].strip() if authorization[:7].lower() == "bearer " else ""
    try:
        claims = unseal(token, server.services.token_secret)
    except Unauthorized:
        raise OAuthError("invalid_token", "opening a launch needs an access token", 401) from None
    grant = await grants.find(connection, server, claims.grant)
    if claims.tenant != server.tenant or claims.expires <= time() or grant is None or not grant.live:
        raise OAuthError("invalid_token", "the access token is not valid any more", 401)
    caller = await clients.find(connection, server.tenant, claims.client)
    if caller is None or not caller.is_ehr or _KIND not in claims.scopes:
        raise OAuthError(
            "insufficient_scope", "opening a launch needs the scope launch, and to be an EHR", 403
        )
    return claims


def _user(given: object) -> str:
    """`Practitioner/1` and the like: whose launch it is."""
    type_, _, id_ = given.partition("/") if isinstance(given, str) else ("", "", "")
    if type_ not in _USERS or not is_id(id_):
        raise OAuthError("invalid_request", f"user is a reference to one of {', '.join(sorted(_USERS))}")
    return f"{type_}/{id_}"


async def user_of(connection: Connection, server: Server, named: str) -> str:
    """Type and id of a user given so, or by the login. Raises OAuthError where there is none."""
    if "/" in named:
        return _user(named)
    person = await connection.fetchval(
        "SELECT person FROM auth.account WHERE tenant = $1 AND login = $2", server.tenant, named.lower()
    )
    who = await identity.of_person(connection, server.services, person) if person else None
    if who is None:
        raise OAuthError("invalid_request", f"there is no account {named}")
    return "/".join(who.user)


def context_of(given: dict[str, Any]) -> dict[str, Any]:
    """What the app is told: https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html

    Raises OAuthError for what is no launch context.
    """
    if unknown := sorted(given.keys() - _KNOWN):
        raise OAuthError("invalid_request", f"{unknown[0][:40]!r} is not of {', '.join(sorted(_KNOWN))}")
    found: dict[str, Any] = {}
    for name in _TEXTS:
        value = given.get(name)
        if value is not None:
            if not isinstance(value, str) or (name != "intent" and not is_id(value)):
                raise OAuthError("invalid_request", f"{name} is {'a text' if name == 'intent' else 'an id'}")
            found[name] = value
    banner = given.get("need_patient_banner", True)
    if not isinstance(banner, bool):
        raise OAuthError("invalid_request", "need_patient_banner is true or false")
    found["need_patient_banner"] = banner
    if (more := given.get("fhirContext")) is not None:
        if not isinstance(more, list) or not all(map(_is_context, more)):
            raise OAuthError("invalid_request", "fhirContext is a list of objects with a relative reference")
        found["fhirContext"] = more
    return found


def _is_context(one: object) -> bool:
    """fhirContext: an object with a reference, canonical or identifier, and perhaps a role."""
    if not isinstance(one, dict) or not {"reference", "canonical", "identifier"} & one.keys():
        return False
    reference = one.get("reference")
    if reference is None:
        return True
    type_, _, id_ = reference.partition("/") if isinstance(reference, str) else ("", "", "")
    return type_ in ENDPOINT_TYPES and is_id(id_)


async def create(
    connection: Connection, server: Server, client: Client, user: str, context: dict[str, Any]
) -> str:
    """A launch of `user` (type and id) into the client."""
    launch = new_secret()
    value = {"iss": server.base, "client": client.id, "user": user, "context": context}
    await connection.execute(
        "INSERT INTO auth.once (kind, hash, tenant, value, expires) VALUES ($1, $2, $3, $4, $5)",
        _KIND,
        hashed(launch),
        server.tenant,
        orjson.dumps(value).decode(),
        now() + timedelta(seconds=LIFETIME_S),
    )
    return launch


def address_of(server: Server, client: Client, launch: str) -> str | None:
    """What the EHR opens in a browser."""
    uri = client.metadata.get("launch_uri")
    if not uri:
        return None
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode({'iss': server.base, 'launch': launch})}"


async def look_at(
    connection: Connection, server: Server, client: str, launch: str, user: tuple[str, str] | None = None
) -> dict[str, Any]:
    """The context of a launch that is unused. Raises OAuthError where it is not this client's, or of
    somebody else than `user`."""
    value = await connection.fetchval(
        "SELECT value FROM auth.once WHERE kind = $1 AND hash = $2 AND tenant = $3 AND used IS NULL"
        " AND expires > clock_timestamp()",
        _KIND,
        hashed(launch),
        server.tenant,
    )
    return _checked(server, value, client, user)


async def use(
    connection: Connection, server: Server, client: str, launch: str, user: tuple[str, str]
) -> dict[str, Any]:
    """The same, and it is used up; of two at the same time one loses."""
    value = await connection.fetchval(
        "UPDATE auth.once SET used = clock_timestamp() WHERE kind = $1 AND hash = $2 AND tenant = $3"
        " AND used IS NULL AND expires > clock_timestamp() RETURNING value",
        _KIND,
        hashed(launch),
        server.tenant,
    )
    return _checked(server, value, client, user)


def _checked(server: Server, stored: object, client: str, user: tuple[str, str] | None) -> dict[str, Any]:
    value = orjson.loads(stored) if isinstance(stored, str) else {}
    if value.get("iss") != server.base or value.get("client") != client:
        raise OAuthError("invalid_request", "the launch is not known, was used, is too old or another app's")
    if user is not None and value["user"] != "/".join(user):
        raise OAuthError("access_denied", "the launch is somebody else's than who is signed in")
    return value["context"]
