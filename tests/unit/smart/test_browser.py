"""The browser without a screen, on pages as servers make them."""

from urllib.parse import parse_qs

import httpx
import pytest

from fhirserver.cli.smart.browser import Browser
from fhirserver.cli.smart.report import Failed
from fhirserver.cli.smart.target import Person

REDIRECT = "https://app.example/callback"
PERSON = Person("ann", "correct horse", "p2")


def opened(
    pages: dict[str, str], person: Person = PERSON
) -> tuple[str, list[tuple[str, dict[str, list[str]]]]]:
    """Where a browser ends that begins at /, and what it sent to which path; a page `-> x` redirects."""
    sent: list[tuple[str, dict[str, list[str]]]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST" or request.url.query:
            sent.append((request.url.path, parse_qs(request.content.decode() or request.url.query.decode())))
        page = pages[request.url.path]
        if page.startswith("-> "):
            return httpx.Response(303, headers={"Location": page[3:]})
        return httpx.Response(200, html=page)

    with httpx.Client(transport=httpx.MockTransport(answer)) as http:
        return Browser(http, person).until(http.get("http://server/"), REDIRECT), sent


def test_it_signs_in_picks_and_allows() -> None:
    where, sent = opened(
        {
            "/": "-> /auth/sign-in?next=/a",
            "/auth/sign-in": """<form method=post action=/out><button>Sign out</button></form>
                <form method="post" action="/pick"><input type=hidden name=csrf value=1>
                <input name=login autocomplete=username><input type=password name=word>
                <button>Sign in</button></form>""",
            "/pick": """<form action=/search><input name=q><button>Search</button></form>
                <form method=post action="/allow"><button name=patient value="p1">Peter</button>
                <button name=patient value="Patient/p2">Paula</button>
                <button name=patient value="">Cancel</button></form>""",
            "/allow": """<form method=post action="/done"><input type=checkbox name=scope value=a checked>
                <input type=checkbox name=scope value=b><input type=checkbox name=stay checked>
                <input type=radio name=for value=1><input type=radio name=for value=2 checked>
                <input type=submit name=deny value="Don't allow: deny"><input type=submit name=ok value=Allow>
                </form>""",
            "/done": f"-> {REDIRECT}?code=1",
        }
    )
    assert where == f"{REDIRECT}?code=1"
    assert sent[1:] == [
        ("/pick", {"csrf": ["1"], "login": ["ann"], "word": ["correct horse"]}),
        ("/allow", {"patient": ["Patient/p2"]}),
        ("/done", {"scope": ["a"], "stay": ["on"], "for": ["2"], "ok": ["Allow"]}),
    ]


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ("<p>Nothing   to do</p>", "without a form that goes on: Nothing to do"),
        ("<form method=post action=/out><button>Cancel</button></form>", "without a form that goes on"),
        (
            "<form method=post action=/><input type=password name=p><p>Wrong.</p></form>",
            "did not succeed: Wrong.",
        ),
        ("<form method=post action=/><button>On</button></form>", "pages the app was not called"),
        ("-> /", "pages the app was not called"),
    ],
)
def test_it_says_where_it_was_stuck(page: str, reason: str) -> None:
    with pytest.raises(Failed) as failed:
        opened({"/": page})
    assert reason in str(failed.value)
