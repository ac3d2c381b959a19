"""A Chromium for tests of what people see, and what must not happen on a page."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.node import NODE

CHROMIUM = next(
    (
        found
        for name in ("/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name))
    ),
    None,
)
WAIT_MS = 15_000
"""How long what a page should show may take on a machine that is busy."""
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NAMELESS = """[...document.querySelectorAll("input:not([type=hidden]):not([hidden]), select, textarea")]
  .filter((field) => !field.labels.length && !field.getAttribute("aria-label"))
  .map((field) => field.outerHTML)"""
"""Fields that a screen reader could not name."""

COMPLETE = "FHIRSERVER_TEST_COMPLETE"
"""Environment variable: set where a machine has to have all that tests use, so that nothing is left out."""

needed: Any = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None and COMPLETE not in os.environ, reason="no Chromium or Chrome is installed"
    ),
]
"""Marks of the modules that use it."""


@contextmanager
def launched() -> Iterator[Browser]:
    """The browser; its contexts are strangers to each other."""
    assert CHROMIUM is not None, "install the distribution's Chromium"
    os.environ.setdefault("PLAYWRIGHT_NODEJS_PATH", NODE)  # Playwright's own needs a library of the system
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Watched:
    """A page with what it asked for, and what it complained about: errors, warnings, dialogs."""

    page: Page
    requested: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", lambda request: self.requested.append(request.url))
        self.page.on("requestfailed", lambda request: self._failed(request.url, request.failure or ""))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self._said(message.type, message.text))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))

    def _failed(self, url: str, why: str) -> None:
        # What was on its way when somebody went on to another page.
        if "ERR_ABORTED" not in why:
            self.complaints.append(f"failed: {url}: {why}")

    def _said(self, kind: str, text: str) -> None:
        # Chromium reports each answer from 400 on as an error of the page.
        if kind in ("error", "warning") and "the server responded with a status of" not in text:
            self.complaints.append(text)
