"""Apps that people launch: from the authorization request to the code.

https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx

from fhirserver.cli.smart import tokens
from fhirserver.cli.smart.browser import Browser, Tick
from fhirserver.cli.smart.challenge import Challenge
from fhirserver.cli.smart.report import Failed, doubt, expect, skip
from fhirserver.cli.smart.target import (
    Client,
    Person,
    Target,
    body_of,
    expect_error,
    expect_status,
)

_GRANULAR: Final = "http://terminology.hl7.org/CodeSystem/observation-category|vital-signs"


def look(target: Target) -> None:
    """All of this module, as somebody who signs in."""
    client, person = target.known_client(), target.person
    assert person is not None
    report = target.report
    report.group = "Launch"
    if not client.redirect_uri:
        report.skip_all(("somebody signs in and lets the app in",), "needs --redirect-uri")
        return
    with httpx.Client(
        transport=target.wire,  # cookies of its own, as a browser's
        timeout=target.http.timeout,
        headers={"Accept": "text/html,application/xhtml+xml"},
    ) as http:
        _look(_Launch(target, client, person, http))


def _look(launch: _Launch) -> None:
    target, client, report = launch.target, launch.client, launch.target.report
    answer: dict[str, Any] = {}
    challenge = Challenge.new()
    with report.check("somebody signs in and lets the app in; the app gets a code, its state and iss"):
        code = launch.code(challenge)
        answer = tokens.exchange(target, client, challenge, code)
        launch.expect_named()
    if not answer:
        return
    tokens.look(target, client, challenge, answer)
    report.group = "Launch"
    _other_ways(launch)
    report.group = "Proof key (PKCE)"
    _proof_keys(launch)
    report.group = "Scopes"
    _narrower(launch)
    report.group = "Replay and revocation"
    _replay(launch)


class _Launch:
    """How the app of this run is let in, as often as needed."""

    def __init__(self, target: Target, client: Client, person: Person, http: httpx.Client) -> None:
        self.target = target
        self.client = client
        self.person = person
        self.http = http
        self.sent: dict[str, list[str]] = {}
        self.boxes: set[str] = set()

    def back(
        self,
        challenge: Challenge,
        *,
        scopes: str | None = None,
        method: str = "GET",
        tick: Tick = lambda _: None,
        **changed: str,
    ) -> dict[str, list[str]]:
        """What the app is called with at the end. Raises Failed."""
        parameters = challenge.request(self.target, self.client, scopes or self.target.scopes) | changed
        url = self.target.url("authorization_endpoint")
        if method == "POST":
            response = self.http.post(url, data=parameters)
        else:
            response = self.http.get(url, params=parameters)
        browser = Browser(self.http, self.person, tick)
        where = browser.until(response, self.client.redirect_uri)
        self.boxes = browser.boxes
        self.sent = parse_qs(urlsplit(where).query)
        return self.sent

    def code(self, challenge: Challenge, **how: Any) -> str:
        """The code that the app is given. Raises Failed."""
        sent = self.back(challenge, **how)
        reason = f"{sent.get('error', [''])[0]} {sent.get('error_description', [''])[0]}".strip()
        expect(sent.get("code"), f"no code, but: {reason}")
        expect(sent.get("state") == [challenge.state], "state is not the app's")
        return sent["code"][0]

    def expect_named(self) -> None:
        """RFC 9207"""
        issuer = self.sent.get("iss")
        if issuer is None:
            doubt("iss is missing, which keeps apps from mixing servers up (RFC 9207)")
        expect(issuer == [self.target.configuration.get("issuer")], f"iss is {issuer}")

    def token(self, **how: Any) -> dict[str, Any]:
        """A token response. Raises Failed."""
        challenge = Challenge.new()
        return tokens.exchange(self.target, self.client, challenge, self.code(challenge, **how))


def _other_ways(launch: _Launch) -> None:
    check, target = launch.target.report.check, launch.target
    with check("the authorization request may be a POST"):
        if "authorize-post" not in target.capabilities:
            skip("authorize-post is not among the capabilities")
        launch.code(Challenge.new(), method="POST")
    with check("an aud that is another server gets no code"):
        try:
            sent = launch.back(Challenge.new(), aud="https://smart-check.example/fhir")
        except Failed:
            return
        expect("code" not in sent, "a code was given")


def _proof_keys(launch: _Launch) -> None:
    target, client = launch.target, launch.client
    wrong = {
        "none": lambda _: None,
        "an empty one": lambda _: "",
        "another one": lambda _: Challenge.new().verifier,
        "the challenge itself": lambda challenge: challenge.value,
    }
    for what, of in wrong.items():
        with target.report.check(f"a code needs its code_verifier, and {what} will not do"):
            challenge = Challenge.new()
            form = tokens.code_form(client, challenge, launch.code(challenge))
            verifier = of(challenge)
            form.pop("code_verifier")
            if verifier is not None:
                form["code_verifier"] = verifier
            expect_error(target.token(form, client=client), (400, 401))
    with target.report.check("a code is good for its own client alone"):
        challenge = Challenge.new()
        form = tokens.code_form(client, challenge, launch.code(challenge))
        expect_error(target.token(form, client=Client("BAD_CLIENT_ID")), (400, 401))


def _narrower(launch: _Launch) -> None:
    check, target = launch.target.report.check, launch.target
    base = "launch/patient openid fhirUser"
    with check("what was not asked for is 403"):
        body = launch.token(scopes=f"{base} patient/Patient.rs")
        expect_status(
            target.fhir(f"Observation?patient={body.get('patient', '')}", body["access_token"]), 403
        )
    with check("a scope that the person takes away is not granted"):
        scopes = f"{base} patient/Patient.rs patient/Observation.rs patient/Condition.rs"
        body = launch.token(scopes=scopes, tick=lambda box: False if "Condition" in box else None)
        expect("Condition" not in body["scope"], f"granted: {body['scope']}")
        expect("patient/Patient.rs" in body["scope"].split(), f"granted: {body['scope']}")
        expect_status(target.fhir(f"Condition?patient={body.get('patient', '')}", body["access_token"]), 403)
    with check("a granular scope is granted as it was asked for, and gives no more"):
        granular = f"patient/Observation.rs?category={_GRANULAR}"
        body = launch.token(scopes=f"{base} patient/Patient.rs {granular}")
        given = body["scope"].split()
        expect(granular in given, f"granted: {body['scope']}")
        expect("patient/Observation.rs" not in given, "all Observations were granted")
        found = target.fhir(f"Observation?patient={body.get('patient', '')}", body["access_token"])
        expect_status(found, 200)
        resources = [entry["resource"] for entry in body_of(found).get("entry", [])]
        others = [one for one in resources if one["resourceType"] == "Observation" and not _is_vital(one)]
        expect(not others, f"{len(others)} Observations of other categories were shown")
    with check("the person can narrow a whole type to categories of it"):
        scopes = f"{base} patient/Patient.rs patient/Observation.rs patient/Condition.rs"
        body = launch.token(scopes=scopes, tick=_granular)
        if not any("?" in box for box in launch.boxes):
            skip("the pages have no boxes (input type=checkbox) for scopes with '?', or need scripts")
        given = body["scope"].split()
        for type_ in ("Observation", "Condition"):
            expect(f"patient/{type_}.rs" not in given, f"granted: {body['scope']}")
            expect(any(f"/{type_}." in one and "?" in one for one in given), f"granted: {body['scope']}")
        expect("patient/Patient.rs" in given, f"granted: {body['scope']}")
    with check("version 1 scopes are granted as version 1"):
        body = launch.token(scopes=f"{base} patient/Patient.read patient/Observation.read")
        expect("patient/Patient.read" in body["scope"].split(), f"granted: {body['scope']}")


def _granular(box: str) -> bool | None:
    """Ticks the parts of Observation and Condition, and not the whole."""
    if "Observation." in box or "Condition." in box:
        return "?" in box
    return None


def _is_vital(resource: dict[str, Any]) -> bool:
    system, _, code = _GRANULAR.partition("|")
    codings = [coding for one in resource.get("category", []) for coding in one.get("coding", [])]
    return any((coding.get("system"), coding.get("code")) == (system, code) for coding in codings)


def _replay(launch: _Launch) -> None:
    target, client = launch.target, launch.client
    with target.report.check("a code is good once; using it again ends what it gave"):
        challenge = Challenge.new()
        code = launch.code(challenge)
        body = tokens.exchange(target, client, challenge, code)
        again = target.token(tokens.code_form(client, challenge, code), client=client)
        expect_error(again, (400, 401))
        if target.fhir(f"Patient/{body.get('patient', '')}", body["access_token"]).status_code != 401:
            doubt("the token of the first use goes on working (RFC 6749 section 4.1.2)")
    with target.report.check("a revoked token is refused at the next request, and its refresh token with it"):
        body = launch.token()
        address = target.url("revocation_endpoint")
        expect_status(target.post(address, {"token": body["access_token"]}, client=client), 200)
        expect_status(target.fhir(f"Patient/{body.get('patient', '')}", body["access_token"]), 401)
        if refresh := body.get("refresh_token"):
            form = {"grant_type": "refresh_token", "refresh_token": refresh}
            expect_error(target.token(form, client=client), (400, 401), "invalid_grant")
