#!/usr/bin/env python3
"""Sign a person in to a FHIR server in their browser, and print an access token for a program.

    python sign_in.py http://127.0.0.1:8080/fhir my-program --keep ~/.my-program.json

The authorization code flow for programs of one's own machine: RFC 8252, with PKCE (RFC 7636), state and
issuer (RFC 9207). The program sees no password. With --keep the refresh token stays in that file, readable
by its owner alone, and as long as it is good nobody is asked again. Needs nothing but Python.
"""

import argparse
import base64
import hashlib
import json
import os
import secrets
import sys
import time
import webbrowser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import Request, urlopen

WAIT_S = 300
PAGE = "<!doctype html><link rel=icon href=data:,><title>{0}</title><h1>{0}</h1>You can close this window."


def main() -> int:
    parser = argparse.ArgumentParser(description="Sign in and print an access token.")
    parser.add_argument("base", help="FHIR base, such as http://127.0.0.1:8080/fhir")
    parser.add_argument("client", help="client_id")
    parser.add_argument("--scope", default="openid fhirUser offline_access user/*.rs")
    parser.add_argument("--port", type=int, default=8765, help="of the redirect address (8765)")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="where the refresh token stays")
    given = parser.parse_args()
    try:
        known = fetch(f"{given.base.rstrip('/')}/.well-known/smart-configuration")
        answer = refreshed(known, given) or signed_in(known, given)
    except (RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    if given.keep and "refresh_token" in answer:
        keep(given.keep, answer["refresh_token"])
    print(answer["access_token"])
    return 0


def signed_in(known: dict[str, Any], given: argparse.Namespace) -> dict[str, Any]:
    """The token response after the person has signed in and said yes."""
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(24)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "response_type": "code",
        "client_id": given.client,
        "redirect_uri": f"http://127.0.0.1:{given.port}/",
        "scope": given.scope,
        "state": state,
        "aud": given.base,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    address = f"{known['authorization_endpoint']}?{urlencode(asked)}"
    found = returned(given.port, address)
    if found.get("state") != state or found.get("iss", known["issuer"]) != known["issuer"]:
        raise RuntimeError("that answer belongs to something else")
    if "code" not in found:
        raise RuntimeError(f"refused: {found.get('error_description') or found.get('error')}")
    form = {
        "grant_type": "authorization_code",
        "code": found["code"],
        "redirect_uri": asked["redirect_uri"],
        "client_id": given.client,
        "code_verifier": verifier,
    }
    return token(known, form)


def returned(port: int, address: str) -> dict[str, str]:
    """What the browser brings back to this machine, once it was sent to `address`."""
    found: dict[str, str] = {}

    class Arrival(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            self.send_response(200 if "state" in query else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(PAGE.format("Signed in" if "code" in query else "Not let in").encode())
            if "state" in query:
                found.update({name: values[0] for name, values in query.items()})

        def log_message(self, *_: object) -> None:
            pass

    # Threads, as browsers open connections in advance on which they say nothing.
    with ThreadingHTTPServer(("127.0.0.1", port), Arrival) as server:
        server.timeout = 0.2
        print(f"Sign in with your browser:\n{address}", file=sys.stderr, flush=True)
        webbrowser.open(address)
        until = time.monotonic() + WAIT_S
        while not found:
            if time.monotonic() > until:
                raise RuntimeError("nobody signed in in time")
            server.handle_request()
    return found


def refreshed(known: dict[str, Any], given: argparse.Namespace) -> dict[str, Any] | None:
    """The token response for the refresh token that was kept; None if there is none that is still good."""
    if not given.keep or not given.keep.exists():
        return None
    kept = json.loads(given.keep.read_text())["refresh_token"]
    form = {"grant_type": "refresh_token", "refresh_token": kept, "client_id": given.client}
    try:
        return token(known, form)
    except RuntimeError:
        given.keep.unlink()
        return None


def keep(file: Path, refresh_token: str) -> None:
    """A refresh token is good once: the new one replaces it, at once or not at all."""
    new = file.with_name(f"{file.name}.new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as target:
        json.dump({"refresh_token": refresh_token}, target)
    new.replace(file)


def token(known: dict[str, Any], form: dict[str, str]) -> dict[str, Any]:
    return fetch(known["token_endpoint"], form)


def fetch(address: str, form: dict[str, str] | None = None) -> dict[str, Any]:
    request = Request(address, urlencode(form).encode() if form else None, {"Accept": "application/json"})
    try:
        with urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except HTTPError as error:
        raise RuntimeError(f"{address} answered {error.code}: {error.read(500).decode()}") from None


if __name__ == "__main__":
    sys.exit(main())
