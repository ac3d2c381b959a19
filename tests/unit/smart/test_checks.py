"""The self-check finds nothing in a server that is right, and each fault in one that is wrong on purpose."""

import json
from typing import Any

import httpx
import pytest

from fhirserver.cli.smart import run
from fhirserver.cli.smart.report import Report
from fhirserver.cli.smart.target import Client, Person
from tests.support import smart_model as model
from tests.support.smart_model import Model

PERSON = Person(model.LOGIN, model.PASSWORD, "p2")
CLIENTS = {
    "public": Client(model.PUBLIC, model.REDIRECT),
    "secret": Client(model.SECRET, model.REDIRECT, secret=model.THE_SECRET),
    "keyed": Client(model.KEYED, model.REDIRECT, key=model.CLIENT_KEY),
}


def look(fault: str = "", client: str | None = None, person: Person | None = None, **more: Any) -> Report:
    wire = httpx.MockTransport(Model(fault))
    return run.look(model.BASE, CLIENTS[client] if client else None, person, wire=wire, **more)


def failed(report: Report) -> list[str]:
    return [f"{one.group}: {one.check}" for one in report.failures]


def unsure(report: Report) -> list[str]:
    return [f"{one.check}: {one.reason}" for one in report.findings if one.status == "warn"]


@pytest.mark.parametrize("client", [None, "public", "secret", "keyed"])
@pytest.mark.parametrize("person", [None, PERSON])
def test_nothing_is_found_in_a_server_that_is_right(client: str | None, person: Person | None) -> None:
    report = look("", client, person)
    assert failed(report) == [] and unsure(report) == []
    skipped = {one.reason for one in report.findings if one.status == "skipped"}
    assert all(skipped) and len(report.findings) > 30


def test_everything_is_asked_by_somebody() -> None:
    """What one client cannot be asked, another is."""
    asked = [look("", client, person) for client in CLIENTS for person in (None, PERSON)]
    passed = {one.check for report in asked for one in report.findings if one.status == "pass"}
    skipped = {one.check for report in asked for one in report.findings if one.status == "skipped"}
    left = {check for check in skipped - passed if "speaks TLS" not in check}
    assert left == {
        "the encounter in context can be read with the token",
        "somebody signs in and lets the app in; tokens, refresh, scopes, replay",
        "an assertion gets a token, and no false one does",
    }


FAULTS = {
    # without anything but the address
    "plain": (None, "S256 alone"),
    "relative addresses": (None, "absolute addresses"),
    "a field of another type": (None, "required fields"),
    "a capability is missing": (None, "capabilities for patient apps"),
    "no issuer": (None, "issuer and key set"),
    "one algorithm": (None, "how clients prove who they are"),
    "no openid scope": (None, "lists scopes"),
    "HTML for browsers": (None, "whatever form is asked for"),
    "two token addresses": (None, "same addresses"),
    "no security service": (None, "says SMART-on-FHIR"),
    "no subject types": (None, "configuration is JSON"),
    "openid disagrees": (None, "configuration agrees"),
    "no RSA key": (None, "key set holds"),
    "private keys are published": (None, "key set holds"),
    "no preflight": (None, "preflight"),
    "no CORS": (None, "apps of any origin"),
    "unknown clients are redirected": (None, "GET with an unknown client"),
    "any client": (None, "refuses an unknown client"),
    "any secret": (None, "refuses a client secret"),
    "passwords": ("public", "does not take passwords"),
    "errors are stored": (None, "refuses an unknown client"),
    "anybody introspects": (None, "tells nothing"),
    "data for nobody": (None, "no token is 401"),
    "no challenge": (None, "a token that it never gave is 401"),
    # with a client
    "redirect_uri by prefix": ("public", "registered redirect_uri"),
    "no PKCE": ("public", "no code_challenge"),
    "plain PKCE": ("public", "code_challenge_method plain"),
    "any aud": ("public", "an aud that is another server"),
    "no state": ("public", "response_type other than code"),
    "unknown tokens are active": ("secret", "not active"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault: str) -> None:
    client, check = FAULTS[fault]
    report = look(fault, client)
    assert any(check in one for one in failed(report)), failed(report)


LAUNCHED = {
    "no state": "somebody signs in",
    "another iss": "somebody signs in",
    "tokens are stored": "somebody signs in",
    "another token type": "has access_token",
    "expiry as text": "has access_token",
    "patient as reference": "names the patient",
    "no patient": "names the patient",
    "banner as text": "launch context of the types",
    "context as text": "launch context of the types",
    "no id token": "id token is signed",
    "id token by another key": "id token is signed",
    "id token of another issuer": "id token has the required claims",
    "id token for another client": "id token has the required claims",
    "id token is over": "id token has the required claims",
    "another nonce": "id token has the required claims",
    "relative fhirUser": "who signed in (fhirUser)",
    "data for nobody": "the patient in context",
    "introspection forgets": "introspection tells the same",
    "refresh widens": "with more scopes is refused",
    "refresh again": "a refresh token that was used",
    "any aud": "an aud that is another server gets no code",
    "no verifier": "code_verifier, and none",
    "the challenge is proof": "the challenge itself",
    "scopes are ignored": "what was not asked for is 403",
    "all scopes are granted": "a scope that the person takes away",
    "granular scopes are widened": "a granular scope",
    "narrowing does nothing": "narrow a whole type",
    "granular scopes are ignored": "a granular scope",
    "codes again": "a code is good once",
    "revocation does nothing": "a revoked token is refused",
}


@pytest.mark.parametrize("fault", LAUNCHED)
def test_a_fault_of_launches_is_found(fault: str) -> None:
    report = look(fault, "secret", PERSON)
    assert any(LAUNCHED[fault] in one for one in failed(report)), failed(report)


def test_a_token_endpoint_that_browser_apps_cannot_use() -> None:
    assert any("somebody signs in" in one for one in failed(look("no CORS", "public", PERSON)))


BACKEND = {
    "any grant type": "a grant_type that is none",
    "any assertion type": "a client_assertion_type that is none",
    "any scope": "scopes that are not system/",
    "any sub": "iss and sub that differ",
    "any audience": "another aud",
    "old assertions": "an exp that is over",
    "far expiry": "more than five minutes ahead",
    "no expiry": "no exp",
    "future assertions": "an iat of the future",
    "no jti": "no jti",
    "jti again": "a jti that was used before",
    "signatures are not verified": "the signature of another key",
    "unsigned assertions": "alg none",
    "embedded keys": "another key inside",
    "any kid": "an unknown kid",
    "no scope in answer": "gives a token",
    "scopes are ignored": "and nothing else",
    "introspection forgets": "introspection tells client",
    "revocation does nothing": "a revoked token",
}


@pytest.mark.parametrize("fault", BACKEND)
def test_a_fault_of_backend_services_is_found(fault: str) -> None:
    report = look(fault, "keyed")
    assert any(BACKEND[fault] in one for one in failed(report)), failed(report)


def test_a_wrong_password_is_said_to_be_one() -> None:
    report = look("", "public", Person(model.LOGIN, "wrong"))
    assert [one.reason.partition(":")[0] for one in report.failures] == ["signing in did not succeed"]


def test_a_server_that_is_not_there() -> None:
    def nobody(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    report = run.look(model.BASE, wire=httpx.MockTransport(nobody))
    assert report.failures and "ConnectError" in report.failures[0].reason


def test_for_programs() -> None:
    report = look("plain")
    found = json.loads(run.as_json(model.BASE, report.findings))
    assert found["summary"]["fail"] == len(report.failures) > 0
    assert {"group", "check", "status", "reason"} == set(found["findings"][0])
