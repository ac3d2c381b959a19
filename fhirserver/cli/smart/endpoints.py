"""What the endpoints do for those who may not: no code, no token, no data, and errors by the book.

RFC 6749 sections 4.1.2.1 and 5.2, RFC 7662, RFC 7009, RFC 6750 section 3
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs, urlsplit

import httpx

from fhirserver.cli.smart.challenge import Challenge
from fhirserver.cli.smart.report import doubt, expect, skip
from fhirserver.cli.smart.target import (
    Client,
    Target,
    body_of,
    expect_error,
    expect_origin,
    expect_status,
    status_of,
)

NOBODY: Final = Client("smart-check-unknown-client", "https://smart-check.example/callback")
_REDIRECTS: Final = (301, 302, 303, 307, 308)


def look(target: Target) -> None:
    """All of this module."""
    target.report.group = "Authorization endpoint"
    _authorize_for_nobody(target)
    _authorize_wrongly(target)
    target.report.group = "Token endpoint"
    _token_for_nobody(target)
    _token_for_client(target)
    target.report.group = "Introspection and revocation"
    _introspection(target)
    target.report.group = "FHIR without a token"
    _data_for_nobody(target)
    target.report.group = "Browser apps (CORS)"
    _browser_app(target)


def authorize(target: Target, parameters: dict[str, str], method: str = "GET") -> httpx.Response:
    """Ask the authorization endpoint as a browser would that is not signed in."""
    url = target.url("authorization_endpoint")
    if method == "POST":
        return target.http.post(url, data=parameters)
    return target.http.get(url, params=parameters)


def expect_page(response: httpx.Response, redirect_uri: str) -> None:
    """An error that is shown, and sent nowhere: the address cannot be trusted. RFC 6749 section 4.1.2.1"""
    location = response.headers.get("location", "")
    expect(not location.startswith(redirect_uri), f"{status_of(response)} and sent the error to {location}")
    expect(400 <= response.status_code < 500, f"{status_of(response)}, not an error page")


def _authorize_for_nobody(target: Target) -> None:
    parameters = Challenge.new().request(target, NOBODY, target.scopes)
    for method in ("GET", "POST"):
        with target.report.check(f"{method} with an unknown client is an error page, never a redirect"):
            if method == "POST" and "authorize-post" not in target.capabilities:
                skip("authorize-post is not among the capabilities")
            expect_page(authorize(target, parameters, method), NOBODY.redirect_uri)
    with target.report.check("without a client is an error page, never a redirect"):
        left = {name: value for name, value in parameters.items() if name != "client_id"}
        expect_page(authorize(target, left), NOBODY.redirect_uri)


def _authorize_wrongly(target: Target) -> None:
    check = target.report.check
    with check("takes the registered redirect_uri alone, to the letter"):
        client = _launching(target)
        parts = urlsplit(client.redirect_uri)
        wrong = (
            f"{client.redirect_uri}/more",
            f"{client.redirect_uri}?more=1",
            f"{parts.scheme}://{parts.netloc}@smart-check.example{parts.path}",
            f"{parts.scheme}://{parts.netloc}.smart-check.example{parts.path}",
            NOBODY.redirect_uri,
        )
        for uri in wrong:
            parameters = Challenge.new().request(target, client, target.scopes) | {"redirect_uri": uri}
            expect_page(authorize(target, parameters), uri)
    faults = {
        "a response_type other than code": ({"response_type": "token"}, "unsupported_response_type"),
        "no code_challenge": ({"code_challenge": "", "code_challenge_method": ""}, "invalid_request"),
        "code_challenge_method plain": ({"code_challenge_method": "plain"}, "invalid_request"),
        "an aud that is another server": ({"aud": "https://smart-check.example/fhir"}, ""),
    }
    for what, (changed, code) in faults.items():
        with check(f"with {what} sends the app an error and its state"):
            client = _launching(target)
            challenge = Challenge.new()
            parameters = challenge.request(target, client, target.scopes) | changed
            given = {name: value for name, value in parameters.items() if value}
            _expect_sent_back(authorize(target, given), client, challenge, code)


def _launching(target: Target) -> Client:
    client = target.known_client()
    if not client.redirect_uri:
        skip("needs --redirect-uri")
    return client


def _expect_sent_back(response: httpx.Response, client: Client, challenge: Challenge, code: str) -> None:
    location = response.headers.get("location", "")
    if response.status_code not in _REDIRECTS or not location.startswith(client.redirect_uri):
        expect(response.status_code >= 400 or location, f"{status_of(response)}, which is no error")
        if location:
            skip("the server asks people to sign in before it says")
        doubt(f"{status_of(response)}: an error page, which tells the app nothing")
    sent = parse_qs(urlsplit(location).query)
    expect("code" not in sent, "a code was sent")
    expect(sent.get("error"), f"no error in {location}")
    expect(not code or sent["error"] == [code], f"error is {sent['error'][0]}, not {code}")
    expect(sent.get("state") == [challenge.state], "state is not the app's")
    if not sent.get("iss"):
        doubt("iss is missing, which keeps apps from mixing servers up (RFC 9207)")


def _token_for_nobody(target: Target) -> None:
    check = target.report.check
    form = {"grant_type": "authorization_code", "code": "x", "redirect_uri": NOBODY.redirect_uri}
    form["code_verifier"] = Challenge.new().verifier
    with check("refuses an unknown client"):
        expect_error(target.token(form, client=NOBODY), (400, 401), "invalid_client")
    with check("refuses a client secret that is wrong, by 401 and WWW-Authenticate"):
        response = target.token(form, client=Client(NOBODY.id, secret="wrong"))
        expect_error(response, (401,), "invalid_client")
        expect(response.headers.get("www-authenticate"), "WWW-Authenticate is missing")
    with check("refuses requests without a client or grant_type"):
        expect_error(target.token({}), (400, 401))
        expect_error(target.token(form | {"grant_type": ""}, client=NOBODY), (400, 401))
    with check("does not take passwords"):
        form = {"grant_type": "password", "username": "x", "password": "x"}
        expect_error(target.token(form, client=target.client or NOBODY), (400, 401))
    with check("answers POST alone"):
        expect_status(target.http.get(target.url("token_endpoint")), 400, 404, 405)


def _token_for_client(target: Target) -> None:
    check = target.report.check
    with check("refuses a code that it never gave"):
        client = _launching(target)
        form = {
            "grant_type": "authorization_code",
            "code": "BAD_CODE",
            "redirect_uri": client.redirect_uri,
            "code_verifier": Challenge.new().verifier,
        }
        expect_error(target.token(form, client=client), (400,), "invalid_grant", "unauthorized_client")
    with check("refuses a refresh token that it never gave"):
        client = target.known_client()
        form = {"grant_type": "refresh_token", "refresh_token": "unknown"}
        expect_error(target.token(form, client=client), (400, 401), "invalid_grant", "unauthorized_client")


def _introspection(target: Target) -> None:
    check = target.report.check
    with check("tells nothing to those who do not prove who they are"):
        response = target.post(target.url("introspection_endpoint"), {"token": "unknown"})
        expect_status(response, 400, 401, 403)
    with check("says of an unknown token that it is not active, and nothing else"):
        client = _confidential(target)
        response = target.post(
            target.url("introspection_endpoint"), {"token": "invalid_token_value"}, client=client
        )
        expect_status(response, 200)
        found = body_of(response)
        expect(found.get("active") is False, f"active is {found.get('active')!r}")
        if len(found) > 1:
            doubt(f"says more: {', '.join(sorted(found))}")
    with check("revocation of an unknown token is answered with 200"):
        client = target.known_client()
        expect_status(
            target.post(target.url("revocation_endpoint"), {"token": "unknown"}, client=client), 200
        )


def _confidential(target: Target) -> Client:
    client = target.known_client()
    if client.is_public:
        skip("needs a client with --client-secret or --key")
    return client


def _data_for_nobody(target: Target) -> None:
    for what, token in (("no token", None), ("a token that it never gave", "invalid_token_value")):
        with target.report.check(f"{what} is 401 with WWW-Authenticate"):
            for path in ("Patient", "Patient/unknown", "_history"):
                response = target.fhir(path, token)
                expect_status(response, 401)
                challenge = response.headers.get("www-authenticate", "")
                expect(challenge.lower().startswith("bearer"), f"WWW-Authenticate is {challenge!r}")


def _browser_app(target: Target) -> None:
    for what, path in (("token endpoint", None), ("FHIR API", "Patient")):
        with target.report.check(f"the {what} can be called by an app of the client's origin"):
            client = _launching(target)
            parts = urlsplit(client.redirect_uri)
            if not client.is_public or parts.scheme not in ("http", "https"):
                skip("asked of public clients whose redirect_uri is a web address")
            origin = f"{parts.scheme}://{parts.netloc}"
            response = target.http.options(
                target.url("token_endpoint") if path is None else f"{target.base}/{path}",
                headers={
                    "Origin": origin,
                    "Access-Control-Request-Method": "POST" if path is None else "GET",
                    "Access-Control-Request-Headers": "content-type" if path is None else "authorization",
                },
            )
            expect_status(response, 200, 204)
            expect_origin(response, origin)
