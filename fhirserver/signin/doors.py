"""The other ways to sign in: a button for each issuer through which people may."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.requests import Request

from fhirserver.issuers.trust import Trust
from fhirserver.pages import path, services_of


def trust_of(request: Request) -> Trust:
    """The issuers that are trusted."""
    return request.app.state.trust


def doors(request: Request, wanted: str | None, *, again: bool) -> list[tuple[str, str]]:
    """Names and addresses, which go on to `wanted` in the end."""
    services = services_of(request)
    query = {**({"next": wanted} if wanted else {}), **({"again": "1"} if again else {})}
    end = f"?{urlencode(query)}" if query else ""
    return [
        (one.label, f"{path(services, f'sign-in/with/{number}')}{end}")
        for number, one in enumerate(trust_of(request).doors)
    ]
