"""The server that is looked at, and who looks: addresses, a client's identity, how a token is asked for."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey

from fhirserver.cli.smart.report import Failed, Report, expect, skip

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ORIGIN: Final = "https://smart-check.example"
"""Of a browser app that nobody has registered."""
SCOPES: Final = "launch/patient openid fhirUser offline_access patient/Patient.rs patient/Observation.rs"
_AHEAD_S: Final = 240

PrivateKey = RSAKey | ECKey


class KeyUnusable(ValueError):
    """A file that holds no private key for SMART's algorithms."""


def read_key(path: Path) -> PrivateKey:
    """The private key of a file: a JWK, the first private one of a JWK set, or PEM. Raises KeyUnusable."""
    try:
        text = path.read_text()
        if text.lstrip().startswith("{"):
            found = json.loads(text)
            keys = [key for key in found.get("keys", [found]) if "d" in key]
            (key, *_) = KeySet.import_key_set({"keys": keys}).keys
        elif "RSA PRIVATE" in text:
            key = RSAKey.import_key(text)
        else:
            key = _of_pem(text)
    except (OSError, ValueError, JoseError) as error:
        raise KeyUnusable(f"{path} holds no private key (JWK or PEM): {error}") from None
    if not isinstance(key, (RSAKey, ECKey)) or not key.is_private:
        raise KeyUnusable(f"{path} holds no private RSA or EC key")
    return key


def _of_pem(text: str) -> PrivateKey:
    try:
        return ECKey.import_key(text)
    except (ValueError, JoseError):
        return RSAKey.import_key(text)


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client: public, with a secret, or with a key (whose public half is registered)."""

    id: str
    redirect_uri: str = ""
    secret: str | None = None
    key: PrivateKey | None = None

    @property
    def is_public(self) -> bool:
        return self.secret is None and self.key is None

    @property
    def algorithm(self) -> str:
        """https://hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html"""
        return "ES384" if isinstance(self.key, ECKey) else "RS384"

    def assertion(
        self,
        audience: str,
        *,
        header: Mapping[str, Any] | None = None,
        key: PrivateKey | None = None,
        **changed: Any,
    ) -> str:
        """A client assertion; `changed` are claims that differ, None for those that are left out."""
        assert self.key is not None
        claims = {
            "iss": self.id,
            "sub": self.id,
            "aud": audience,
            "exp": int(time.time()) + _AHEAD_S,
            "jti": str(uuid4()),
        } | changed
        kid = self.key.kid or self.key.thumbprint()
        protected = {"alg": self.algorithm, "kid": kid, "typ": "JWT", **(header or {})}
        given = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(protected, given, key or self.key, algorithms=[protected["alg"]])


@dataclass(frozen=True, slots=True)
class Person:
    """Who signs in on the server's pages, and which patient they choose."""

    login: str
    password: str
    patient: str | None = None


@dataclass(slots=True)
class Target:
    """A FHIR base without a slash at its end, and what has been learned of it."""

    base: str
    http: httpx.Client
    report: Report
    client: Client | None = None
    person: Person | None = None
    scopes: str = SCOPES
    launch: str | None = None
    wire: httpx.BaseTransport | None = None
    configuration: dict[str, Any] = field(default_factory=dict)
    openid: dict[str, Any] = field(default_factory=dict)
    keys: list[dict[str, Any]] = field(default_factory=list)

    def url(self, name: str) -> str:
        """An address of the SMART configuration. Raises Skipped when it is not there."""
        found = self.configuration.get(name)
        if not isinstance(found, str) or not found.startswith(("http://", "https://")):
            skip(f"the SMART configuration has no address {name}")
        return found

    @property
    def capabilities(self) -> frozenset[str]:
        found = self.configuration.get("capabilities")
        return (
            frozenset(one for one in found if isinstance(one, str))
            if isinstance(found, list)
            else frozenset()
        )

    def known_client(self) -> Client:
        """Raises Skipped without one."""
        if self.client is None:
            skip("needs --client-id")
        return self.client

    def post(
        self, url: str, form: Mapping[str, str], *, client: Client | None = None, **headers: str
    ) -> httpx.Response:
        """POST a form, authenticated as the client."""
        fields = dict(form)
        if client is not None and client.key is not None:
            fields |= {
                "client_assertion_type": ASSERTION_TYPE,
                "client_assertion": client.assertion(self.url("token_endpoint")),
            }
        elif client is not None and client.secret is not None:
            pair = f"{quote(client.id, safe='')}:{quote(client.secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        elif client is not None:
            fields["client_id"] = client.id
        return self.http.post(url, data=fields, headers=headers)

    def token(
        self, form: Mapping[str, str], *, client: Client | None = None, **headers: str
    ) -> httpx.Response:
        """Ask the token endpoint."""
        return self.post(self.url("token_endpoint"), form, client=client, **headers)

    def fhir(self, path: str, token: str | None = None, **headers: str) -> httpx.Response:
        """GET below the FHIR base."""
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return self.http.get(f"{self.base}/{path}", headers={"Accept": "application/fhir+json"} | headers)


def body_of(response: httpx.Response) -> dict[str, Any]:
    """The JSON object that was answered. Raises Failed."""
    try:
        found = response.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Failed(f"{status_of(response)} without a JSON object")
    return found


def status_of(response: httpx.Response) -> str:
    """The status as a reason names it."""
    request = response.request
    return f"{request.method} {request.url.path} answered {response.status_code}"


def expect_status(response: httpx.Response, *allowed: int) -> None:
    """Raises Failed for any other."""
    wanted = " or ".join(str(one) for one in allowed)
    detail = ""
    if response.headers.get("content-type", "").startswith("application/json"):
        detail = f": {response.text[:200]}"
    expect(response.status_code in allowed, f"{status_of(response)}, not {wanted}{detail}")


def expect_error(response: httpx.Response, statuses: tuple[int, ...], *codes: str) -> None:
    """An error of RFC 6749 section 5.2. Raises Failed."""
    expect_status(response, *statuses)
    code = body_of(response).get("error")
    expect(isinstance(code, str) and code, f"{status_of(response)} without a text in 'error'")
    expect(not codes or code in codes, f"error is {code!r}, not {' or '.join(codes)}")
    expect_not_stored(response)


def expect_not_stored(response: httpx.Response) -> None:
    """RFC 6749 section 5.1."""
    sent = response.headers.get("cache-control", "")
    expect("no-store" in sent.lower(), f"Cache-Control is {sent!r}, without no-store")


def expect_origin(response: httpx.Response, origin: str) -> None:
    """A browser app of this origin may read the answer. Raises Failed."""
    sent = response.headers.get("access-control-allow-origin")
    expect(sent in ("*", origin), f"Access-Control-Allow-Origin is {sent!r} for Origin {origin}")
