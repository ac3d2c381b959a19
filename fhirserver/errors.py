"""The tree of errors that the REST door answers with an OperationOutcome.

Each class carries the HTTP status and the issue type code of
https://hl7.org/fhir/R4/valueset-issue-type.html; one table in `http/errors` renders them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Issue:
    """One OperationOutcome.issue: https://hl7.org/fhir/R4/operationoutcome.html.

    `expression` is the FHIRPath of the element at fault, or None when no element is. `line` and `column`,
    from 1, are where that stands in what was sent, where it is known.
    """

    severity: str
    code: str
    diagnostics: str
    expression: str | None = None
    line: int | None = None
    column: int | None = None


class FhirError(Exception):
    """An interaction failed; `issues` says what, where and what would be right, `entry` in which entry of a
    Bundle, counted from 0."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "invalid"
    entry: int | None = None

    def __init__(
        self,
        diagnostics: str = "",
        expression: str | None = None,
        issues: Sequence[Issue] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.issues: tuple[Issue, ...] = (
            tuple(issues) if issues else (Issue("error", self.code, diagnostics, expression),)
        )
        self.headers: dict[str, str] = headers or {}
        super().__init__("; ".join(issue.diagnostics for issue in self.issues))


class Invalid(FhirError):
    """The content or a parameter is malformed (400)."""


class Structure(FhirError):
    """The body is not the syntax or structure of a FHIR resource (400)."""

    code = "structure"


class TooCostly(FhirError):
    """The request exceeds a stated limit (400)."""

    code = "too-costly"


class NotSupported(FhirError):
    """A parameter, modifier or interaction that this server does not offer (400)."""

    code = "not-supported"


class Unauthorized(FhirError):
    """No access token, or one that is not or no longer valid (401 with WWW-Authenticate, RFC 6750)."""

    status = 401
    code = "login"

    def __init__(self, diagnostics: str, error: str | None = "invalid_token") -> None:
        challenge = f'Bearer error="{error}"' if error else "Bearer"
        super().__init__(diagnostics, headers={"WWW-Authenticate": challenge})


class Forbidden(FhirError):
    """The caller may not do this (403)."""

    status = 403
    code = "forbidden"


class NotFound(FhirError):
    """No such resource, version or path (404)."""

    status = 404
    code = "not-found"


class MethodNotAllowed(FhirError):
    """The path does not offer this method (405)."""

    status = 405
    code = "not-supported"


class NotAcceptable(FhirError):
    """None of the accepted formats can be produced (406)."""

    status = 406
    code = "not-supported"


class Conflict(FhirError):
    """The state of the server forbids it, for example a reference that must stay whole (409)."""

    status = 409
    code = "conflict"


class Gone(FhirError):
    """The resource was deleted, or the page has expired (410)."""

    status = 410
    code = "deleted"


class PreconditionFailed(FhirError):
    """If-Match named another version, or a condition matched several resources (412)."""

    status = 412
    code = "conflict"


class MultipleMatches(PreconditionFailed):
    """The criteria of a conditional interaction are not selective enough (412)."""

    code = "multiple-matches"


class TooLarge(FhirError):
    """Body, bundle or page beyond the limit (413)."""

    status = 413
    code = "too-long"


class UriTooLong(FhirError):
    """The address of the request is longer than the server reads (414, RFC 9110 section 15.5.15)."""

    status = 414
    code = "too-long"


class UnsupportedMediaType(FhirError):
    """The body's media type is not one this server reads (415)."""

    status = 415
    code = "not-supported"


class Unprocessable(FhirError):
    """Well-formed, but against a profile, an invariant or a business rule (422)."""

    status = 422
    code = "business-rule"


class TooMany(FhirError):
    """More requests than one client or address may send (429 with Retry-After, RFC 6585 section 4)."""

    status = 429
    code = "throttled"

    def __init__(self, wait_s: int) -> None:
        seconds = "1 second" if wait_s == 1 else f"{wait_s} seconds"
        super().__init__(f"too many requests; try again in {seconds}", headers={"Retry-After": str(wait_s)})


class Unavailable(FhirError):
    """The database cannot be reached or is overloaded (503 with Retry-After)."""

    status = 503
    code = "transient"
