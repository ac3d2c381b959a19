"""What is refused before any page has looked at it, such as too many requests, told to people as a page."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Scope

from fhirserver.errors import FhirError, TooMany
from fhirserver.pages.document import document
from fhirserver.settings import Settings

ErrorResponse = Callable[[FhirError, Scope], ASGIApp]

_PAGES: Final = re.compile(r"(?:/t/[^/]+)?/auth/")
_TITLES: Final[dict[type[FhirError], str]] = {TooMany: "Too many requests"}


def shown_to_people(settings: Settings, otherwise: ErrorResponse) -> ErrorResponse:
    """Pages for browsers that ask for one; whatever else is asked for is answered by `otherwise`."""

    def refused(error: FhirError, scope: Scope) -> ASGIApp:
        accepts = Headers(scope=scope).get("accept", "")
        if "text/html" not in accepts or not _PAGES.match(scope["path"]):
            return otherwise(error, scope)
        title = _TITLES.get(type(error), "That did not work")
        text = f"{error}."
        response = document(
            settings, "refused.html", error.status, title=title, text=text[:1].upper() + text[1:]
        )
        response.headers.update(error.headers)
        return response

    return refused
