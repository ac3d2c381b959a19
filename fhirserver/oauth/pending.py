"""An authorization request on its way from `/auth/authorize` to a code.

Nothing is stored before somebody has agreed: the request travels with the browser, sealed, for ten minutes.
RFC 6749 section 4.1.1, RFC 7636 section 4.3, OpenID Connect Core section 3.1.2.1
"""

from __future__ import annotations

import re
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from time import time
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec

from fhirserver.oauth import scopes as scoping
from fhirserver.oauth.clients import Client
from fhirserver.oauth.context import Server
from fhirserver.oauth.errors import OAuthError
from fhirserver.people import sealed
from fhirserver.people.sessions import Session

LIFETIME_S: Final = 600
STATE_LENGTH_MAX: Final = 2_000
_PURPOSE: Final = "authorization"
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_REFUSED: Final = {"request": "request_not_supported", "request_uri": "request_uri_not_supported"}
"""OpenID Connect Core section 3.1.2.6"""


class Pending(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was asked for, and what was chosen since. `began` is in seconds since the epoch; `session` is that
    of whoever made the choices, in hexadecimal."""

    client: str
    redirect_uri: str
    state: str
    scopes: tuple[str, ...]
    challenge: str
    began: int
    nonce: str | None = None
    launch: str | None = None
    again: bool = False
    max_age: int | None = None
    session: str | None = None
    patient: str | None = None

    @property
    def needs_patient(self) -> bool:
        """A `patient/` grant always has a patient."""
        return any(one == "launch/patient" or one.startswith("patient/") for one in self.scopes)

    def is_stale(self, session: Session) -> bool:
        """Whether whoever is signed in has to show again who they are."""
        if self.again:
            return session.created.timestamp() < self.began
        return self.max_age is not None and session.created.timestamp() < self.began - self.max_age


def read(server: Server, client: Client, redirect_uri: str, given: Mapping[str, str]) -> Pending:
    """The request of a client, from an address that is its own. Raises OAuthError."""
    for name, error in _REFUSED.items():
        if name in given:
            raise OAuthError(error, f"{name} is not supported")
    if given.get("response_type") != "code":
        raise OAuthError("unsupported_response_type", "response_type is code")
    if given.get("response_mode", "query") != "query":
        raise OAuthError("invalid_request", "response_mode is query")
    if not given.get("state"):
        raise OAuthError("invalid_request", "state is missing")
    if "authorization_code" not in client.grant_types:
        raise OAuthError("unauthorized_client", "the client is not registered for authorization_code")
    _check_audience(server, given)
    _check_challenge(given)
    prompts = given.get("prompt", "").split()
    return Pending(
        client=client.id,
        redirect_uri=redirect_uri,
        state=given["state"],
        scopes=_scopes(server, client, given),
        challenge=given["code_challenge"],
        began=int(time()),
        nonce=given.get("nonce"),
        launch=given.get("launch"),
        again="login" in prompts or "select_account" in prompts,
        max_age=_max_age(given.get("max_age")),
    )


def _check_audience(server: Server, given: Mapping[str, str]) -> None:
    """A token must not end at a server that only claims to be this one."""
    audience = given.get("aud") or given.get("resource")
    if not audience:
        raise OAuthError("invalid_request", "aud is missing: the FHIR base that the token is for")
    if audience.rstrip("/") not in server.services.settings.fhir_bases:
        raise OAuthError("invalid_request", f"aud is not the FHIR base of this server, {server.base}")


def _check_challenge(given: Mapping[str, str]) -> None:
    if given.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(
        given.get("code_challenge", "")
    ):
        raise OAuthError("invalid_request", "PKCE is needed: code_challenge, with method S256")


def _max_age(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise OAuthError("invalid_request", "max_age is a number of seconds")
    return int(text)


def _scopes(server: Server, client: Client, given: Mapping[str, str]) -> tuple[str, ...]:
    """What can be granted of what was asked for."""
    asked = scoping.requested(given.get("scope", ""))
    if any(one.startswith("system/") for one in asked):
        raise OAuthError("invalid_scope", "system/ scopes are for backend services, and mix with no others")
    found = scoping.registered(client, scoping.known(asked, server.services))
    if "launch" in found and not given.get("launch"):
        found.remove("launch")  # without a launch it would promise a context that nobody gave
    if not found:
        raise OAuthError("invalid_scope", "none of the scopes is known here and registered for the client")
    return tuple(found)


def _purpose(server: Server) -> str:
    """What was asked for was looked at for a client of one tenant; another's may have the same id."""
    return f"{_PURPOSE}|{server.tenant}"


def seal(server: Server, pending: Pending) -> str:
    """The request as text that only this server can read or make."""
    packed = b64encode(zlib.compress(msgspec.json.encode(pending), 9)).decode()
    return sealed.seal(server.services.token_secret, _purpose(server), packed)


def unseal(server: Server, text: str) -> Pending | None:
    """The request of a ticket; None for one that is too old or not this server's and tenant's."""
    packed = sealed.unseal(server.services.token_secret, _purpose(server), text, LIFETIME_S)
    if not isinstance(packed, str):
        return None
    return msgspec.json.decode(zlib.decompress(b64decode(packed)), type=Pending)


def answer(server: Server, redirect_uri: str, **given: str | None) -> str:
    """Where the browser goes back to, with whose answer it is: RFC 6749 section 4.1.2, RFC 9207."""
    parts = urlsplit(redirect_uri)
    named = {name: value for name, value in given.items() if value is not None} | {"iss": server.base}
    query = "&".join(part for part in (parts.query, urlencode(named)) if part)
    return urlunsplit(parts._replace(query=query))


def refusal(server: Server, redirect_uri: str, state: str | None, error: OAuthError) -> str:
    """The same with an error: RFC 6749 section 4.1.2.1"""
    return answer(
        server, redirect_uri, error=error.error, error_description=error.plain_description, state=state
    )
