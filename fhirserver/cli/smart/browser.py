"""A browser without a screen: it follows redirects and fills in the forms of any server's pages.

It knows nothing of a server but what its HTML says: a form with a password is for signing in, one with a
choice is for picking a patient, and of several buttons the one is pressed that does not refuse.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final
from urllib.parse import urljoin

import httpx

from fhirserver.cli.smart.report import Failed, expect
from fhirserver.cli.smart.target import Person

STEPS_MAX: Final = 20
_REFUSING: Final = re.compile(
    r"\b(?:deny|cancel|decline|refuse|reject|back|search|forgot|reset|sign.?(?:out|up)|log.?out)\b", re.I
)
_SUBMITS: Final = frozenset({"submit", "image"})

Tick = Callable[[str], bool | None]
"""Whether a box of this name and value is to be ticked; None leaves it as the page has it."""


@dataclass(slots=True)
class Field:
    """A control: `kind` is the type of an input, or select, textarea, button."""

    kind: str
    name: str
    value: str
    on: bool = False
    text: str = ""


@dataclass(slots=True)
class Form:
    """A form of a page."""

    action: str
    method: str
    fields: list[Field] = field(default_factory=list)

    def of_kind(self, *kinds: str) -> list[Field]:
        return [one for one in self.fields if one.kind in kinds]

    @property
    def refuses(self) -> bool:
        """Whether all that it can do is to refuse, to leave, or to look something up."""
        buttons = self.of_kind("button", *_SUBMITS)
        return bool(buttons) and all(
            _REFUSING.search(f"{one.name} {one.value} {one.text}") for one in buttons
        )


class _Page(HTMLParser):
    """The forms of an HTML page."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._form: Form | None = None
        self._button: Field | None = None
        self._select: str = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form = Form(given.get("action", ""), given.get("method", "get").lower())
            self.forms.append(self._form)
        if self._form is None:
            return
        name, value = given.get("name", ""), given.get("value", "")
        if tag == "input":
            kind = given.get("type", "text").lower()
            on = "checked" in given or kind not in ("checkbox", "radio")
            self._form.fields.append(
                Field(kind, name, value if "value" in given else "on" if kind == "checkbox" else "", on)
            )
        elif tag == "button" and given.get("type", "submit") == "submit":
            self._button = Field("button", name, value)
            self._form.fields.append(self._button)
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select:
            self._form.fields.append(Field("option", self._select, value, "selected" in given))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "button":
            self._button = None
        elif tag == "select":
            self._select = ""

    def handle_data(self, data: str) -> None:
        if self._button is not None:
            self._button.text += data


@dataclass(slots=True)
class Browser:
    """Somebody at a browser; cookies live in `http`."""

    http: httpx.Client
    person: Person
    tick: Tick = lambda _: None
    boxes: set[str] = field(default_factory=set)
    """Names and values of all boxes on the pages so far."""
    _signed_in: int = 0

    def until(self, response: httpx.Response, redirect_uri: str) -> str:
        """Go on from the response until the app would be called: the address that calls it. Raises Failed."""
        for _ in range(STEPS_MAX):
            location = response.headers.get("location")
            if response.is_redirect and location:
                where = urljoin(str(response.request.url), location)
                if where.startswith(redirect_uri):
                    return where
                response = self.http.get(where)
                continue
            expect(
                response.status_code == 200,
                f"a page answered {response.status_code}: {_words(response.text)}",
            )
            response = self._answered(response)
        raise Failed(f"after {STEPS_MAX} pages the app was not called")

    def _answered(self, response: httpx.Response) -> httpx.Response:
        page = _Page()
        page.feed(response.text)
        forms = [form for form in page.forms if not form.refuses]
        forms = [form for form in forms if form.method == "post"] or forms
        expect(forms, f"a page without a form that goes on: {_words(response.text)}")
        form = next((form for form in forms if form.of_kind("password")), forms[0])
        if form.of_kind("password"):
            self._signed_in += 1
            expect(self._signed_in < 2, f"signing in did not succeed: {_words(response.text)}")
        url = urljoin(str(response.request.url), form.action or str(response.request.url))
        filled = self._filled(form)
        return self.http.get(url, params=filled) if form.method == "get" else self.http.post(url, data=filled)

    def _filled(self, form: Form) -> dict[str, list[str]]:
        """What the form sends when a person has filled it in."""
        pairs = [(one.name, one.value) for one in form.of_kind("hidden")]
        signing_in = bool(form.of_kind("password"))
        for one in form.of_kind("text", "email", "password"):
            value = self.person.password if one.kind == "password" else self.person.login
            pairs.append((one.name, value if signing_in else one.value))
        for one in form.of_kind("checkbox"):
            label = f"{one.name} {one.value}"
            self.boxes.add(label)
            wanted = self.tick(label)
            if one.on if wanted is None else wanted:
                pairs.append((one.name, one.value))
        for kind in ("radio", "option"):
            pairs += self._chosen(form.of_kind(kind))
        buttons = [
            one
            for one in form.of_kind("button", *_SUBMITS)
            if not _REFUSING.search(f"{one.name} {one.value} {one.text}")
        ]
        pressed = next((one for one in buttons if self._wanted(one)), buttons[0] if buttons else None)
        if pressed is not None:
            pairs.append((pressed.name, pressed.value))
        sent: dict[str, list[str]] = {}
        for name, value in pairs:
            if name:
                sent.setdefault(name, []).append(value)
        return sent

    def _chosen(self, choices: list[Field]) -> list[tuple[str, str]]:
        """Of each group the person's patient, else what is chosen already, else the first."""
        groups: dict[str, list[Field]] = {}
        for one in choices:
            groups.setdefault(one.name, []).append(one)
        best = [
            next((one for one in group if self._wanted(one)), None)
            or next((one for one in group if one.on), None)
            or next((one for one in group if one.value), group[0])
            for group in groups.values()
        ]
        return [(one.name, one.value) for one in best]

    def _wanted(self, one: Field) -> bool:
        return bool(self.person.patient) and one.value.rpartition("/")[2] == self.person.patient


def _words(html: str) -> str:
    """The text of a page, shortened."""
    plain = re.sub(
        r"<(?:style|script|head)\b.*?</(?:style|script|head)>|<[^>]*>", " ", html, flags=re.S | re.I
    )
    return " ".join(plain.split())[:200]
