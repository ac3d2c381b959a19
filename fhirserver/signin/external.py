"""Signing in through another server: OpenID Connect Core 1.0 section 3.1, with PKCE and a nonce.

The browser goes there and comes back with a code. What is waited for is kept here, once, and bound to the
browser by a cookie: nobody can be signed in as somebody else by a link (RFC 9700 section 4.7).
"""

from __future__ import annotations

import hmac
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from secrets import token_urlsafe
from typing import Any, Final
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response

from fhirserver.interactions.call import Services
from fhirserver.issuers import known, signed
from fhirserver.issuers.jose import Refused
from fhirserver.issuers.trust import Issuer, Trust
from fhirserver.observe import log
from fhirserver.outbound import Unusable
from fhirserver.pages import Trouble, redirect, services_of
from fhirserver.people import once, sessions
from fhirserver.people.places import address, onward
from fhirserver.signin.doors import trust_of
from fhirserver.signin.enter import proceed

LIFETIME_S: Final = 600
_KIND: Final = "external"
_COOKIE: Final = "elsewhere"
_LATE: Final = ("That took too long", "Please start again and sign in once more.")
_FAILED: Final = "That sign-in did not work"
_logger: Any = log.get("issuers")


async def leave(request: Request) -> Response:
    """GET: to the sign-in page of an issuer."""
    services, trust = services_of(request), trust_of(request)
    issuer = _door(trust, request.path_params["number"])
    verifier, nonce, cookie = (token_urlsafe(32) for _ in range(3))
    kept = {
        "issuer": issuer.issuer,
        "nonce": nonce,
        "verifier": verifier,
        "cookie": _hashed(cookie),
        "next": onward(services, request.query_params.get("next")),
    }
    try:
        place = await trust.endpoint(issuer, "authorization_endpoint")
    except Unusable as error:
        raise _trouble(issuer, f"{error}", 502) from None
    async with services.pool.acquire() as connection:
        state = await once.put(connection, services, _KIND, kept, LIFETIME_S)
    asked = {
        "response_type": "code",
        "client_id": issuer.client_id or "",
        "redirect_uri": address(services, "sign-in/back"),
        "scope": "openid",
        "state": state,
        "nonce": nonce,
        "code_challenge": urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
        **({"prompt": "login"} if request.query_params.get("again") == "1" else {}),
    }
    response = redirect(f"{place}{'&' if '?' in place else '?'}{urlencode(asked)}")
    sessions.give_cookie(services, response, cookie, _COOKIE)
    return response


def _door(trust: Trust, number: int) -> Issuer:
    doors = trust.doors
    if number >= len(doors):
        raise Trouble(
            404, "There is no such way to sign in", "Go back to the sign-in page and choose another."
        )
    return doors[number]


async def arrive(request: Request) -> Response:
    """GET: back with a code, or with an error."""
    services, trust, given = services_of(request), trust_of(request), request.query_params
    async with services.pool.acquire() as connection:
        kept = await once.take(connection, services, _KIND, given.get("state", ""))
    cookie = sessions.cookie(services, request, _COOKIE) or ""
    if kept is None or not hmac.compare_digest(kept["cookie"], _hashed(cookie)):
        raise Trouble(403, *_LATE)
    issuer = trust.issuers.get(kept["issuer"])
    if issuer is None or not issuer.client_id:
        raise Trouble(403, *_LATE)
    if given.get("iss", issuer.issuer) != issuer.issuer:  # RFC 9207
        raise _trouble(issuer, "the answer is another issuer's")
    if "code" not in given:
        raise _trouble(issuer, "it gave no code")
    try:
        claims = await _claims(services, trust, issuer, kept, given["code"])
    except (Unusable, Refused) as error:
        raise _trouble(issuer, f"{error}") from None
    response = await _enter(request, services, issuer, claims["sub"], kept["next"])
    sessions.give_cookie(services, response, "", _COOKIE)
    return response


def _trouble(issuer: Issuer, reason: str, status: int = 403) -> Trouble:
    """What people are told; the reason is for those who look after this server."""
    _logger.warning("sign_in_elsewhere_failed", issuer=issuer.issuer, reason=reason)
    return Trouble(status, _FAILED, f"{issuer.label} did not say who you are. Go back and try again.")


async def _claims(
    services: Services, trust: Trust, issuer: Issuer, kept: Mapping[str, Any], code: str
) -> dict[str, Any]:
    """The claims of the id token that the code is exchanged for. Raises Unusable, Refused."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": address(services, "sign-in/back"),
        "code_verifier": kept["verifier"],
    }
    client, secret = issuer.client_id or "", trust.secrets.get(issuer.issuer)
    headers: dict[str, str] = {}
    if secret is None:
        form["client_id"] = client
    else:  # RFC 6749 section 2.3.1
        pair = f"{quote(client, safe='')}:{quote(secret, safe='')}"
        headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    reply = await trust.outbound.post(await trust.endpoint(issuer, "token_endpoint"), form, headers)
    token = (reply.document() or {}).get("id_token")
    if reply.status != 200 or not isinstance(token, str):
        raise Refused("it gave no id token for the code")
    claims = await signed.claims_of(trust, issuer, token, client)
    if claims.get("azp", client) != client or not hmac.compare_digest(
        str(claims.get("nonce")), kept["nonce"]
    ):
        raise Refused("the id token was made for another request")
    return claims


async def _enter(
    request: Request, services: Services, issuer: Issuer, subject: str, wanted: str | None
) -> Response:
    """In, as the Person whom the issuer means."""
    async with services.pool.acquire() as connection:
        person = await known.person(connection, services, issuer.issuer, subject)
        if person is None:
            raise Trouble(
                403,
                "You are not known here yet",
                f"{issuer.label} knows you as {subject}. Tell this to those who look after this server:"
                " they can link it to your record.",
            )
        account = await known.account(connection, services, person["id"], issuer.issuer, subject)
    if account.disabled:
        raise Trouble(403, "This account may not sign in", "Ask who looks after this server.")
    return await proceed(request, services, account, wanted, proved=not account.totp)


def _hashed(value: str) -> str:
    return sha256(value.encode()).hexdigest()
