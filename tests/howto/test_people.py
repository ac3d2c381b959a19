"""The how-tos in which somebody signs in: each command as it stands there, the person in a Chromium."""

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open
from tests.howto.pages import HOWTO, Reader, block, blocks
from tests.support import chromium

pytestmark = chromium.needed

APPS, PROGRAMS = "smart-apps.md", "no-password-grant.md"
THERE = "http://localhost:8000/"
BACK = "http://127.0.0.1:8765/"
PASSWORD = "lampshade wobbles north"


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """`python3 -m http.server` in a folder."""
    with ThreadingHTTPServer(("localhost", 0), partial(_Files, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()
        thread.join(10)


@pytest.fixture(scope="module")
def anna(reader: Reader) -> list[str]:
    """Anna's password: until she has signed in, the one-time password of the command line."""
    said = reader.type(block(APPS, "sh", "user add"))
    return [said.partition("one-time password ")[2].split()[0]]


def sign_in(page: Page, login: str, passwords: list[str]) -> None:
    page.fill("#login", login)
    page.fill("#password", passwords[-1])
    page.click("button:text-is('Sign in')")
    if passwords[-1] != PASSWORD:
        page.fill("#new", PASSWORD)
        page.fill("#again", PASSWORD)
        page.click("button:text-is('Save the password')")
        passwords.append(PASSWORD)


def test_the_app_of_the_page(
    reader: Reader, anna: list[str], opened: Open, app_files: Path, tmp_path: Path
) -> None:
    shutil.copy(app_files / "fhir-client.js", tmp_path)
    (tmp_path / "index.html").write_text(block(APPS, "html", "FHIR.oauth2.init"))
    with served(tmp_path) as there:
        assert "heartline" in reader.type(block(APPS, "sh", "--id heartline"), **{THERE: there})
        page = opened().page
        page.goto(f"{there}?iss={reader.server.url}")
        sign_in(page, "anna@example.org", anna)
        page.click("button:text-is('Allow')")
        expect(page.locator("#name")).to_have_text("Anna")
        expect(page.locator("#list")).to_have_text("Heart rate: 62 /min")
        said = reader.type(block(APPS, "sh", "client launch"), **{THERE: there})
        launch = re.search(rf"{there}\?\S+", said)
        assert launch is not None, said
        launched = opened().page
        launched.goto(launch[0])
        sign_in(launched, "anna@example.org", anna)
        launched.click("button:text-is('Allow')")
        expect(launched.locator("#name")).to_have_text("Anna")
        page.goto(f"{reader.server.url.removesuffix('/fhir')}/auth/apps")
        expect(page.locator("h2").first).to_have_text("Heartline")
        assert "heartline" in reader.type(block(APPS, "sh", "client revoke"))
        page.reload()
        expect(page.locator("main")).to_contain_text("No app has access through you.")


def test_apps_register_themselves(reader: Reader) -> None:
    assert "approved" in reader.type(block(APPS, "sh", "registered.json"))
    assert "Walk-in" in reader.type("fhirserver client list")


def test_what_is_refused_on_a_page_stands_in_the_table(reader: Reader, opened: Open) -> None:
    reader.type(f"fhirserver client add Titled --id titled --redirect {BACK}")
    place, page = f"{reader.server.url.removesuffix('/fhir')}/auth/authorize", opened().page
    table = (HOWTO / APPS).read_text(encoding="utf-8")
    for query in ("client_id=nobody", f"client_id=titled&redirect_uri={BACK}x"):
        page.goto(f"{place}?{query}")
        assert f'"{page.inner_text("h1")}"' in table
    reader.type("fhirserver client revoke titled")
    page.goto(f"{place}?client_id=titled&redirect_uri={BACK}")
    assert f'"{page.inner_text("h1")}"' in table


def test_a_program_signs_a_person_in_and_stays_in(reader: Reader, anna: list[str], opened: Open) -> None:
    port = {"8765": str(_free_port())}
    add, first, again, demo = blocks(PROGRAMS, "sh")
    reader.type(add, **port)
    first = first.replace("my-program --keep", f"my-program --port {port['8765']} --keep")
    with reader.begin(first) as running:
        page = opened().page
        page.goto(_address(running))
        sign_in(page, "anna@example.org", anna)
        page.click("button:text-is('Allow')")
        expect(page.locator("h1")).to_have_text("Signed in")
        found, complained = running.communicate(timeout=60)
    assert running.returncode == 0 and '"id":"anna"' in found, complained
    assert (reader.folder / "my-program.json").stat().st_mode & 0o77 == 0
    # The next time nobody is asked; the refresh token is another one then.
    before = (reader.folder / "my-program.json").read_text()
    assert '"id":"anna"' in reader.type(again)
    assert (reader.folder / "my-program.json").read_text() != before
    said = reader.type(again.splitlines()[0] + "\n" + demo)
    assert "do not let it write" in said and "403" in said


def _address(running: subprocess.Popen[str]) -> str:
    """What the script tells people to open."""
    assert running.stderr is not None
    for line in running.stderr:
        if line.startswith("http"):
            return line.strip()
    raise AssertionError("no address")


def _free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def test_who_says_no_gives_the_program_nothing(reader: Reader, anna: list[str], opened: Open) -> None:
    port = str(_free_port())
    reader.type(f'fhirserver client add "Other" --id other --redirect http://127.0.0.1:{port}/')
    asking = f"python3 docs/how-to/sign_in.py {reader.server.url} other --port {port}"
    with reader.begin(asking) as running:
        page = opened().page
        page.goto(_address(running))
        sign_in(page, "anna@example.org", anna)
        page.click("button:text-is('Do not allow')")
        found, complained = running.communicate(timeout=60)
    assert running.returncode == 1 and not found and "refused" in complained


def test_there_is_no_password_grant(reader: Reader) -> None:
    place = f"{reader.server.url.removesuffix('/fhir')}/auth/token"
    form = {"grant_type": "password", "username": "anna@example.org", "password": PASSWORD}
    answer = httpx.post(place, data={**form, "client_id": "my-program"})
    assert answer.status_code in (400, 401)
    assert answer.json()["error"] in ("unsupported_grant_type", "invalid_client")
