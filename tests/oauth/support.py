"""A server with people, patients and apps, and an app that goes the way of a browser and a back end."""

import re
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import asyncpg
import httpx
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from tests.support.callers import Granted, granted
from tests.support.server import serving

BASE = "http://test/fhir"
TOKEN_URL = "http://test/auth/token"
REDIRECT = "https://app.example/back"
ADMIN: dict[str, Any] = {"user": ("Practitioner", "root"), "roles": ("administrator",)}
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

Form = dict[str, str]


def query_of(location: str) -> Form:
    """The parameters of an address."""
    return dict(parse_qsl(urlsplit(location).query, keep_blank_values=True))


def challenge_of(verifier: str) -> str:
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


@dataclass
class Someone:
    """A person with a browser in which they are signed in."""

    login: str
    person: str
    account: int
    cookie: str

    @property
    def headers(self) -> Form:
        return {"Cookie": f"__Host-session={self.cookie}"}


@dataclass
class World:
    """The server, and a token that may do everything, to prepare and to look."""

    dsn: str
    http: httpx.AsyncClient
    admin: Granted

    async def fhir(
        self, method: str, path: str, token: str | None = None, body: Any = None
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else self.admin.headers
        return await self.http.request(method, f"{BASE}{path}", json=body, headers=headers)

    async def put(self, *stored: dict[str, Any]) -> None:
        for resource in stored:
            answer = await self.fhir("PUT", f"/{resource['resourceType']}/{resource['id']}", body=resource)
            assert answer.status_code in (200, 201), answer.text

    async def sql(self, text: str, *args: Any) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.dsn)
        try:
            return await connection.fetch(text, *args)
        finally:
            await connection.close()

    async def someone(self, login: str, *links: str) -> Someone:
        """An account whose Person has these links, signed in."""
        person = {
            "resourceType": "Person",
            "id": login,
            "name": [{"text": login.capitalize()}],
            **({"link": [{"target": {"reference": link}} for link in links]} if links else {}),
        }
        await self.put(person)
        (account,) = await self.sql(
            "INSERT INTO auth.account (tenant, login, person, links) VALUES (1, $1, $1, $2)"
            " ON CONFLICT (tenant, login) DO UPDATE SET disabled = false RETURNING id",
            login,
            sorted(links),
        )
        return await self.signed_in(login, account["id"])

    async def signed_in(self, login: str, account: int) -> Someone:
        """The same account in a new browser."""
        value = secrets.token_urlsafe(32)
        await self.sql(
            "INSERT INTO auth.session (hash, account, expires)"
            " VALUES ($1, $2, clock_timestamp() + interval '1 hour')",
            sha256(value.encode()).digest(),
            account,
        )
        return Someone(login, login, account, value)

    async def post(self, path: str, form: Form, **headers: str) -> httpx.Response:
        return await self.http.post(f"http://test/auth/{path}", data=form, headers=headers)

    async def register(self, **metadata: Any) -> dict[str, Any]:
        answer = await self.http.post("http://test/auth/register", json=metadata)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def approve(self, client_id: str) -> None:
        await self.sql("UPDATE auth.client SET status = 'approved' WHERE id = $1", client_id)

    async def app(self, scope: str = "", *, public: bool = False, **metadata: Any) -> "App":
        """An approved app that somebody can be sent to."""
        method = "none" if public else "client_secret_basic"
        given = {
            "client_name": "Heart",
            "redirect_uris": [REDIRECT],
            "token_endpoint_auth_method": method,
            **({"scope": scope} if scope else {}),
            **metadata,
        }
        made = await self.register(**given)
        await self.approve(made["client_id"])
        return App(self, made["client_id"], made.get("client_secret"), made["redirect_uris"][0])


@dataclass
class App:
    """A registered app."""

    world: World
    id: str
    secret: str | None
    redirect_uri: str = REDIRECT
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    def request(self, scope: str, **more: str | None) -> Form:
        """The parameters of an authorization request; None leaves one out."""
        given: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.id,
            "redirect_uri": self.redirect_uri,
            "scope": scope,
            "state": "s-1",
            "aud": BASE,
            "code_challenge": challenge_of(self.verifier),
            "code_challenge_method": "S256",
            **more,
        }
        return {name: value for name, value in given.items() if value is not None}

    async def ask(self, who: Someone | None, scope: str, **more: str | None) -> httpx.Response:
        """The first answer of the authorization endpoint."""
        headers = who.headers if who else {}
        return await self.world.http.get(
            "http://test/auth/authorize", params=self.request(scope, **more), headers=headers
        )

    async def page(self, who: Someone, scope: str, patient: str | None = None, **more: str | None) -> "Page":
        """The consent page, a patient picked on the way where one is needed."""
        answer = await self.ask(who, scope, **more)
        return await self.arrive(who, answer, patient)

    async def arrive(self, who: Someone, answer: httpx.Response, patient: str | None = None) -> "Page":
        for _ in range(6):
            if answer.status_code != 303 or not answer.headers["location"].startswith("/auth/"):
                break
            place = answer.headers["location"]
            answer = await self.world.http.get(f"http://test{place}", headers=who.headers)
            if patient is not None and place.startswith("/auth/patient"):
                answer = await Page(self, who, answer).send(patient=patient)
        return Page(self, who, answer)

    async def code(self, who: Someone, scope: str, **more: str | None) -> str:
        page = await self.page(who, scope, **more)
        given = query_of((await page.allow()).headers["location"])
        assert given["state"] == "s-1" and given["iss"] == BASE, given
        return given["code"]

    @property
    def basic(self) -> Form:
        """The headers by which the app proves who it is."""
        return (
            {}
            if self.secret is None
            else {"Authorization": str(httpx.BasicAuth(self.id, self.secret)._auth_header)}
        )

    def _own(self) -> Form:
        return {"client_id": self.id} if self.secret is None else {}

    async def redeem(self, code: str, /, **more: str) -> httpx.Response:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": self.verifier,
            **self._own(),
            **more,
        }
        return await self.world.post("token", form, **self.basic)

    async def token(self, who: Someone, scope: str, **more: str | None) -> dict[str, Any]:
        """The token response of the whole way."""
        answer = await self.redeem(await self.code(who, scope, **more))
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refresh(self, token: str, **more: str) -> httpx.Response:
        form = {"grant_type": "refresh_token", "refresh_token": token, **self._own(), **more}
        return await self.world.post("token", form, **self.basic)


@dataclass
class Page:
    """A page with a form, as a browser has it."""

    app: App
    who: Someone
    answer: httpx.Response

    @property
    def text(self) -> str:
        return self.answer.text

    def value(self, name: str) -> str:
        found = re.search(rf'name="{name}" value="([^"]*)"', self.text)
        assert found, (name, self.answer.status_code, self.text[:3000])
        return unescape(found[1])

    @property
    def offered(self) -> list[str]:
        """The scopes that are ticked."""
        return [unescape(one) for one in re.findall(r'name="scope" value="([^"]*)" checked', self.text)]

    @property
    def parts(self) -> list[str]:
        """The scopes that can be ticked instead."""
        return [unescape(one) for one in re.findall(r'name="scope" value="([^"]*)">', self.text)]

    async def send(self, **fields: Any) -> httpx.Response:
        place = "/auth/patient" if "patient" in fields else "/auth/consent"
        form = {"csrf": self.value("csrf"), "ticket": self.value("ticket"), **fields}
        return await self.app.world.http.post(f"http://test{place}", data=form, headers=self.who.headers)

    async def allow(self, scopes: Iterable[str] | None = None, **fields: Any) -> httpx.Response:
        chosen = self.offered if scopes is None else list(scopes)
        return await self.send(decision="allow", scope=chosen, **fields)


PATIENTS = ("anna", "bert", "cora")


def patient(id_: str, born: str = "1980-01-01") -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "id": id_,
        "name": [{"given": [id_.capitalize()], "family": "Example"}],
        "identifier": [{"system": "urn:mrn", "value": f"{id_}-4711"}],
        "birthDate": born,
    }


def observation(id_: str, of: str, category: str = "laboratory") -> dict[str, Any]:
    system = "http://terminology.hl7.org/CodeSystem/observation-category"
    return {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "category": [{"coding": [{"system": system, "code": category}]}],
        "code": {"text": "x"},
        "subject": {"reference": f"Patient/{of}"},
    }


@asynccontextmanager
async def world_on(dsn: str, *, prepare: bool = True, **settings: Any) -> AsyncIterator[World]:
    """Three patients with observations; `d` is a doctor, `n` a nurse in nobody's role."""
    usual = {"auth": "smart", "base_url": BASE}
    async with serving(dsn, **(usual | settings)) as http:
        world = World(dsn, http, await granted(dsn, "user/*.cruds", **ADMIN))
        if not prepare:
            yield world
            return
        await world.put(
            *(patient(name) for name in PATIENTS),
            *(observation(f"lab-{name}", name) for name in PATIENTS),
            *(observation(f"vital-{name}", name, "vital-signs") for name in PATIENTS),
            {"resourceType": "Practitioner", "id": "d", "name": [{"text": "Dr. D"}]},
            {
                "resourceType": "PractitionerRole",
                "id": "d",
                "active": True,
                "practitioner": {"reference": "Practitioner/d"},
                "code": [{"coding": [{"code": "practitioner"}]}],
            },
            {
                "resourceType": "Encounter",
                "id": "visit-anna",
                "status": "finished",
                "class": {"code": "AMB", "display": "ambulatory"},
                "subject": {"reference": "Patient/anna"},
                "period": {"start": "2024-05-06T10:00:00Z"},
            },
        )
        yield world


# -- clients with keys


def ec_key(kid: str = "k1") -> ECKey:
    return ECKey.generate_key("P-384", {"kid": kid, "use": "sig", "alg": "ES384"}, private=True)


def rsa_key(kid: str = "r1") -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS384"}, private=True)


def assertion(key: Any, client_id: str, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """A client assertion; None leaves a claim or header out."""
    alg = "ES384" if key.key_type == "EC" else "RS384"
    said = {"alg": alg, "kid": key.kid, "typ": "JWT", **(header or {})}
    moment = int(time.time())
    claimed = {
        "iss": client_id,
        "sub": client_id,
        "aud": TOKEN_URL,
        "exp": moment + 240,
        "iat": moment,
        "jti": secrets.token_urlsafe(16),
        **claims,
    }
    return jwt.encode(
        {name: value for name, value in said.items() if value is not None},
        {name: value for name, value in claimed.items() if value is not None},
        key,
        algorithms=[said["alg"]],
    )


@dataclass
class Backend:
    """A backend service with a key of its own."""

    world: World
    id: str
    key: Any

    async def ask(self, scope: str = "system/*.rs", **assertion_of: Any) -> httpx.Response:
        return await self.send(assertion(self.key, self.id, **assertion_of), scope)

    async def send(self, text: str, scope: str = "system/*.rs") -> httpx.Response:
        form = {
            "grant_type": "client_credentials",
            "scope": scope,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": text,
        }
        return await self.world.post("token", form)


async def backend(world: World, key: Any, scope: str = "system/*.rs", **metadata: Any) -> Backend:
    """An approved backend service."""
    if "jwks_uri" not in metadata:
        metadata = {"jwks": {"keys": [key.as_dict(private=False)]}, **metadata}
    made = await world.register(
        client_name="Robot",
        grant_types=["client_credentials"],
        token_endpoint_auth_method="private_key_jwt",
        scope=scope,
        **metadata,
    )
    await world.approve(made["client_id"])
    return Backend(world, made["client_id"], key)
