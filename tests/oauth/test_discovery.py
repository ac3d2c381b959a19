"""What an app reads before it knows anything: https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html"""

import pytest

from tests.oauth.support import BASE, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

CAPABILITIES = {
    *("launch-ehr", "launch-standalone", "authorize-post", "client-public", "client-confidential-symmetric"),
    *("client-confidential-asymmetric", "sso-openid-connect", "context-banner", "context-style"),
    *("context-ehr-patient", "context-ehr-encounter", "context-standalone-patient", "permission-offline"),
    *("permission-online", "permission-patient", "permission-user", "permission-v1", "permission-v2"),
    "smart-app-state",
}
URLS = {
    "jwks_uri": "jwks",
    "authorization_endpoint": "authorize",
    "token_endpoint": "token",
    "registration_endpoint": "register",
    "management_endpoint": "apps",
    "introspection_endpoint": "introspect",
    "revocation_endpoint": "revoke",
}


@pytest.mark.parametrize(
    "accept", [None, "application/json", "application/fhir+xml", "text/html", "image/png"]
)
async def test_smart_configuration(world: World, accept: str | None) -> None:
    headers = {"Accept": accept} if accept else {}
    answer = await world.http.get(f"{BASE}/.well-known/smart-configuration", headers=headers)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    found = answer.json()
    assert found["issuer"] == BASE
    assert {name: found[name] for name in URLS} == {
        name: f"http://test/auth/{path}" for name, path in URLS.items()
    }
    assert set(found["capabilities"]) >= CAPABILITIES
    assert set(found["token_endpoint_auth_methods_supported"]) == {
        *("client_secret_basic", "client_secret_post", "private_key_jwt"),
    }
    assert set(found["token_endpoint_auth_signing_alg_values_supported"]) == {"RS384", "ES384"}
    assert {"authorization_code", "client_credentials"} <= set(found["grant_types_supported"])
    assert found["code_challenge_methods_supported"] == ["S256"]
    assert found["response_types_supported"] == ["code"]
    assert {"openid", "fhirUser", "launch", "launch/patient", "offline_access"} <= set(
        found["scopes_supported"]
    )


async def test_openid_configuration(world: World) -> None:
    found = (await world.http.get(f"{BASE}/.well-known/openid-configuration")).json()
    assert found["issuer"] == BASE and found["subject_types_supported"] == ["public"]
    assert found["id_token_signing_alg_values_supported"] == ["RS256"]


async def test_two_keys_are_published_and_their_private_halves_are_not(world: World) -> None:
    found = (await world.http.get("http://test/auth/jwks")).json()["keys"]
    assert len(found) == 2 and len({key["kid"] for key in found}) == 2
    for key in found:
        assert (key["kty"], key["use"], key["alg"]) == ("RSA", "sig", "RS256")
        assert not {"d", "p", "q", "dp", "dq", "qi"} & key.keys()


async def test_the_capability_statement_repeats_the_addresses(world: World) -> None:
    rest = (await world.http.get(f"{BASE}/metadata")).json()["rest"][0]["security"]
    (extension,) = rest["extension"]
    assert extension["url"] == "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
    said = {one["url"]: one["valueUri"] for one in extension["extension"]}
    assert said["authorize"] == "http://test/auth/authorize" and said["token"] == "http://test/auth/token"
    assert said["manage"] == "http://test/auth/apps" and said["introspect"] == "http://test/auth/introspect"
    assert rest["cors"] is True and rest["service"][0]["coding"][0]["code"] == "SMART-on-FHIR"


async def test_the_style_is_json_for_everybody(world: World) -> None:
    answer = await world.http.get("http://test/auth/style", headers={"Origin": "https://any.example"})
    assert answer.json()["color_background"].startswith("#")
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    "url",
    [
        f"{BASE}/.well-known/smart-configuration",
        f"{BASE}/.well-known/openid-configuration",
        f"{BASE}/metadata",
        "http://test/auth/jwks",
    ],
)
async def test_discovery_is_open_to_all_origins(world: World, url: str) -> None:
    origin = {"Origin": "https://unknown.example"}
    assert (await world.http.get(url, headers=origin)).headers["access-control-allow-origin"] == "*"
    answer = await world.http.options(url, headers={**origin, "Access-Control-Request-Method": "GET"})
    assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == "*"


async def test_no_other_path_lies_below_well_known(world: World) -> None:
    answer = await world.http.get(f"{BASE}/.well-known/other")
    assert answer.status_code == 404 and answer.json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    ("port", "url"),
    [(8443, f"{BASE}/Patient/anna"), (8444, "http://test/auth/token"), (8445, "http://test/auth/revoke")],
)
async def test_browsers_of_approved_clients_may_call(world: World, port: int, url: str) -> None:
    origin = f"https://heart.example:{port}"
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    app = await world.app(redirect_uris=[f"{origin}/back", f"https://usual{port}.example:443/other"])
    await world.sql("UPDATE auth.client SET status = 'pending' WHERE id = $1", app.id)
    await _a_moment()
    answer = await world.http.options(url, headers=asked)
    assert "access-control-allow-origin" not in answer.headers
    await world.approve(app.id)
    await _a_moment()
    answer = await world.http.options(url, headers=asked)
    assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == origin
    assert "authorization" in answer.headers["access-control-allow-headers"].lower()
    answer = await world.http.post(url, headers={"Origin": origin})
    assert answer.headers["access-control-allow-origin"] == origin and answer.headers["vary"]
    usual = f"https://usual{port}.example"
    for other in (usual, "https://heart.example", "https://evil.example", "null", f"{origin}.evil"):
        answer = await world.http.options(url, headers={**asked, "Origin": other})
        allowed = answer.headers.get("access-control-allow-origin")
        assert allowed == (usual if other == usual else None), other
        assert "access-control-allow-credentials" not in answer.headers


async def _a_moment() -> None:
    """Unknown origins are looked up twice a second at most, and known ones for ten."""
    import asyncio

    from fhirserver.oauth import origins

    assert origins.AFRESH_S < 1
    await asyncio.sleep(origins.AFRESH_S + 0.05)


@pytest.mark.parametrize("path", ["authorize", "consent", "patient", "apps", "sign-in"])
async def test_pages_are_read_by_no_other_origin(world: World, path: str) -> None:
    await world.app(redirect_uris=["https://app.example/back"])
    answer = await world.http.get(f"http://test/auth/{path}", headers={"Origin": "https://app.example"})
    assert "access-control-allow-origin" not in answer.headers
