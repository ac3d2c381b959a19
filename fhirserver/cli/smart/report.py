"""What was asked and what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, NoReturn

import httpx

Status = Literal["pass", "fail", "warn", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One question; `reason` says why it did not simply pass."""

    group: str
    check: str
    status: Status
    reason: str = ""


class Failed(Exception):
    """The server does not do what it should; the text says what it did."""


class Skipped(Exception):
    """The question could not be asked; the text says why."""


class Doubtful(Exception):
    """Allowed, but not advised; the text says what."""


def expect(holds: object, reason: str) -> None:
    """Raises Failed when it does not hold."""
    if not holds:
        raise Failed(reason)


def skip(reason: str) -> NoReturn:
    raise Skipped(reason)


def doubt(reason: str) -> NoReturn:
    raise Doubtful(reason)


@dataclass(slots=True)
class Report:
    """Collects findings; whatever goes wrong in a question concerns this question alone."""

    findings: list[Finding] = field(default_factory=list)
    group: str = ""

    @contextmanager
    def check(self, text: str) -> Iterator[None]:
        """A question: it passes unless the block raises."""
        status: Status = "pass"
        reason = ""
        try:
            yield
        except Skipped as error:
            status, reason = "skipped", str(error)
        except Doubtful as error:
            status, reason = "warn", str(error)
        except Failed as error:
            status, reason = "fail", str(error)
        except httpx.HTTPError as error:
            status, reason = "fail", f"no answer ({type(error).__name__}: {error})"
        self.findings.append(Finding(self.group, text, status, reason))

    def skip_all(self, checks: tuple[str, ...], reason: str) -> None:
        """None of these can be asked."""
        self.findings.extend(Finding(self.group, check, "skipped", reason) for check in checks)

    @property
    def failures(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.status == "fail"]
