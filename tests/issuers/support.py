"""Issuers for tests: a real provider in its own process, and one whose tokens say whatever a test wants."""

import asyncio
import json
import os
import re
import secrets
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.oauth.support import BASE
from tests.support import node

FOLDER = Path(__file__).parent / "provider"
SECRET = "a-secret-that-only-tests-know"


@contextmanager
def provider(claims: Mapping[str, Any], back: str, audience: str = BASE) -> Iterator[str]:
    """A running oidc-provider; its issuer. `claims` are those of its access tokens by `sub`."""
    folder = node.installed(FOLDER)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        "PORT": str(port),
        "AUDIENCE": audience,
        "BACK": back,
        "CLAIMS": json.dumps(claims),
        "SECRET": SECRET,
    }
    process = subprocess.Popen(
        [node.NODE, "provider.js"],
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    issuer = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if httpx.get(f"{issuer}/.well-known/openid-configuration").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.05)
        yield issuer
    finally:
        process.terminate()
        process.wait(10)


async def through(client: httpx.AsyncClient, place: str, login: str, until: str) -> str:
    """Sign in at the provider as a browser does; the address below `until` where it leads to in the end."""
    answer = await client.get(place)
    for _ in range(12):
        if "location" in answer.headers:
            place = urljoin(str(answer.url), answer.headers["location"])
            if place.startswith(until):
                return place
            answer = await client.get(place)
            continue
        form = re.search(r'<form[^>]* action="([^"]+)"', answer.text)
        assert form is not None, answer.text
        fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', answer.text))
        if 'name="login"' in answer.text:
            fields |= {"login": login, "password": "any"}
        answer = await client.post(urljoin(str(answer.url), unescape(form[1])), data=fields)
    raise AssertionError(answer.text)


# -- an issuer that says anything


@dataclass
class Forger:
    """A site with a discovery document and a key; signs what it is told to."""

    issuer: str = ""
    key: RSAKey = field(default_factory=lambda: rsa_key())
    configuration: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def documents(self) -> dict[str, Any]:
        return {
            "/.well-known/openid-configuration": {
                "issuer": self.issuer,
                "jwks_uri": f"{self.issuer}/keys",
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                **self.configuration,
            },
            "/keys": {"keys": [self.key.as_dict(private=False)]},
        }

    def token(self, header: Mapping[str, Any] | None = None, key: Any = None, **claims: Any) -> str:
        """An access token of `dora` for the FHIR base; None leaves a claim or header out."""
        moment = int(time.time())
        said: dict[str, Any] = {"alg": "RS256", "kid": "f1", "typ": "at+jwt", **(header or {})}
        claimed = {
            "iss": self.issuer,
            "sub": "dora",
            "aud": BASE,
            "exp": moment + 600,
            "iat": moment,
            "jti": secrets.token_urlsafe(8),
            "scope": "user/Observation.rs",
            **claims,
        }
        return jwt.encode(
            {name: value for name, value in said.items() if value is not None},
            {name: value for name, value in claimed.items() if value is not None},
            key or self.key,
            algorithms=[said["alg"]],
        )


def rsa_key(kid: str = "f1") -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"}, private=True)


@asynccontextmanager
async def forger() -> AsyncIterator[Forger]:
    made = Forger()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ", 2)[1].decode()
        made.asked.append(path)
        body = json.dumps(made.documents().get(path, {})).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    made.issuer = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        await server.wait_closed()
