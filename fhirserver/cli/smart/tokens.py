"""From the code to tokens, and what these are good for.

https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html#response-5, OpenID Connect Core section 3.1.3.7
"""

from __future__ import annotations

import re
import time
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from fhirserver.cli.smart.challenge import Challenge
from fhirserver.cli.smart.report import Failed, doubt, expect, skip
from fhirserver.cli.smart.target import (
    Client,
    Target,
    body_of,
    expect_error,
    expect_not_stored,
    expect_origin,
    expect_status,
)

PEOPLE: Final = frozenset({"Patient", "Practitioner", "PractitionerRole", "RelatedPerson", "Person"})
SKEW_S: Final = 60
_HOUR_S: Final = 3_600
_REFERENCE: Final = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64}")
_CLAIMS: Final = ("iss", "sub", "aud", "exp", "iat")


def code_form(client: Client, challenge: Challenge, code: str) -> dict[str, str]:
    """The form that exchanges a code."""
    return {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": client.redirect_uri,
        "code_verifier": challenge.verifier,
    }


def exchange(target: Target, client: Client, challenge: Challenge, code: str) -> dict[str, Any]:
    """The token response for a code. Raises Failed."""
    response = target.token(code_form(client, challenge, code), client=client, **_origin(client))
    expect_status(response, 200)
    expect_not_stored(response)
    pragma = response.headers.get("pragma", "")
    expect("no-cache" in pragma.lower(), f"Pragma is {pragma!r}, without no-cache")
    if origin := _origin(client).get("Origin"):
        expect_origin(response, origin)
    return body_of(response)


def _origin(client: Client) -> dict[str, str]:
    """Public clients are browser apps as far as the suites are concerned."""
    parts = urlsplit(client.redirect_uri)
    if not client.is_public or parts.scheme not in ("http", "https"):
        return {}
    return {"Origin": f"{parts.scheme}://{parts.netloc}"}


def look(target: Target, client: Client, challenge: Challenge, answer: dict[str, Any]) -> None:
    """All that a token response promises."""
    target.report.group = "Token response"
    _fields(target, answer)
    _context(target, answer)
    target.report.group = "OpenID Connect"
    user = _id_token(target, client, challenge, answer)
    target.report.group = "Access"
    _access(target, client, answer, user)
    target.report.group = "Introspection and revocation"
    _introspection(target, client, answer)
    target.report.group = "Refresh"
    _refresh(target, client, answer)


def expect_fields(body: dict[str, Any]) -> None:
    """The fields that every token response has, of their types. Raises Failed."""
    for name in ("access_token", "token_type", "scope"):
        expect(isinstance(body.get(name), str) and body[name], f"{name} is no text")
    expect(body["token_type"].lower() == "bearer", f"token_type is {body['token_type']!r}")
    lifetime = body.get("expires_in")
    if not isinstance(lifetime, int) or isinstance(lifetime, bool):
        raise Failed(f"expires_in is {lifetime!r}")
    if (refresh := body.get("refresh_token")) is not None:
        expect(isinstance(refresh, str), "refresh_token is no text")
    expect(lifetime <= _HOUR_S, f"expires_in is {lifetime}, more than an hour")


def _fields(target: Target, answer: dict[str, Any]) -> None:
    with target.report.check("has access_token, token_type, expires_in and scope, of their types"):
        expect_fields(answer)
    with target.report.check("grants what was asked for"):
        missing = set(target.scopes.split()) - set(str(answer.get("scope", "")).split())
        if missing:
            doubt(f"not granted: {' '.join(sorted(missing))}")


def _context(target: Target, answer: dict[str, Any]) -> None:
    check = target.report.check
    with check("names the patient by id when patient/ scopes or launch/patient were granted"):
        granted = str(answer.get("scope", ""))
        if "patient/" not in granted and "launch/patient" not in granted:
            skip("no such scope was granted")
        patient = answer.get("patient")
        expect(isinstance(patient, str) and patient and "/" not in patient, f"patient is {patient!r}")
    with check("has launch context of the types that STU2.2 gives it"):
        if (banner := answer.get("need_patient_banner")) is not None:
            expect(isinstance(banner, bool), f"need_patient_banner is {banner!r}")
        if (style := answer.get("smart_style_url")) is not None:
            expect(str(style).startswith("http"), f"smart_style_url is {style!r}")
            expect_status(target.http.get(style), 200)
        context = answer.get("fhirContext")
        expect(context is None or isinstance(context, list), f"fhirContext is {context!r}")
        for one in context or []:
            expect(isinstance(one, dict), f"fhirContext holds {one!r}, not an object")
            known = [one.get(name) for name in ("reference", "canonical", "identifier")]
            expect(any(known), "an object of fhirContext has no reference, canonical or identifier")
            if reference := one.get("reference"):
                expect(_REFERENCE.fullmatch(str(reference)), f"reference {reference!r} is not relative")


def _id_token(target: Target, client: Client, challenge: Challenge, answer: dict[str, Any]) -> str | None:
    """Its fhirUser."""
    claims: dict[str, Any] = {}
    with target.report.check("id token is signed by RS256 with a published key"):
        text = answer.get("id_token")
        if text is None and "openid" not in target.scopes.split():
            skip("openid was not asked for")
        expect(isinstance(text, str) and text, "there is no id_token")
        try:
            keys = KeySet.import_key_set({"keys": [key for key in target.keys if key.get("kty") == "RSA"]})
            found = jwt.decode(str(text), keys, algorithms=["RS256"])
        except (JoseError, ValueError) as error:
            expect(False, f"{type(error).__name__}: {error}")
            raise AssertionError from error
        expect(found.header.get("kid"), "kid is missing")
        claims = found.claims
    with target.report.check("id token has the required claims, for this client and this request"):
        if not claims:
            skip("there is no verified id token")
        missing = [name for name in _CLAIMS if not claims.get(name)]
        expect(not missing, f"missing: {', '.join(missing)}")
        expect(claims["iss"] == target.openid.get("issuer"), f"iss is {claims['iss']!r}")
        audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        expect(client.id in audience, f"aud is {claims['aud']!r}")
        expect(
            isinstance(claims["sub"], str) and len(claims["sub"]) < 256, "sub has more than 255 characters"
        )
        expect(claims["exp"] > time.time() - SKEW_S, "exp is over")
        expect(claims["iat"] < time.time() + SKEW_S, "iat is of the future")
        expect(claims.get("nonce") == challenge.nonce, "nonce is not the request's")
    user = claims.get("fhirUser")
    return user if isinstance(user, str) else None


def _access(target: Target, client: Client, answer: dict[str, Any], user: str | None) -> None:
    check, token = target.report.check, str(answer.get("access_token", ""))
    with check("who signed in (fhirUser) is an absolute address that the token reads"):
        if "fhirUser" not in target.scopes.split():
            skip("fhirUser was not asked for")
        expect(user, "the id token has no fhirUser")
        assert user is not None
        expect(user.startswith(f"{target.base}/"), f"fhirUser is {user!r}")
        path = user.removeprefix(f"{target.base}/")
        expect(path.partition("/")[0] in PEOPLE, f"fhirUser is {user!r}")
        response = target.fhir(path, token, **_origin(client))
        expect_status(response, 200)
        expect(body_of(response).get("resourceType") == path.partition("/")[0], "it is of another type")
        if origin := _origin(client).get("Origin"):
            expect_origin(response, origin)
    patient = answer.get("patient")
    with check("the patient in context can be read with the token, and not without"):
        if not patient:
            skip("there is no patient in context")
        response = target.fhir(f"Patient/{patient}", token)
        expect_status(response, 200)
        expect(body_of(response).get("resourceType") == "Patient", "it is no Patient")
        expect_status(target.fhir(f"Patient/{patient}"), 401)
    with check("the encounter in context can be read with the token"):
        encounter = answer.get("encounter") or skip("there is no encounter in context")
        expect_status(target.fhir(f"Encounter/{encounter}", token), 200)


def _introspection(target: Target, client: Client, answer: dict[str, Any]) -> None:
    with target.report.check("introspection tells the same as the token response"):
        if client.is_public:
            skip("needs a client with --client-secret or --key")
        form = {"token": str(answer.get("access_token"))}
        response = target.post(target.url("introspection_endpoint"), form, client=client)
        expect_status(response, 200)
        found = body_of(response)
        expect(found.get("active") is True, f"active is {found.get('active')!r}")
        expect(found.get("client_id") == client.id, f"client_id is {found.get('client_id')!r}")
        scopes = set(str(found.get("scope", "")).split())
        expect(scopes == set(answer["scope"].split()), f"scope is {found.get('scope')!r}")
        expect(
            isinstance(found.get("exp"), int) and found["exp"] > time.time(), f"exp is {found.get('exp')!r}"
        )
        for name in ("patient", "encounter"):
            expect(found.get(name) == answer.get(name), f"{name} is {found.get(name)!r}")
        if "id_token" in answer:
            claims = _unverified(str(answer["id_token"]))
            for name in ("iss", "sub"):
                expect(found.get(name) == claims.get(name), f"{name} is {found.get(name)!r}")
            if found.get("fhirUser") != claims.get("fhirUser"):
                doubt(f"fhirUser is {found.get('fhirUser')!r}")


def _unverified(text: str) -> dict[str, Any]:
    """The claims of a JWT. Raises Failed."""
    try:
        return orjson.loads(jws.extract_compact(text.encode()).payload)
    except (JoseError, ValueError) as error:
        raise Failed(f"the id token is no JWT: {error}") from None


def _refresh(target: Target, client: Client, answer: dict[str, Any]) -> None:
    check, newest = target.report.check, answer

    def refreshed(**more: str) -> dict[str, Any]:
        token = newest.get("refresh_token")
        if not token:
            skip("there is no refresh token (offline_access or online_access is needed)")
        form = {"grant_type": "refresh_token", "refresh_token": str(token), **more}
        response = target.token(form, client=client)
        expect_status(response, 200)
        expect_not_stored(response)
        body = body_of(response)
        expect_fields(body)
        extra = set(body["scope"].split()) - set(answer["scope"].split())
        expect(not extra, f"more was granted: {' '.join(sorted(extra))}")
        return {"refresh_token": token} | body

    used = None
    with check("without scopes gives a token"):
        used = newest.get("refresh_token")
        newest = refreshed()
    with check("with the scopes granted gives a token, which reads the patient"):
        newest = refreshed(scope=str(answer.get("scope")))
        if patient := answer.get("patient"):
            expect_status(target.fhir(f"Patient/{patient}", newest["access_token"]), 200)
    with check("with more scopes is refused"):
        if not newest.get("refresh_token"):
            skip("there is no refresh token")
        form = {"grant_type": "refresh_token", "refresh_token": newest["refresh_token"]}
        response = target.token(form | {"scope": f"{answer['scope']} user/*.cruds"}, client=client)
        if response.status_code == 200:
            newest = {"refresh_token": newest["refresh_token"]} | body_of(response)
            expect("user/*.cruds" not in newest["scope"].split(), "more was granted")
        else:
            expect_error(response, (400,), "invalid_scope")
    with check("a refresh token that was used is refused, and takes its family with it"):
        if not used or used == newest.get("refresh_token"):
            skip("refresh tokens are not rotated")
        form = {"grant_type": "refresh_token", "refresh_token": str(used)}
        expect_error(target.token(form, client=client), (400, 401), "invalid_grant")
        if target.fhir("Patient", newest["access_token"]).status_code != 401:
            doubt("tokens of the family go on working (RFC 9700 section 4.14.2)")
