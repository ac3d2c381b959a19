"""Backend services: https://hl7.org/fhir/smart-app-launch/STU2.2/backend-services.html

Whatever an assertion is not, it is refused, with invalid_client and never with more than that.
"""

import asyncio
import hmac
import secrets
import time
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any

import orjson
import pytest

from tests.oauth.support import BASE, TOKEN_URL, Backend, World, assertion, backend, ec_key, rsa_key

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY, OTHER, RSA = ec_key(), ec_key("k2"), rsa_key()


class Seconds(int):
    """From now on."""


def b64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged(header: dict[str, Any], client_id: str, sign: Any = lambda _: b"") -> str:
    """An assertion of any header, signed in any way."""
    moment = int(time.time())
    claims = {"iss": client_id, "sub": client_id, "aud": TOKEN_URL, "exp": moment + 100, "jti": b64(b"1")}
    said = f"{b64(orjson.dumps(header))}.{b64(orjson.dumps(claims))}"
    return f"{said}.{b64(sign(said.encode()))}"


@pytest.mark.parametrize("key", [KEY, RSA], ids=["ES384", "RS384"])
async def test_a_service_gets_a_short_token_and_reads(world: World, key: Any) -> None:
    service = await backend(world, key)
    answer = await service.ask("system/Observation.rs system/Patient.r")
    given = answer.json()
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    assert given.keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert given["expires_in"] <= 300 and given["scope"] == "system/Observation.rs system/Patient.r"
    found = await world.fhir("GET", "/Observation", given["access_token"])
    assert len(found.json()["entry"]) == 6
    assert (await world.fhir("GET", "/Patient/anna", given["access_token"])).status_code == 200
    assert (await world.fhir("GET", "/Patient", given["access_token"])).status_code == 403


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "other"},
        {"sub": "other"},
        {"iss": None},
        {"aud": BASE},
        {"aud": "http://test/auth/token/"},
        {"aud": []},
        {"aud": None},
        {"exp": None},
        {"exp": 1},
        {"exp": Seconds(-120)},
        {"exp": Seconds(3_600)},
        {"exp": "soon"},
        {"exp": True},
        {"exp": 1e300},
        {"iat": Seconds(600)},
        {"nbf": Seconds(600)},
        {"jti": None},
        {"jti": ""},
        {"jti": 7},
        {"jti": "x" * 1_000},
        {"header": {"alg": "ES256K"}},
        {"header": {"typ": ""}},
        {"header": {"typ": "at+jwt"}},
        {"header": {"kid": "unknown"}},
        {"header": {"kid": None}},
        {"header": {"jku": "https://evil.example/jwks.json"}},
        {"header": {"jwk": OTHER.as_dict(private=False)}},
        {"header": {"x5u": "https://evil.example/x5"}},
    ],
    ids=lambda wrong: "-".join(f"{name}" for name in (wrong.get("header") or wrong)),
)
async def test_a_wrong_assertion_is_refused(world: World, wrong: dict[str, Any]) -> None:
    service = await backend(world, KEY)
    moment = int(time.time())
    wrong = {name: moment + one if isinstance(one, Seconds) else one for name, one in wrong.items()}
    if wrong.get("header", {}).get("alg"):
        text = forged({"alg": "ES256K", "kid": KEY.kid, "typ": "JWT"}, service.id)
    else:
        text = assertion(KEY, service.id, **wrong)
    answer = await service.send(text)
    assert answer.status_code == 401 and answer.json()["error"] == "invalid_client", answer.text


async def test_none_hmac_and_foreign_keys_are_refused(world: World) -> None:
    service = await backend(world, RSA)
    public = RSA.as_pem(private=False)
    texts = [
        forged({"alg": "none", "typ": "JWT", "kid": RSA.kid}, service.id),
        forged({"alg": "None", "typ": "JWT", "kid": RSA.kid}, service.id),
        forged(
            {"alg": "HS256", "typ": "JWT", "kid": RSA.kid},
            service.id,
            lambda said: hmac.digest(public, said, sha256),
        ),
        forged({"alg": "RS384", "typ": "JWT", "kid": RSA.kid}, service.id, lambda _: b"x" * 256),
        forged({"alg": "RS384", "typ": "JWT", "kid": RSA.kid, "crit": ["exp"]}, service.id),
        forged({"alg": "RS384", "typ": "JWT", "kid": RSA.kid, "b64": False, "crit": ["b64"]}, service.id),
        forged({"alg": "RS384", "kid": RSA.kid}, service.id),
        forged({"alg": "ES384", "typ": "JWT", "kid": RSA.kid}, service.id, lambda _: b"\0" * 96),
        assertion(rsa_key(), service.id),
        assertion(ec_key("r1"), service.id),
        assertion(OTHER, service.id, header={"jwk": OTHER.as_dict(private=False)}),
        "",
        "a.b.c",
        "a.b",
        "x" * 20_000,
        assertion(RSA, service.id) + "x",
        assertion(RSA, service.id).replace(".", "..", 1),
    ]
    for text in texts:
        answer = await service.send(text)
        assert answer.status_code in (400, 401), (text[:80], answer.text)
        assert answer.json()["error"] in ("invalid_client", "invalid_request"), (text[:80], answer.text)
    assert (await service.ask()).status_code == 200


async def test_a_jti_is_good_once_also_in_parallel(world: World) -> None:
    service = await backend(world, KEY)
    text = assertion(KEY, service.id)
    assert (await service.send(text)).status_code == 200
    assert (await service.send(text)).json()["error"] == "invalid_client"
    text = assertion(KEY, service.id)
    answers = await asyncio.gather(*(service.send(text) for _ in range(12)))
    assert sorted(one.status_code for one in answers) == [200, *[401] * 11]
    jti = secrets.token_urlsafe(8)
    other = await backend(world, OTHER)
    assert (await service.ask(jti=jti)).status_code == 200
    assert (await other.ask(jti=jti)).status_code == 200
    assert (await service.ask(jti=jti)).status_code == 401


async def test_one_key_of_a_kid_and_type_is_needed(world: World) -> None:
    twin = ec_key("k1")
    both = [KEY.as_dict(private=False), twin.as_dict(private=False)]
    service = await backend(world, KEY, jwks={"keys": both})
    assert (await service.ask()).status_code == 401
    mixed = [KEY.as_dict(private=False), rsa_key("k1").as_dict(private=False)]
    service = await backend(world, KEY, jwks={"keys": mixed})
    assert (await service.ask()).status_code == 200


@pytest.mark.parametrize(
    ("scope", "error"),
    [
        ("", "invalid_scope"),
        ("user/*.rs", "invalid_scope"),
        ("system/*.rs user/*.rs", "invalid_scope"),
        ("system/*.rs patient/*.rs", "invalid_scope"),
        ("system/*.rs openid", "invalid_scope"),
        ("system/*.rs offline_access", "invalid_scope"),
        ("launch", "invalid_scope"),
        ("system/*.cruds", "invalid_scope"),
        ("system/Patient.sr", "invalid_scope"),
        ("system/Patient.rs?", "invalid_scope"),
        ("system/Patient.rs?name:exact=x", "invalid_scope"),
        ("system/Unknown.rs", "invalid_scope"),
        ("System/Patient.rs", "invalid_scope"),
    ],
)
async def test_system_scopes_alone_and_registered_ones(world: World, scope: str, error: str) -> None:
    service = await backend(world, KEY)
    answer = await service.ask(scope)
    assert answer.status_code == 400 and answer.json()["error"] == error, answer.text


async def test_without_registered_scopes_a_service_gets_none(world: World) -> None:
    service = await backend(world, KEY, scope="")
    assert (await service.ask()).json()["error"] == "invalid_scope"


async def test_what_the_registration_narrows_stays_narrow(world: World) -> None:
    service = await backend(world, KEY, scope="system/Observation.rs?category=laboratory")
    assert (await service.ask("system/Observation.rs")).json()["error"] == "invalid_scope"
    given = (await service.ask("system/Observation.rs?category=laboratory")).json()
    found = (await world.fhir("GET", "/Observation", given["access_token"])).json()
    assert {one["resource"]["id"] for one in found["entry"]} == {"lab-anna", "lab-bert", "lab-cora"}


async def test_only_who_has_keys_gets_client_credentials(world: World) -> None:
    app = await world.app()
    form = {"grant_type": "client_credentials", "scope": "system/*.rs"}
    answer = await world.post("token", form, **app.basic)
    assert answer.json()["error"] == "unauthorized_client"
    answer = await world.http.post(
        "http://test/auth/register",
        json={"grant_types": ["client_credentials"], "token_endpoint_auth_method": "client_secret_basic"},
    )
    assert answer.status_code == 400 and answer.json()["error"] == "invalid_client_metadata"


async def test_a_service_that_waits_for_approval_gets_nothing(world: World) -> None:
    service = await backend(world, KEY)
    await world.sql("UPDATE auth.client SET status = 'pending' WHERE id = $1", service.id)
    assert (await service.ask()).json()["error"] == "invalid_client"


async def test_the_form_says_what_the_assertion_is(world: World) -> None:
    service = await backend(world, KEY)
    form = {"grant_type": "client_credentials", "scope": "system/*.rs"}
    for more in (
        {"client_assertion": assertion(KEY, service.id)},
        {"client_assertion": assertion(KEY, service.id), "client_assertion_type": "other"},
    ):
        answer = await world.post("token", {**form, **more})
        assert answer.json()["error"] == "invalid_request"
    other = await backend(world, OTHER)
    claimed = await world.post(
        "token",
        {
            **form,
            "client_id": other.id,
            "client_assertion": assertion(KEY, service.id),
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        },
    )
    assert claimed.json()["error"] == "invalid_client"
    assert isinstance(service, Backend)


async def test_an_app_with_keys_signs_in_people(world: World) -> None:
    """https://hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html"""
    doctor = await world.someone("doc", "Practitioner/d")
    app = await world.app(
        token_endpoint_auth_method="private_key_jwt", jwks={"keys": [KEY.as_dict(private=False)]}
    )
    proof = {
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": assertion(KEY, app.id),
    }
    form = {
        "grant_type": "authorization_code",
        "code": await app.code(doctor, "user/Patient.rs"),
        "redirect_uri": app.redirect_uri,
        "code_verifier": app.verifier,
    }
    assert (await world.post("token", {**form, **proof})).status_code == 200
