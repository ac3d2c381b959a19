"""Access tokens of other issuers, RFC 9068: what is taken, and what is not."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from joserfc.jwk import OctKey

from tests.issuers.support import Forger, forger, rsa_key
from tests.oauth.support import BASE, World, observation, world_on

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def there() -> AsyncIterator[Forger]:
    async with forger() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(database: str, there: Forger) -> AsyncIterator[World]:
    issuers = json.dumps([{"issuer": there.issuer, "name": "Elsewhere", "tokens": True, "fhir_user": True}])
    async with world_on(database, issuers=issuers, outbound_networks="127.0.0.0/8") as made:
        await made.put(
            person("dora", there.issuer, "dora", "Practitioner/d"),
            person("pat", there.issuer, "pat", "Patient/anna"),
            person("linked", "urn:other", "x", "Patient/bert"),
            person("twin1", there.issuer, "twin", "Patient/cora"),
            person("twin2", there.issuer, "twin", "Patient/cora"),
            person("gone", there.issuer, "gone", "Patient/cora") | {"active": False},
        )
        yield made


def person(id_: str, system: str, value: str, link: str) -> dict[str, Any]:
    return {
        "resourceType": "Person",
        "id": id_,
        "name": [{"text": id_.capitalize()}],
        "identifier": [{"system": system, "value": value}],
        "link": [{"target": {"reference": link}}],
    }


TERMS = "http://terminology.hl7.org/CodeSystem/v3-ActReason"


def iua(*codes: str) -> dict[str, Any]:
    return {"ihe_iua": {"purpose_of_use": [{"system": TERMS, "code": code} for code in codes]}}


CLAIMED: list[tuple[dict[str, Any], str | None, int]] = [
    ({}, None, 200),
    ({}, "HRESCH", 404),
    ({"extensions": iua("TREAT")}, None, 200),
    ({"extensions": iua("HRESCH")}, None, 404),
    ({"extensions": iua("HRESCH", "TREAT")}, None, 404),
    ({"extensions": iua("HRESCH", "TREAT")}, "TREAT", 200),
    ({"extensions": iua("HRESCH")}, "TREAT", 403),
    ({"extensions": iua("HMARKT")}, None, 403),
    ({"extensions": iua("FUN")}, None, 401),
    (
        {"extensions": {"hl7-b2b": {"purpose_of_use": ["urn:oid:2.16.840.1.113883.5.8#HRESCH"]}}},
        None,
        404,
    ),
    ({"purpose_of_use": "TREAT"}, None, 200),
    ({"purpose_of_use": 7}, None, 401),
]
"""Claims of a token, the purpose of the header, and the status."""


async def test_the_purposes_of_a_token_are_all_that_it_serves(
    database: str, world: World, there: Forger
) -> None:
    """Where consents are enforced; research is denied by default."""
    issuers = json.dumps([{"issuer": there.issuer, "name": "Elsewhere", "tokens": True, "fhir_user": True}])
    setting = json.dumps({"purposes": {"*": ["TREAT", "HRESCH"]}})
    async with world_on(
        database, prepare=False, issuers=issuers, outbound_networks="127.0.0.0/8", consent=setting
    ) as enforcing:
        for claims, header, status in CLAIMED:
            headers = {"Authorization": f"Bearer {there.token(**claims)}"}
            headers |= {"X-Purpose-Of-Use": header} if header else {}
            answer = await enforcing.http.get(f"{BASE}/Observation/vital-anna", headers=headers)
            assert answer.status_code == status, (claims, header, answer.text)


async def read(world: World, token: str, path: str = "/Observation/vital-anna") -> httpx.Response:
    return await world.fhir("GET", path, token)


async def test_a_practitioner_reads_with_the_roles_held_here(world: World, there: Forger) -> None:
    token = there.token()
    assert (await read(world, token)).status_code == 200
    assert (await read(world, token, "/Condition")).status_code == 403
    assert (
        await world.fhir("PUT", "/Observation/vital-anna", token, observation("vital-anna", "anna"))
    ).status_code == 403


async def test_a_patient_sees_the_own_record_alone(world: World, there: Forger) -> None:
    token = there.token(
        sub="pat", scope="openid patient/*.rs nonsense patient/Observation.sr", patient="anna"
    )
    found = (await read(world, token, "/Observation")).json()
    assert {entry["resource"]["id"] for entry in found["entry"]} == {"lab-anna", "vital-anna"}
    assert (await read(world, token, "/Observation/vital-bert")).status_code == 404


async def test_a_patient_claim_of_somebody_else_opens_nothing(world: World, there: Forger) -> None:
    token = there.token(sub="pat", scope="patient/*.rs", patient="bert")
    assert "entry" not in (await read(world, token, "/Observation")).json()


async def test_fhir_user_says_who_it_is_where_that_is_believed(world: World, there: Forger) -> None:
    for said in ("Patient/bert", f"{BASE}/Patient/bert", f"{BASE}/Person/linked"):
        token = there.token(sub="nobody-by-identifier", fhirUser=said, scope="patient/*.rs", patient="bert")
        assert (await read(world, token, "/Observation/vital-bert")).status_code == 200
    for said in (
        "https://other.example/fhir/Patient/bert",
        "Patient/cora/../bert",
        "Group/bert",
        "Patient/none",
    ):
        token = there.token(sub="nobody-by-identifier", fhirUser=said, scope="patient/*.rs", patient="bert")
        assert (await read(world, token, "/Observation/vital-bert")).status_code == 401


async def test_a_service_has_system_scopes_and_is_nobody(world: World, there: Forger) -> None:
    assert (await read(world, there.token(sub="robot", scope="system/Observation.rs"))).status_code == 200
    # Of a person, a system/ scope gives nothing.
    assert (await read(world, there.token(scope="system/Observation.rs"))).status_code == 403


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "stranger"},
        {"sub": "DORA"},
        {"sub": "twin"},
        {"sub": "gone"},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"scope": "patient/*.rs"},
        {"scope": "patient/*.rs", "patient": "anna/../bert"},
        {"scope": "patient/*.rs", "patient": ["anna"]},
        {"scope": "user/*.rs system/*.rs"},
        {"scope": None},
        {"scope": ""},
        {"scope": "openid fhirUser"},
        {"scope": "user/Observation.sr"},
        {"scope": "user/Observation.rs?subject:missing=true"},
        {"aud": None},
        {"aud": "http://test/t/other/fhir"},
        {"aud": f"{BASE}/"},
        {"aud": [f"{BASE}x"]},
        {"iss": "http://127.0.0.1:1"},
        {"iss": None},
        {"iss": 7},
        {"exp": None},
        {"exp": 1_700_000_000},
        {"exp": "9999999999"},
        {"exp": True},
        {"iat": 9_999_999_999},
        {"nbf": 9_999_999_999},
        {"fhirUser": "Practitioner/root"},
    ],
    ids=str,
)
async def test_claims_that_are_refused(world: World, there: Forger, claims: dict[str, Any]) -> None:
    answer = await read(world, there.token(**claims))
    assert answer.status_code == 401, answer.text
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


async def test_signatures_that_are_refused(world: World, there: Forger) -> None:
    good = there.token()
    head, body, signature = good.split(".")
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none","kid":"f1"}').rstrip(b"=").decode()
    stranger = rsa_key()
    public = there.key.as_pem(private=False)
    for bad in (
        f"{unsigned}.{body}.",
        f"{head}.{body}.{signature[:-4]}AAAA",
        f"{head}.{body}",
        f"{head}.{body}.",
        f"{good}.{good}",
        there.token(key=stranger),
        there.token({"kid": "f2"}, key=rsa_key("f2")),
        there.token({"jwk": stranger.as_dict(private=False)}, key=stranger),
        there.token({"typ": "logout+jwt"}),
        there.token({"typ": "dpop+jwt"}),
        there.token({"alg": "HS256"}, key=OctKey.import_key(base64.b64encode(public).decode())),
        "a.b.c",
        "x" * 20_000 + ".y.z",
    ):
        assert (await read(world, bad)).status_code == 401, bad[:80]


async def test_nobody_else_is_asked(world: World, there: Forger) -> None:
    """The address in `iss` or `jku` of a token is not asked: only issuers of the settings are."""
    async with forger() as stranger:
        assert (await read(world, stranger.token())).status_code == 401
        jku = there.token({"jku": f"{stranger.issuer}/keys"}, key=stranger.key)
        assert (await read(world, jku)).status_code == 401
        assert stranger.asked == []


async def test_a_loss_of_the_role_ends_the_token_in_every_worker(
    world: World, there: Forger, database: str
) -> None:
    await world.put(
        {"resourceType": "Practitioner", "id": "lost"},
        person("loser", there.issuer, "loser", "Practitioner/lost"),
        practised := {
            "resourceType": "PractitionerRole",
            "id": "lost",
            "active": True,
            "practitioner": {"reference": "Practitioner/lost"},
            "code": [{"coding": [{"code": "practitioner"}]}],
        },
    )
    token = there.token(sub="loser")
    assert (await read(world, token)).status_code == 200
    await world.put(practised | {"active": False})
    assert (await read(world, token)).status_code == 401
    issuers = json.dumps([{"issuer": there.issuer, "tokens": True}])
    async with world_on(database, issuers=issuers, outbound_networks="127.0.0.0/8") as other:
        assert (await read(other, token)).status_code in (401, 403)  # who has no role here may do nothing
    count = await world.sql("SELECT count(*) FROM auth.once WHERE kind = 'token'")
    grants = await world.sql("SELECT count(*) FROM auth.grant_ WHERE client = $1", there.issuer)
    assert count[0][0] == grants[0][0]


async def test_an_issuer_that_is_let_in_no_more(world: World, there: Forger) -> None:
    token = there.token()
    assert (await read(world, token)).status_code == 200
    await world.sql("UPDATE auth.client SET status = 'disabled' WHERE id = $1", there.issuer)
    assert (await read(world, token)).status_code == 401
    assert (await read(world, there.token())).status_code == 401
    await world.sql("UPDATE auth.client SET status = 'approved' WHERE id = $1", there.issuer)
    assert (await read(world, token)).status_code == 200


async def test_the_issuer_is_no_client_that_can_ask(world: World, there: Forger) -> None:
    await read(world, there.token())
    page = await world.http.get(
        "http://test/auth/authorize",
        params={"client_id": there.issuer, "redirect_uri": "", "response_type": "code"},
    )
    assert page.status_code == 400
    for form in ({"client_id": there.issuer}, {"client_id": there.issuer, "client_secret": ""}):
        answer = await world.post(
            "token", {"grant_type": "client_credentials", "scope": "system/*.rs", **form}
        )
        assert answer.status_code == 401


async def test_what_the_issuer_publishes_is_about_itself(database: str) -> None:
    async with forger() as liar:
        issuers = json.dumps([{"issuer": liar.issuer, "tokens": True}])
        for wrong in (
            {"issuer": "https://another.example"},
            {"jwks_uri": "http://169.254.169.254/latest"},
            {"jwks_uri": "file:///etc/passwd"},
            {"jwks_uri": None},
        ):
            liar.configuration = wrong
            async with world_on(database, issuers=issuers, outbound_networks="127.0.0.0/8") as world:
                assert (await read(world, liar.token())).status_code == 401
    async with (
        forger() as private,
        world_on(database, issuers=json.dumps([{"issuer": private.issuer, "tokens": True}])) as world,
    ):
        assert (await read(world, private.token())).status_code == 401
        assert private.asked == [], "a private address is not asked unless the settings name its network"


async def test_keys_are_fetched_once(world: World, there: Forger) -> None:
    await read(world, there.token())
    there.asked.clear()
    for _ in range(3):
        assert (await read(world, there.token())).status_code == 200
    assert there.asked == []


async def test_tokens_of_an_issuer_for_sign_in_alone_are_not_taken(database: str) -> None:
    async with forger() as there:
        issuers = json.dumps([{"issuer": there.issuer, "client_id": "x"}])
        async with world_on(database, issuers=issuers, outbound_networks="127.0.0.0/8") as world:
            assert (await read(world, there.token())).status_code == 401
            assert there.asked == []
