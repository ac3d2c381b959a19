"""Whether people have to sign in: what `serve` does about it and says."""

import re
from pathlib import Path

import httpx
import pytest

from fhirserver.cli import serve
from fhirserver.settings import Settings
from tests.support.server import process


@pytest.mark.parametrize(
    ("place", "settings", "said"),
    [
        ("http://127.0.0.1:8080", {}, "authorization is off"),
        ("http://127.0.0.1:8080", {"auth": "smart"}, "sign in at http://127.0.0.1:8080/auth/account"),
        ("https://ehr.example", {"host": "0.0.0.0"}, "sign in at https://ehr.example/auth/account"),
        ("http://10.0.0.1:8080", {"host": "10.0.0.1"}, "over https alone"),
        ("http://10.0.0.1:8080", {"host": "10.0.0.1", "insecure": True}, "authorization is off"),
    ],
)
def test_what_is_said(place: str, settings: dict[str, object], said: str) -> None:
    assert said in serve.authorization(Settings.load(**settings), place)


def test_off_says_how_to_turn_it_on() -> None:
    assert "--auth smart" in serve.authorization(Settings.load(), "http://127.0.0.1:8080")


def test_the_first_start_shows_a_password_once(data_dir: Path) -> None:
    arguments = ("--data-dir", str(data_dir), "--auth", "smart")
    with process(*arguments) as server:
        place = server.url.removesuffix("/fhir")
        assert httpx.get(f"{server.url}/Patient").status_code == 401
        with httpx.Client(base_url=place) as browser:
            page = browser.get("/auth/sign-in").text
            found = re.search(r'name="csrf" value="([^"]+)"', page)
            assert found
            shown = re.search(r"password\s+(\S+)", "".join(server.lines))
            assert shown
            fields = {"csrf": found[1], "login": "admin", "password": shown[1]}
            assert "Choose a password" in browser.post("/auth/sign-in", data=fields).text
        assert any("authorization is on" in line for line in server.lines)
    with process(*arguments) as server:
        assert not any("password" in line for line in server.lines)
