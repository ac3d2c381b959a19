"""The API explorer in a browser: it works, and asks nobody but this server."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support import chromium
from tests.support.server import process

NAME = "<img src=x onerror=alert(1)>"

pytestmark = chromium.needed


class Explored(chromium.Watched):
    """The explorer, from which nothing else may be asked."""

    def run(self) -> str:
        """Run the request; the status that is shown."""
        with self.page.expect_response(lambda response: "/fhir" in urlsplit(response.url).path):
            self.page.click("#request button[type=submit]")
        self.page.wait_for_selector("#request:not([aria-busy])")
        return self.page.inner_text("#answer .status")


@pytest.fixture(scope="module")
def base(database: str) -> Iterator[str]:
    """The FHIR base of a running server with three patients and an observation."""
    with process(environment={"DATABASE_URL": database, "FHIRSERVER_DEVELOPMENT": "true"}) as server:
        for number in range(3):
            name = {"family": f"Explored{number}", "given": [NAME]}
            patient = {"resourceType": "Patient", "id": f"p{number}", "name": [name]}
            assert httpx.put(f"{server.url}/Patient/p{number}", json=patient).status_code == 201
        observation = (
            '{"resourceType":"Observation","id":"o","status":"final","code":{"text":"x"},'
            '"subject":{"reference":"Patient/p1"},"valueQuantity":{"value":1.50}}'
        )
        headers = {"Content-Type": "application/fhir+json"}
        made = httpx.put(f"{server.url}/Observation/o", content=observation, headers=headers)
        assert made.status_code == 201
        yield server.url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.launched() as found:
        yield found


@pytest.fixture
def watched(browser: Browser, base: str) -> Iterator[Explored]:
    """A fresh page at /docs; at its end nothing may have left the server, nor been complained about."""
    context = browser.new_context(
        viewport={"width": 1300, "height": 900}, permissions=["clipboard-read", "clipboard-write"]
    )
    seen = Explored(context.new_page())
    origin = base.removesuffix("/fhir")
    seen.page.goto(f"{origin}/docs")
    seen.page.wait_for_selector("#types a")
    yield seen
    assert {urlsplit(url)._replace(path="", query="", fragment="").geturl() for url in seen.requested} == {
        origin
    }
    assert seen.complaints == []
    context.close()


def choose(page: Page, name: str, operation: str) -> None:
    page.fill("#filter", name)
    page.click(f"#types a:text-is('{name}')")
    page.wait_for_selector(f"h2:text-is('{name}')")
    page.click(f"#operations a[href='#{name}/{name}-{operation}']")
    page.wait_for_selector(f"#operations a[href='#{name}/{name}-{operation}'][aria-current]")


def parameter(page: Page, place: int, name: str, value: str) -> None:
    rows = page.locator("#request .row")
    if rows.count() <= place:
        page.click("text=Add a parameter")
    rows.nth(place).locator("select").first.select_option(name)
    rows.nth(place).locator(".value input").fill(value)


def test_search_page_and_follow(watched: Explored, base: str) -> None:
    page = watched.page
    choose(page, "Patient", "search-type")
    parameter(page, 0, "family", "explored")
    parameter(page, 1, "_count", "2")
    parameter(page, 2, "_sort", "family")
    assert page.inner_text("#url") == f"GET {base}/Patient?family=explored&_count=2&_sort=family"
    assert watched.run() == "200 OK"
    assert page.inner_text("#answer .line:nth-of-type(2) span") == "2 entries · 3 in total"
    assert NAME in page.inner_text("#answer pre.json")
    assert page.locator("#answer img").count() == 0
    page.click("#answer button:text-is('Next')")
    page.wait_for_selector("text=1 entry · 3 in total")
    page.click("#answer a:has-text('Patient/p2')")
    page.wait_for_selector("#answer .status")
    assert page.inner_text("#url") == f"GET {base}/Patient/p2"
    assert json.loads(page.inner_text("#answer pre.json"))["id"] == "p2"
    page.go_back()
    page.wait_for_selector("#answer .status")
    assert page.inner_text("#url").endswith("family=explored&_count=2&_sort=family")


def test_an_address_can_be_shared(watched: Explored, base: str) -> None:
    page = watched.page
    page.goto(f"{base.removesuffix('/fhir')}/docs#Observation/Observation-read?{{id}}=o")
    page.wait_for_selector("#answer .status")
    assert page.inner_text("#answer .status") == "200 OK"
    assert '"value": 1.50' in page.inner_text("#answer pre.json")
    page.click("#answer a:has-text('Patient/p1')")
    page.wait_for_selector("h2:text-is('Patient')")
    page.wait_for_selector("#answer .status")
    assert page.inner_text("#url") == f"GET {base}/Patient/p1"


def test_write_what_was_read(watched: Explored, base: str) -> None:
    page = watched.page
    choose(page, "Observation", "update")
    page.fill("#request .field input", "o")
    page.click("text=Load the current version")
    expect(page.locator("textarea")).to_have_value(re.compile(r"1\.50"))
    page.fill("textarea", page.input_value("textarea") + "}")
    assert "not JSON" in page.inner_text("#fault")
    page.fill("textarea", page.input_value("textarea")[:-1].replace("final", "amended"))
    assert page.inner_text("#fault") == ""
    assert watched.run() == "200 OK"
    assert httpx.get(f"{base}/Observation/o").text.count("1.50") == 1
    page.click("#operations a[href='#Observation/Observation-create']")
    page.wait_for_selector("#url .post")
    assert json.loads(page.input_value("textarea")) == {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": ""},
    }
    assert watched.run() == "400 Bad Request"
    assert "OperationOutcome" in page.inner_text("#answer pre.json")


def test_forms_and_xml(watched: Explored, base: str) -> None:
    page = watched.page
    choose(page, "Patient", "search-type-form")
    parameter(page, 0, "_id", "p1,p2")
    page.select_option("#format", "application/fhir+xml")
    assert page.inner_text("#url") == f"POST {base}/Patient/_search"
    assert watched.run() == "200 OK"
    text = page.inner_text("#answer pre.json")
    assert text.startswith("<") and '<total value="2"/>' in text


def test_curl_does_the_same(watched: Explored, base: str) -> None:
    page = watched.page
    choose(page, "Patient", "create")
    family = 'O\'Brien \\ "x" $HOME'
    page.fill("textarea", json.dumps({"resourceType": "Patient", "name": [{"family": family}]}))
    page.fill("#token", "secret")
    page.click("#copy")
    page.wait_for_selector("text=Copied")
    command = page.evaluate("navigator.clipboard.readText()")
    assert "secret" not in command and "$TOKEN" in command
    words = shlex.split(command.replace("\\\n", " "))
    assert words[:5] == ["curl", "-i", "-X", "POST", f"{base}/Patient"]
    assert json.loads(words[-1])["name"][0]["family"] == family
    if shutil.which("curl"):
        done = subprocess.run(
            ["sh", "-c", command], capture_output=True, text=True, check=True, env={"TOKEN": "t"}
        )
        assert done.stdout.startswith("HTTP/1.1 201")


def test_every_interaction_has_a_form(watched: Explored) -> None:
    page = watched.page
    for name in ("System", "Patient", "Binary"):
        page.evaluate("name => { location.hash = name }", name)
        page.wait_for_selector(f"h2:text-is('{'Whole system' if name == 'System' else name}')")
        for link in page.locator("#operations a").all():
            link.click()
            page.wait_for_selector(f"#operations a[href='{link.get_attribute('href')}'][aria-current]")
            assert page.inner_text("#url .method")
            assert page.evaluate(chromium.NAMELESS) == []


def test_it_fits_a_telephone(watched: Explored) -> None:
    page = watched.page
    page.set_viewport_size({"width": 375, "height": 700})
    choose(page, "Patient", "search-type")
    watched.run()
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_scripts_from_elsewhere_are_refused(base: str) -> None:
    origin = base.removesuffix("/fhir")
    page = httpx.get(f"{origin}/docs")
    policy = dict(
        part.strip().partition(" ")[::2] for part in page.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "connect-src", "img-src")} == {"'self'"}
    assert page.headers["x-content-type-options"] == "nosniff"
    again = httpx.get(f"{origin}/docs", headers={"If-None-Match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert httpx.get(f"{origin}/docs/assets/nothing.js").status_code == 404
    assert httpx.get(f"{origin}/docs/assets/..%2f__init__.py").status_code == 404
    wrong = httpx.get(f"{origin}/docs/openapi.json", params={"type": "Patinet"})
    assert wrong.status_code == 404 and "Patient" in wrong.json()["issue"][0]["diagnostics"]
    document = httpx.get(f"{origin}/docs/openapi.json", params={"type": "Patient"})
    assert document.json()["servers"] == [{"url": base}]
