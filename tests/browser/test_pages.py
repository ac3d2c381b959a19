"""The pages as people meet them: with a keyboard alone, on a phone, in the dark.

With FHIRSERVER_TEST_SCREENSHOTS=FOLDER each page is also kept there as a picture, to be looked at.
"""

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.clinic import PASSWORD
from tests.browser.conftest import Open, Site
from tests.browser.test_app import STANDALONE, address, sign_in
from tests.support import chromium

pytestmark = chromium.needed

LOOKS = (Path(__file__).parent / "looks.js").read_text()
PICTURES = os.environ.get("FHIRSERVER_TEST_SCREENSHOTS")
WIDE, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
SCOPE = f"{STANDALONE} launch/encounter patient/Encounter.r"


@dataclass
class Seen:
    """Looks at pages as they come by."""

    page: Page
    name: str
    wrong: dict[str, list[str]] = field(default_factory=dict)

    def look(self, what: str) -> None:
        self.page.wait_for_load_state()
        if PICTURES:
            folder = Path(PICTURES)
            folder.mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=folder / f"{what}-{self.name}.png", full_page=True)
        if wrong := self.page.evaluate(LOOKS):
            self.wrong[what] = wrong


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[WIDE, PHONE], ids=["1280", "390"])
def seen(request: pytest.FixtureRequest, scheme: str, opened: Open) -> Iterator[Seen]:
    size = request.param
    watched = opened(viewport=size, color_scheme=scheme)
    seen = Seen(watched.page, f"{size['width']}-{scheme}")
    yield seen
    assert seen.wrong == {}


def test_every_page_can_be_read_and_used(site: Site, app_url: str, seen: Seen) -> None:
    page = seen.page
    # Each picture has an app of its own, as all of them are bert's.
    client = site.register(f"Heartline {seen.name}", app_url, client_uri="https://heartline.example/about")
    ask = {"iss": site.base, "client": client, "scope": SCOPE}
    page.goto(address(app_url, **ask))
    expect(page).to_have_title("Sign in - Riverside Clinic")
    seen.look("sign-in")
    page.fill("#login", "bert@example.org")
    page.fill("#password", "wrong horse")
    page.click("button:text-is('Sign in')")
    expect(page.get_by_role("alert")).to_be_visible()
    seen.look("sign-in-wrong")
    sign_in_again(page)
    expect(page.locator("h1")).to_have_text(f"Heartline {seen.name} asks for access")
    seen.look("consent")
    page.locator("details summary").first.click()
    seen.look("consent-parts")
    assert page.locator("a:text-is('Choose another patient')").count() == 0, "there is nobody else"
    page.click("button:text-is('Allow')")
    expect(page.locator("#state")).to_have_text("read 2")
    for name in ("apps", "account", "password", "totp"):
        page.goto(site.page(name))
        seen.look(name)
    page.goto(site.page("authorize?client_id=unknown"))
    seen.look("error")
    page.goto(site.page("account"))
    page.click("button:text-is('Sign out')")
    for name in ("forgot", "join"):
        page.goto(site.page(name))
        seen.look(name)


def sign_in_again(page: Page) -> None:
    page.fill("#login", "bert@example.org")
    page.fill("#password", PASSWORD)
    page.click("button:text-is('Sign in')")


def test_the_picker_and_the_end_of_access(site: Site, app_url: str, seen: Seen) -> None:
    page = seen.page
    client = site.register("Rounds", app_url)
    page.goto(address(app_url, iss=site.base, client=client, scope=STANDALONE))
    sign_in(page, "dr.ito@example.org")
    expect(page.locator("h1")).to_have_text("Choose a patient")
    seen.look("picker")
    page.fill("#words", "nobody at all")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_be_visible()
    seen.look("picker-nobody")


def test_a_forgotten_password(site: Site, seen: Seen) -> None:
    """The link stands in the log, as there is no mail server."""
    page = seen.page
    page.goto(site.page("forgot"))
    page.fill("#login", "forgetful@example.org")
    known = len(_links(site))
    page.click("button:text-is('Send the link')")
    seen.look("forgot-sent")
    deadline = time.monotonic() + 15
    while len(_links(site)) == known and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    page.goto(_links(site)[-1])
    seen.look("reset")
    page.fill("#new", "short")
    page.fill("#again", "short")
    page.click("button:text-is('Save the password')")
    expect(page.get_by_role("alert")).to_contain_text("12 characters")
    seen.look("reset-wrong")
    password = f"{PASSWORD} {seen.name}"
    page.fill("#new", password)
    page.fill("#again", password)
    page.click("button:text-is('Save the password')")
    seen.look("reset-done")
    page.goto(site.page("sign-in"))
    page.fill("#login", "forgetful@example.org")
    page.fill("#password", password)
    page.click("button:text-is('Sign in')")
    expect(page.locator("h1")).to_have_text("Flora Forgetful")
    page.goto(site.page("reset/not-a-link"))
    seen.look("reset-over")


def _links(site: Site) -> list[str]:
    return re.findall(r"http://[^\s\"']+/auth/reset/[\w-]+", "".join(site.server.lines))


# -- with the keyboard alone


FOCUSED = """() => {
  const one = document.activeElement, style = getComputedStyle(one);
  const name = one.getAttribute("aria-label") || one.labels?.[0]?.textContent || one.textContent;
  return [name.trim(), one === document.body || style.outlineStyle !== "none" || style.boxShadow !== "none"];
}"""
"""Name of what has the focus, and whether one sees that."""

ORDER = """() => [...document.querySelectorAll("main :is(input:not([type=hidden]), a, button, summary)")]
    .filter((one) => one.checkVisibility()).map((one) => one.getBoundingClientRect().top)"""
"""How far down the page is what can have the focus, in the order of the Tab key."""


def reach(page: Page, text: str, steps: int = 60) -> None:
    """Tab until what has the focus says `text`; the focus must be seen on the way."""
    for _ in range(steps):
        page.keyboard.press("Tab")
        told = page.evaluate(FOCUSED)
        assert told[1], f"no focus to be seen on {told[0]!r}"
        if text in told[0]:
            return
    raise AssertionError(f"{text!r} is not reached")


def test_signing_in_and_allowing_needs_no_mouse(site: Site, app_url: str, opened: Open) -> None:
    client = site.register("Heartline", app_url)
    page = opened().page
    page.goto(address(app_url, iss=site.base, client=client, scope=SCOPE))
    expect(page.locator("#login")).to_be_focused()
    page.keyboard.type("anna@example.org")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Heartline asks for access")
    order = page.evaluate(ORDER)
    assert order == sorted(order), "the focus jumps up the page"
    reach(page, "See conditions and diagnoses")
    page.keyboard.press("Space")
    expect(page.get_by_role("checkbox", name="See conditions and diagnoses")).not_to_be_checked()
    reach(page, "Only parts of it")
    page.keyboard.press("Enter")
    reach(page, "Do not allow")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{app_url}**")
    expect(page.locator("#state")).to_have_text("read 2")
    assert "patient/Condition.rs" not in page.inner_text("#granted").split()


def test_a_picker_needs_no_mouse(site: Site, app_url: str, opened: Open) -> None:
    client = site.register("Rounds", app_url)
    page = opened().page
    page.goto(address(app_url, iss=site.base, client=client, scope=STANDALONE))
    sign_in(page, "dr.ito@example.org")
    expect(page.locator("h1")).to_have_text("Choose a patient")
    reach(page, "Choose Bert Okafor")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_contain_text("Record: Bert Okafor")
    given = parse_qs(urlsplit(page.url).query)
    assert set(given) == {"ticket"}
