"""A browser without a screen: keeps cookies as one does, sends the forms that pages hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import httpx

POLICY = "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'"


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.text: list[str] = []
        self.bad: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in ("script", "style", "iframe", "object") or any(
            name.startswith("on") or name == "style" for name in given
        ):
            self.bad.append(tag)
        if tag == "form":
            self.forms.append(Form(given.get("action", ""), {}))
        elif tag == "input" and self.forms and given.get("name"):
            self.forms[-1].fields[given["name"]] = given.get("value", "")

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.text.append(" ".join(data.split()))


@dataclass
class Form:
    """Where it goes, and its fields as the page holds them."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)


@dataclass
class Page:
    """What came back."""

    answer: httpx.Response
    forms: list[Form]
    text: str

    @property
    def status(self) -> int:
        return self.answer.status_code

    @property
    def place(self) -> str:
        """Where it redirects to."""
        return self.answer.headers.get("location", "")

    def form(self, action: str) -> Form:
        return next(form for form in self.forms if form.action.endswith(action))


class Browser:
    """Pages of one server, with cookies of its own."""

    def __init__(self, app: Any, base: str = "http://127.0.0.1:8080") -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url=base, timeout=60)

    async def get(self, path: str, **headers: str) -> Page:
        return _page(await self.client.get(path, headers=headers))

    async def post(self, path: str, fields: dict[str, str], **headers: str) -> Page:
        return _page(await self.client.post(path, data=fields, headers=headers))

    async def send(self, page: Page, action: str, **fields: str) -> Page:
        """Fill in the form of a page that goes to `action`, and send it."""
        form = page.form(action)
        return await self.post(form.action, form.fields | fields)

    async def sign_in(self, login: str, password: str, query: str = "") -> Page:
        page = await self.get(f"/auth/sign-in{query}")
        return await self.send(page, "/sign-in", login=login, password=password)

    @property
    def session(self) -> str | None:
        return self.client.cookies.get("session") or self.client.cookies.get("__Host-session")


def _page(answer: httpx.Response) -> Page:
    parser = _Forms()
    if answer.headers.get("content-type", "").startswith("text/html"):
        parser.feed(answer.text)
        assert parser.bad == [], parser.bad
        assert answer.headers["content-security-policy"].startswith(POLICY)
        assert answer.headers["cache-control"] == "no-store"
    return Page(answer, parser.forms, " ".join(parser.text))
