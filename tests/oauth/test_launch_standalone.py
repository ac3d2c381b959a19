"""A standalone launch from the first request to the data, and what people can take away on the way.

https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html#launch-app-standalone-launch
"""

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.oauth.support import BASE, World, query_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

FULL = "openid fhirUser launch/patient offline_access patient/Patient.rs patient/Observation.rs"


async def ids(world: World, token: str, path: str) -> set[str]:
    answer = await world.fhir("GET", path, token)
    assert answer.status_code == 200, answer.text
    return {one["resource"]["id"] for one in answer.json().get("entry", ())}


async def test_a_doctor_picks_a_patient_and_the_app_sees_that_one(world: World) -> None:
    doctor = await world.someone("doc", "Practitioner/d")
    app = await world.app()
    given = await app.token(doctor, FULL, patient="anna")
    assert given["token_type"] == "Bearer" and 0 < given["expires_in"] <= 3600
    assert given["patient"] == "anna" and given["need_patient_banner"] is True
    assert given["smart_style_url"] == "http://test/auth/style"
    assert set(given["scope"].split()) == set(FULL.split())
    assert await ids(world, given["access_token"], "/Observation") == {"lab-anna", "vital-anna"}
    assert (await world.fhir("GET", "/Observation/lab-bert", given["access_token"])).status_code == 404
    assert (await world.fhir("GET", "/Condition", given["access_token"])).status_code == 403


async def test_the_token_response_is_kept_by_no_cache(world: World) -> None:
    doctor = await world.someone("doc", "Practitioner/d")
    app = await world.app()
    answer = await app.redeem(await app.code(doctor, "patient/Patient.rs", patient="anna"))
    assert answer.headers["cache-control"] == "no-store" and answer.headers["pragma"] == "no-cache"
    assert answer.headers["content-type"] == "application/json"
    assert "refresh_token" not in answer.json() and "id_token" not in answer.json()


async def test_the_id_token_says_who_signed_in_and_that_can_be_read(world: World) -> None:
    doctor = await world.someone("doc", "Practitioner/d")
    app = await world.app()
    given = await app.token(doctor, "openid fhirUser patient/Observation.rs", patient="anna", nonce="n-0")
    keys = (await world.http.get("http://test/auth/jwks")).json()
    decoded = jwt.decode(given["id_token"], KeySet.import_key_set(keys), algorithms=["RS256"])
    assert decoded.header["alg"] == "RS256" and decoded.header["kid"] == keys["keys"][0]["kid"]
    claims = decoded.claims
    assert (claims["iss"], claims["aud"], claims["nonce"]) == (BASE, app.id, "n-0")
    assert claims["fhirUser"] == f"{BASE}/Practitioner/d" and claims["auth_time"] <= claims["iat"]
    answer = await world.http.get(
        claims["fhirUser"], headers={"Authorization": f"Bearer {given['access_token']}"}
    )
    assert answer.status_code == 200 and answer.json()["id"] == "d"


async def test_fhir_user_can_be_read_whoever_it_is(world: World) -> None:
    await world.put({"resourceType": "RelatedPerson", "id": "mum", "patient": {"reference": "Patient/bert"}})
    people = {
        "Patient/anna": await world.someone("anna", "Patient/anna"),
        "RelatedPerson/mum": await world.someone("mum", "RelatedPerson/mum"),
        "Person/nobody": await world.someone("nobody"),
    }
    app = await world.app()
    for reference, who in people.items():
        given = await app.token(who, "openid fhirUser user/Observation.rs")
        assert (await world.fhir("GET", f"/{reference}", given["access_token"])).status_code == 200, reference
        type_ = reference.partition("/")[0]
        assert (await world.fhir("GET", f"/{type_}/other", given["access_token"])).status_code in (403, 404)


async def test_a_patient_is_not_asked_whom_it_is_about(world: World) -> None:
    anna = await world.someone("anna", "Patient/anna")
    app = await world.app()
    page = await app.page(anna, FULL)
    assert "Anna Example" in page.text and "1980-01-01" in page.text
    given = (await app.redeem(query_of((await page.allow()).headers["location"])["code"])).json()
    assert given["patient"] == "anna"


async def test_the_picker_shows_whom_one_may_see_and_no_others(world: World) -> None:
    await world.put(
        {"resourceType": "RelatedPerson", "id": "dad-b", "patient": {"reference": "Patient/bert"}},
        {"resourceType": "RelatedPerson", "id": "dad-c", "patient": {"reference": "Patient/cora"}},
    )
    dad = await world.someone("dad", "RelatedPerson/dad-b", "RelatedPerson/dad-c")
    app = await world.app()
    page = await app.page(dad, "patient/*.rs")
    assert "Bert Example" in page.text and "Cora Example" in page.text and "Anna" not in page.text
    assert (await page.send(patient="anna")).status_code == 404
    assert (await page.send(patient="unknown")).status_code == 404
    given = await app.token(dad, "patient/*.rs", patient="cora")
    assert await ids(world, given["access_token"], "/Patient") == {"cora"}


@pytest.mark.parametrize("picked", ["", "bert,anna", "nobody,anna", "bert$anna"])
async def test_what_is_picked_is_one_patient(world: World, picked: str) -> None:
    doctor = await world.someone("d", "Practitioner/d")
    app = await world.app("launch/patient patient/*.rs")
    answer = await app.ask(doctor, "launch/patient patient/*.rs")
    page = await app.arrive(doctor, answer)
    assert (await page.send(patient=picked)).status_code == 404


async def test_the_picker_searches(world: World) -> None:
    doctor = await world.someone("doc", "Practitioner/d")
    app = await world.app()
    page = await app.page(doctor, "patient/*.rs")
    assert page.answer.request.url.path == "/auth/patient"

    async def found(words: str) -> set[str]:
        answer = await world.http.get(
            "http://test/auth/patient",
            params={"ticket": page.value("ticket"), "words": words},
            headers=doctor.headers,
        )
        return {name for name in ("Anna", "Bert", "Cora") if f"{name} Example" in answer.text}

    assert await found("") == {"Anna", "Bert", "Cora"}
    assert await found("ber") == {"Bert"}
    assert await found("cora-4711") == {"Cora"}
    assert await found("example anna 1980-01-01") == {"Anna"}
    assert await found("1999-01-01") == set()
    assert await found("a|b,c$d\\ <script>") == set()


async def test_an_encounter_can_be_chosen(world: World) -> None:
    doctor = await world.someone("doc", "Practitioner/d")
    app = await world.app()
    page = await app.page(doctor, "launch/patient launch/encounter patient/*.rs", patient="anna")
    assert "2024-05-06 ambulatory" in page.text
    answer = await page.allow(encounter="visit-anna")
    given = (await app.redeem(query_of(answer.headers["location"])["code"])).json()
    assert (given["patient"], given["encounter"]) == ("anna", "visit-anna")
    page = await app.page(doctor, "launch/patient launch/encounter patient/*.rs", patient="bert")
    answer = await page.allow(encounter="visit-anna")
    given = (await app.redeem(query_of(answer.headers["location"])["code"])).json()
    assert "encounter" not in given


async def test_what_is_not_ticked_is_not_granted(world: World) -> None:
    doctor = await world.someone("doc", "Practitioner/d")
    app = await world.app()
    page = await app.page(doctor, FULL, patient="anna")
    assert set(page.offered) == set(FULL.split())
    kept = [one for one in page.offered if one not in ("offline_access", "patient/Patient.rs")]
    answer = await page.allow(kept)
    given = (await app.redeem(query_of(answer.headers["location"])["code"])).json()
    assert set(given["scope"].split()) == set(kept) and "refresh_token" not in given
    assert (await world.fhir("GET", "/Patient/anna", given["access_token"])).status_code == 403
    assert await ids(world, given["access_token"], "/Observation") == {"lab-anna", "vital-anna"}


async def test_a_scope_can_be_narrowed_to_categories(world: World) -> None:
    doctor = await world.someone("doc", "Practitioner/d")
    app = await world.app()
    page = await app.page(doctor, "patient/Observation.rs patient/Patient.r", patient="anna")
    vital = next(one for one in page.parts if one.endswith("|vital-signs"))
    assert vital.startswith("patient/Observation.rs?category=http://terminology.hl7.org/")
    answer = await page.allow([vital, "patient/Patient.r"])
    given = (await app.redeem(query_of(answer.headers["location"])["code"])).json()
    assert set(given["scope"].split()) == {vital, "patient/Patient.r"}
    assert await ids(world, given["access_token"], "/Observation") == {"vital-anna"}


async def test_a_wildcard_can_be_narrowed_to_types(world: World) -> None:
    doctor = await world.someone("doc", "Practitioner/d")
    app = await world.app()
    page = await app.page(doctor, "patient/*.rs", patient="anna")
    answer = await page.allow(["patient/Observation.rs"])
    given = (await app.redeem(query_of(answer.headers["location"])["code"])).json()
    assert given["scope"] == "patient/Observation.rs"


async def test_nothing_that_was_not_offered_can_be_ticked(world: World) -> None:
    doctor = await world.someone("doc", "Practitioner/d")
    app = await world.app()
    page = await app.page(doctor, "patient/Observation.rs", patient="anna")
    answer = await page.allow(["patient/Observation.rs", "user/*.cruds", "offline_access", "patient/*.rs"])
    given = (await app.redeem(query_of(answer.headers["location"])["code"])).json()
    assert given["scope"] == "patient/Observation.rs"


async def test_scopes_of_version_1_are_given_back_as_such(world: World) -> None:
    doctor = await world.someone("doc", "Practitioner/d")
    app = await world.app()
    scope = "launch/patient patient/Observation.read patient/Patient.*"
    page = await app.page(doctor, scope, patient="anna")
    assert page.parts == []
    given = await app.token(doctor, scope, patient="anna")
    assert set(given["scope"].split()) == set(scope.split())
    assert await ids(world, given["access_token"], "/Observation") == {"lab-anna", "vital-anna"}


async def test_offline_access_is_said(world: World) -> None:
    doctor = await world.someone("doc", "Practitioner/d")
    app = await world.app()
    page = await app.page(doctor, FULL, patient="anna")
    assert "while you are away, for up to 180 days" in page.text
    assert "See measurements, laboratory results and other observations" in page.text


async def test_no_is_told_to_the_app(world: World) -> None:
    doctor = await world.someone("doc", "Practitioner/d")
    app = await world.app()
    page = await app.page(doctor, FULL, patient="anna")
    for answer in (await page.send(decision="deny"), await page.allow([]), await page.send()):
        assert answer.status_code == 303
        given = query_of(answer.headers["location"])
        assert (given["error"], given["state"], given["iss"]) == ("access_denied", "s-1", BASE)
        assert "code" not in given


async def test_the_request_can_be_posted(world: World) -> None:
    doctor = await world.someone("doc", "Practitioner/d")
    app = await world.app(public=True)
    answer = await world.http.post(
        "http://test/auth/authorize", data=app.request("patient/Patient.rs"), headers=doctor.headers
    )
    page = await app.arrive(doctor, answer, "anna")
    code = query_of((await page.allow()).headers["location"])["code"]
    assert (await app.redeem(code)).json()["patient"] == "anna"


async def test_whoever_is_not_signed_in_signs_in_first(world: World) -> None:
    doctor = await world.someone("doc", "Practitioner/d")
    app = await world.app()
    answer = await app.ask(None, FULL)
    place = answer.headers["location"]
    assert place.startswith("/auth/consent?ticket=")
    answer = await world.http.get(f"http://test{place}")
    assert answer.status_code == 303
    where = httpx.URL(answer.headers["location"])
    assert where.path == "/auth/sign-in" and where.params["next"].startswith("/auth/consent?ticket=")
    again = await world.http.get(f"http://test{where.params['next']}", headers=doctor.headers)
    assert again.headers["location"].startswith("/auth/patient?ticket=")


async def test_the_app_can_ask_to_sign_in_again(world: World) -> None:
    doctor = await world.someone("doc", "Practitioner/d")
    app = await world.app()
    await world.sql("UPDATE auth.session SET created = created - interval '1 hour'")
    for more in ({"prompt": "login"}, {"max_age": "600"}, {"max_age": "0"}):
        page = await app.page(doctor, FULL, **more)
        where = httpx.URL(page.answer.request.url)
        assert where.path == "/auth/sign-in" and where.params["again"] == "1", more
    assert (await app.page(doctor, FULL, max_age="7200")).answer.request.url.path == "/auth/patient"
    fresh = await world.signed_in("doc", doctor.account)
    assert (await app.page(fresh, FULL, max_age="600")).answer.request.url.path == "/auth/patient"


async def test_nobody_is_asked_with_prompt_none(world: World) -> None:
    doctor = await world.someone("doc", "Practitioner/d")
    app = await world.app()
    for who, error in ((None, "login_required"), (doctor, "consent_required")):
        given = query_of((await app.ask(who, FULL, prompt="none")).headers["location"])
        assert (given["error"], given["state"]) == (error, "s-1")


async def test_the_pages_are_guarded(world: World) -> None:
    doctor = await world.someone("doc", "Practitioner/d")
    app = await world.app()
    page = await app.page(doctor, FULL, patient="anna")
    policy = page.answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "form-action 'self' https://app.example" in policy
    assert page.answer.headers["cache-control"] == "no-store"
    assert "<script" not in page.text and "style=" not in page.text
    form = {"ticket": page.value("ticket"), "decision": "allow", "scope": page.offered}
    for csrf in ("", "x", page.value("csrf")[:-4] + "AAA="):
        answer = await world.http.post(
            "http://test/auth/consent", data={**form, "csrf": csrf}, headers=doctor.headers
        )
        assert answer.status_code == 403
