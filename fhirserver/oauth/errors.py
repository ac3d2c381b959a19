"""Errors of the OAuth endpoints: RFC 6749 sections 4.1.2.1 and 5.2, RFC 6750 section 3."""

from __future__ import annotations

from typing import Final

from starlette.responses import JSONResponse

NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}
"""https://www.rfc-editor.org/rfc/rfc6749#section-5.1"""


class OAuthError(Exception):
    """`error` is a code of the RFCs; `description` says what would be right and repeats no secret."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status

    @property
    def plain_description(self) -> str:
        """What error_description may hold: printable ASCII without the double quote and the backslash."""
        return "".join(char if " " <= char <= "~" and char not in '"\\' else "'" for char in self.description)

    def response(self) -> JSONResponse:
        """The error as the token endpoint and its like give it."""
        headers = dict(NO_STORE)
        if self.status == 401:
            headers["WWW-Authenticate"] = 'Basic realm="fhirserver"'
        body = {"error": self.error, "error_description": self.plain_description}
        return JSONResponse(body, self.status, headers)


def invalid_client(description: str) -> OAuthError:
    return OAuthError("invalid_client", description, 401)
