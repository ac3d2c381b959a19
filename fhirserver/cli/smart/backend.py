"""Backend services: https://hl7.org/fhir/smart-app-launch/STU2.2/backend-services.html"""

from __future__ import annotations

import hmac
import json
import time
from base64 import urlsafe_b64encode
from typing import Any, Final

from joserfc.jwk import ECKey, RSAKey

from fhirserver.cli.smart.report import Failed, doubt, expect, skip
from fhirserver.cli.smart.target import (
    ASSERTION_TYPE,
    Client,
    Target,
    body_of,
    expect_error,
    expect_not_stored,
    expect_status,
)

SCOPES: Final = "system/Patient.rs system/Observation.rs"
_LIFETIME_S: Final = 300
_HOUR_S: Final = 3_600


def look(target: Target) -> None:
    """All of this module, with the client's own key."""
    target.report.group = "Backend services"
    client = target.known_client()
    _refuses(target, client)
    token = _token(target, client)
    _use(target, client, token)


def _ask(target: Target, client: Client, assertion: str, **changed: str) -> Any:
    form = {
        "grant_type": "client_credentials",
        "scope": _scopes(target),
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion,
    }
    return target.token({name: value for name, value in (form | changed).items() if value})


def _scopes(target: Target) -> str:
    asked = [scope for scope in target.scopes.split() if scope.startswith("system/")]
    return " ".join(asked) or SCOPES


def _refuses(target: Target, client: Client) -> None:
    check, audience = target.report.check, target.url("token_endpoint")
    with check("refuses a grant_type that is none"):
        expect_error(_ask(target, client, client.assertion(audience), grant_type="not_a_grant_type"), (400,))
    with check("refuses a client_assertion_type that is none"):
        response = _ask(target, client, client.assertion(audience), client_assertion_type="not_an_assertion")
        expect_error(response, (400, 401))
    with check("refuses scopes that are not system/"):
        response = _ask(target, client, client.assertion(audience), scope="patient/Patient.rs")
        expect_error(response, (400,), "invalid_scope")
    now = int(time.time())
    claims: dict[str, dict[str, Any]] = {
        "iss and sub that differ": {"sub": "somebody-else"},
        "another aud": {"aud": "https://smart-check.example/token"},
        "no aud": {"aud": None},
        "an exp that is over": {"exp": now - _HOUR_S},
        "an exp that is more than five minutes ahead": {"exp": now + _HOUR_S},
        "no exp": {"exp": None},
        "an iat of the future": {"iat": now + _HOUR_S},
        "no jti": {"jti": None},
    }
    for what, changed in claims.items():
        with check(f"refuses an assertion with {what}"):
            expect_error(_ask(target, client, client.assertion(audience, **changed)), (400, 401))
    _refuses_keys(target, client, audience)
    with check("refuses a jti that was used before"):
        again = client.assertion(audience)
        expect_status(_ask(target, client, again), 200)
        expect_error(_ask(target, client, again), (400, 401))


def _refuses_keys(target: Target, client: Client, audience: str) -> None:
    assert client.key is not None
    rsa = isinstance(client.key, RSAKey)
    other = RSAKey.generate_key(2048) if rsa else ECKey.generate_key("P-384")
    forged = {
        "the signature of another key": client.assertion(audience, key=other),
        "another key inside": client.assertion(
            audience, key=other, header={"jwk": other.as_dict(private=False)}
        ),
        "a jku that is not registered": client.assertion(
            audience, key=other, header={"jku": "https://smart-check.example/jwks"}
        ),
        "an unknown kid": client.assertion(audience, header={"kid": "smart-check-unknown"}),
        "the public key as a shared secret (HS256)": _resigned(client, audience, "HS256"),
        "alg none": _resigned(client, audience, "none"),
    }
    for what, assertion in forged.items():
        with target.report.check(f"refuses an assertion with {what}"):
            expect_error(_ask(target, client, assertion), (400, 401))


def _resigned(client: Client, audience: str, algorithm: str) -> str:
    """An assertion that libraries refuse to make: by a public key as secret, or not signed at all."""
    assert client.key is not None
    header = {"alg": algorithm, "typ": "JWT", "kid": client.key.kid or client.key.thumbprint()}
    claims = client.assertion(audience).split(".")[1]
    text = f"{_encoded(json.dumps(header).encode())}.{claims}"
    if algorithm == "none":
        return f"{text}."
    return f"{text}.{_encoded(hmac.digest(client.key.as_pem(private=False), text.encode(), 'sha256'))}"


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _token(target: Target, client: Client) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with target.report.check("gives a token of the scopes, with all fields, for five minutes at most"):
        response = _ask(target, client, client.assertion(target.url("token_endpoint")))
        expect_status(response, 200)
        expect_not_stored(response)
        body = body_of(response)
        for name in ("access_token", "token_type", "scope"):
            expect(isinstance(body.get(name), str) and body[name], f"{name} is no text")
        expect(body["token_type"].lower() == "bearer", f"token_type is {body['token_type']!r}")
        lifetime = body.get("expires_in")
        if not isinstance(lifetime, int) or lifetime <= 0:
            raise Failed(f"expires_in is {lifetime!r}")
        found = body
        if body.get("refresh_token"):
            doubt("a backend service has no use for a refresh token")
        if lifetime > _LIFETIME_S:
            doubt(f"expires_in is {lifetime}; {_LIFETIME_S} is recommended")
    return found


def _use(target: Target, client: Client, body: dict[str, Any]) -> None:
    check = target.report.check
    token = body.get("access_token", "")

    def needed() -> str:
        return token or skip("there is no token")

    with check("the token reads what its scopes say, and nothing else"):
        expect_status(target.fhir("Patient?_count=1", needed()), 200)
        if "*" not in body["scope"] and "Practitioner" not in body["scope"]:
            expect_status(target.fhir("Practitioner?_count=1", token), 403)
    with check("introspection tells client, scopes and expiry"):
        form = {"token": needed()}
        found = body_of(target.post(target.url("introspection_endpoint"), form, client=client))
        expect(found.get("active") is True, f"active is {found.get('active')!r}")
        expect(found.get("client_id") == client.id, f"client_id is {found.get('client_id')!r}")
        expect(set(found.get("scope", "").split()) == set(body["scope"].split()), "scope differs")
        expect(isinstance(found.get("exp"), int) and found["exp"] > time.time(), "exp is not of the future")
    with check("a revoked token is refused at the next request"):
        expect_status(target.post(target.url("revocation_endpoint"), {"token": needed()}, client=client), 200)
        expect_status(target.fhir("Patient?_count=1", token), 401)
