"""A real SMART app, built on fhirclient, from the launch to the end of its access.

https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html
"""

import json
from urllib.parse import urlencode

import httpx
from playwright.sync_api import Page, expect

from tests.browser.clinic import PASSWORD
from tests.browser.conftest import Open, Site, wait
from tests.support import chromium
from tests.support.callers import CLIENT, granted

pytestmark = chromium.needed

STANDALONE = (
    "openid fhirUser offline_access launch/patient"
    " patient/Patient.rs patient/Observation.rs patient/Condition.rs"
)
VITALS = ["Heart rate: 62 /min", "Body temperature: 36.8 Cel"]


def address(app_url: str, **query: str) -> str:
    return f"{app_url}?{urlencode(query)}"


def sign_in(page: Page, login: str) -> None:
    expect(page).to_have_title("Sign in - Riverside Clinic")
    page.fill("#login", login)
    page.fill("#password", PASSWORD)
    page.click("button:text-is('Sign in')")


def allow(page: Page, app_url: str) -> None:
    page.click("button:text-is('Allow')")
    page.wait_for_url(f"{app_url}**")


def shows_vitals(page: Page) -> None:
    expect(page.locator("#state")).to_have_text("read 2")
    assert sorted(page.locator("#vitals li").all_inner_texts()) == sorted(VITALS)


def read(page: Page, path: str) -> tuple[int, str]:
    """What the app reads now: the status of the FHIR answer, and what the app makes of it."""
    page.fill("#path", path)
    with page.expect_response(
        lambda answer: "/fhir/" in answer.url and answer.request.method == "GET"
    ) as seen:
        page.click("#read")
    page.wait_for_function("document.getElementById('state').textContent !== 'reading'")
    return seen.value.status, page.inner_text("#state")


def test_a_patient_lets_an_app_in_and_ends_its_access(site: Site, app_url: str, opened: Open) -> None:
    client = site.register("Heartline", app_url, scope=STANDALONE)
    page = opened().page
    page.goto(address(app_url, iss=site.base, client=client, scope=STANDALONE))
    sign_in(page, "anna@example.org")
    expect(page.locator("h1")).to_have_text("Heartline asks for access")
    expect(page.locator("main")).to_contain_text("In the record of Anna Lind")
    page.uncheck("input[value='patient/Condition.rs']")
    allow(page, app_url)

    shows_vitals(page)
    expect(page.locator("#patient")).to_have_text("Anna Lind")
    expect(page.locator("#user")).to_have_text("Patient anna")
    scopes = page.inner_text("#granted").split()
    assert "patient/Condition.rs" not in scopes and set(scopes) == set(STANDALONE.split()) - {
        "patient/Condition.rs"
    }
    assert read(page, "Condition")[0] == 403

    page.click("#refresh")
    expect(page.locator("#state")).to_have_text("refreshed")
    assert read(page, "Observation?category=vital-signs") == (200, "read 2")
    with page.expect_request(lambda request: "/fhir/Observation" in request.url) as asked:
        page.click("#read")
    with_token = {"Authorization": asked.value.headers["authorization"]}

    apps = page.context.new_page()
    apps.goto(site.page("apps"))
    expect(apps.locator("h2")).to_have_text("Heartline")
    apps.click("button:text-is('End access of Heartline')")
    expect(apps.locator("main")).to_contain_text("No app has access through you.")

    assert read(page, "Observation?category=vital-signs")[0] == 401
    refused = httpx.get(f"{site.base}/Patient/anna", headers=with_token)
    assert refused.status_code == 401 and 'error="invalid_token"' in refused.headers["www-authenticate"]
    page.click("#refresh")
    expect(page.locator("#state")).to_contain_text("refused")


def test_a_practitioner_picks_the_patient(site: Site, app_url: str, opened: Open) -> None:
    client = site.register("Rounds", app_url, scope=STANDALONE)
    page = opened().page
    page.goto(address(app_url, iss=site.base, client=client, scope=STANDALONE))
    sign_in(page, "dr.ito@example.org")
    expect(page.locator("h1")).to_have_text("Choose a patient")
    assert page.locator("main li").count() == 3
    page.fill("#words", "márquez")
    page.keyboard.press("Enter")
    expect(page.locator("main li")).to_have_count(1)
    page.get_by_role("button", name="Choose Chloé Márquez, born 1984-05-12").click()
    expect(page.locator("main")).to_contain_text("Record: Chloé Márquez, born 1984-05-12")
    allow(page, app_url)
    shows_vitals(page)
    expect(page.locator("#patient")).to_have_text("Chloé Márquez")
    expect(page.locator("#user")).to_have_text("Practitioner ito")


def test_an_ehr_opens_the_app(site: Site, app_url: str, opened: Open) -> None:
    scope = "launch openid fhirUser online_access patient/Patient.r patient/Observation.rs"
    client = site.register("Rounds", app_url, scope=scope, launch_uri=app_url)
    ehr = wait(granted(site.dsn, "launch"))
    wait(_make_ehr(site.dsn))
    given = {
        "client_id": client,
        "user": "Practitioner/ito",
        "patient": "bert",
        "encounter": "visit",
        "intent": "order-review",
        "need_patient_banner": False,
    }
    answer = httpx.post(site.page("launch"), json=given, headers=ehr.headers)
    assert answer.status_code == 201, answer.text
    # The EHR's own users are signed in already.
    page = opened().page
    page.goto(site.page("sign-in"))
    sign_in(page, "dr.ito@example.org")
    expect(page.locator("h1")).to_have_text("Dr. Mai Ito")
    page.goto(f"{answer.json()['launch_uri']}&{urlencode({'client': client, 'scope': scope})}")
    expect(page.locator("main")).to_contain_text("Bert Okafor")
    assert page.locator("a:text-is('Choose another patient')").count() == 0
    allow(page, app_url)
    shows_vitals(page)
    expect(page.locator("#patient")).to_have_text("Bert Okafor")
    told = json.loads(page.inner_text("#context"))
    assert told == {
        "patient": "bert",
        "encounter": "visit",
        "intent": "order-review",
        "need_patient_banner": False,
    }
    page.click("#refresh")
    expect(page.locator("#state")).to_have_text("refreshed")
    # Online access ends with the session.
    other = page.context.new_page()
    other.goto(site.page("account"))
    other.click("button:text-is('Sign out')")
    expect(other).to_have_title("Sign in - Riverside Clinic")
    assert read(page, "Observation?category=vital-signs")[0] == 401


async def _make_ehr(dsn: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(dsn)
    await connection.execute("""UPDATE auth.client SET metadata = '{"ehr": true}' WHERE id = $1""", CLIENT)
    await connection.close()


def test_who_does_not_allow_is_sent_back(site: Site, app_url: str, opened: Open) -> None:
    client = site.register("Nosy", app_url)
    page = opened().page
    page.goto(address(app_url, iss=site.base, client=client, scope=STANDALONE))
    sign_in(page, "bert@example.org")
    page.click("button:text-is('Do not allow')")
    page.wait_for_url(f"{app_url}**")
    expect(page.locator("#state")).to_have_text("refused: access_denied")
