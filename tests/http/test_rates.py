"""Who asks too often is told to wait: by address before anything is done, by client once it is known."""

from typing import Any

import httpx
import pytest

from tests.support.callers import granted
from tests.support.door import Door, assert_outcome, opened
from tests.support.server import process

ADDRESS = {"rate_limits": "on", "rate_address": "3/h"}


async def statuses(door: Door, method: str, target: str, count: int, **more: Any) -> list[int]:
    return [(await door.ask(method, target, **more)).status for _ in range(count)]


async def test_an_address_that_asks_too_often(database: str) -> None:
    async with opened(database, **ADDRESS) as door:
        assert await statuses(door, "GET", "/Patient?_summary=count", 3) == [200] * 3
        reply = await door.ask("GET", "/Patient?_summary=count")
        assert (reply.status, reply.header("retry-after")) == (429, "1200")
        assert_outcome(reply, "throttled")
        assert (await door.ask("GET", "/metadata")).status == 429
        assert await statuses(door, "GET", "/Patient", 1, client="203.0.113.10") == [200]


@pytest.mark.parametrize("path", ["livez", "readyz", "metrics"])
async def test_whoever_watches_the_server_is_never_stopped(database: str, path: str) -> None:
    async with opened(database, **ADDRESS) as door:
        assert await statuses(door, "GET", f"//{path}", 6) == [200] * 6


async def test_a_refusal_is_in_the_form_asked_for_and_a_browser_app_may_read_it(database: str) -> None:
    async with opened(database, **ADDRESS, cors_origins="https://app.example") as door:
        headers = [("accept", "application/fhir+xml"), ("origin", "https://app.example")]
        assert await statuses(door, "GET", "/Patient", 4, headers=headers) == [200, 200, 200, 429]
        reply = await door.ask("GET", "/Patient", headers=headers)
        assert_outcome(reply, "throttled", media_type="application/fhir+xml")
        assert reply.header("access-control-allow-origin") == "https://app.example"
        assert "Retry-After" in (reply.header("access-control-expose-headers") or "")


@pytest.mark.parametrize(
    ("forwarded", "trusted", "told_apart"),
    [
        ("198.51.100.{}", "", False),
        ("198.51.100.{}", "192.0.2.0/24", False),
        ("198.51.100.{}", "203.0.113.0/24", True),
        ("198.51.100.{}, 203.0.113.77", "203.0.113.0/24", True),
        ("198.51.100.{}, 198.51.100.9", "203.0.113.0/24", False),
        ("2001:db8:0:1::{}", "203.0.113.0/24", False),
        ("2001:db8:0:{}::1", "203.0.113.0/24", True),
        ("::ffff:198.51.100.{}", "203.0.113.0/24", True),
    ],
)
async def test_behind_a_proxy(database: str, forwarded: str, trusted: str, told_apart: bool) -> None:
    """Only a trusted proxy says for whom it asks, and only what it added itself counts."""
    async with opened(database, **ADDRESS, trusted_proxies=trusted) as door:
        found = []
        for number in range(1, 6):
            headers = [("x-forwarded-for", forwarded.format(number))]
            found += await statuses(door, "GET", "/Patient?_summary=count", 1, headers=headers)
        assert found == ([200] * 5 if told_apart else [200, 200, 200, 429, 429])


@pytest.mark.parametrize(
    ("path", "setting"),
    [
        ("sign-in", "rate_sign_in"),
        ("reset", "rate_sign_in"),
        ("token", "rate_token"),
        ("introspect", "rate_token"),
        ("register", "rate_registration"),
    ],
)
async def test_where_secrets_can_be_tried_the_rates_are_lower(database: str, path: str, setting: str) -> None:
    async with opened(database, rate_limits="on", **{setting: "2/h"}) as door:
        found = await statuses(door, "POST", f"//auth/{path}", 4)
        assert 429 not in found[:2] and found[2:] == [429, 429]
        assert (await door.ask("GET", f"//auth/{path}")).status != 429
        assert (await door.ask("GET", "/Patient")).status == 200


@pytest.mark.parametrize("path", ["/auth/sign-in", "/t/north/auth/sign-in"])
async def test_a_person_is_shown_a_page_and_a_program_an_outcome(database: str, path: str) -> None:
    async with opened(database, auth="smart", rate_limits="on", rate_sign_in="1/h") as door:
        browser = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")]
        assert await statuses(door, "POST", f"/{path}", 1, headers=browser) != [429]
        reply = await door.ask("POST", f"/{path}", headers=browser)
        assert (reply.status, reply.media_type) == (429, "text/html"), reply
        assert (
            reply.header("retry-after") == "3600"
            and b"Too many requests; try again in 3600 seconds." in reply.body
        )
        assert "form-action 'none'" in (reply.header("content-security-policy") or "")
        assert reply.header("cache-control") == "no-store" and reply.header("set-cookie") is None
        assert_outcome(await door.ask("POST", f"/{path}"), "throttled")


async def test_clients_are_counted_apart_whatever_their_address(database: str) -> None:
    async with opened(database, auth="smart", rate_limits="on", rate_client="3/h") as door:
        one = await granted(database, "user/*.rs", user=("Practitioner", "1"), roles=("administrator",))
        other = await granted(database, "user/*.rs", user=("Practitioner", "2"), roles=("administrator",))
        for number, expected in enumerate([200, 200, 200, 429]):
            headers = list(one.headers.items())
            reply = await door.ask("GET", "/Patient", headers=headers, client=f"198.51.100.{number}")
            assert reply.status == expected, reply
        assert_outcome(reply, "throttled")
        assert await statuses(door, "GET", "/Patient", 1, headers=list(other.headers.items())) == [200]
        refreshed = await granted(database, "user/*.rs", user=("Practitioner", "1"), roles=("administrator",))
        assert await statuses(door, "GET", "/Patient", 1, headers=list(refreshed.headers.items())) == [429]


async def test_on_the_own_machine_nobody_is_counted(database: str) -> None:
    async with opened(database, rate_limits="auto", rate_address="1/h") as door:
        assert await statuses(door, "GET", "/Patient?_summary=count", 5) == [200] * 5


def test_worker_processes_count_together(database: str) -> None:
    """Each request comes on a connection of its own, which any worker may take."""
    environment = {
        "DATABASE_URL": database,
        "FHIRSERVER_DEVELOPMENT": "true",
        "FHIRSERVER_RATE_LIMITS": "on",
        "FHIRSERVER_RATE_ADDRESS": "8/h",
    }
    with process("--workers", "2", environment=environment) as server:
        found = [httpx.get(f"{server.url}/Patient?_summary=count").status_code for _ in range(20)]
    assert found == [200] * 8 + [429] * 12
