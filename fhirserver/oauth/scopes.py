"""Which of the scopes that a client asks for it is given.

https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from fhirserver.db.sql import sql
from fhirserver.errors import FhirError
from fhirserver.fhir.dates import micros
from fhirserver.interactions.call import Services
from fhirserver.interactions.searching import reading_of
from fhirserver.oauth.clients import Client
from fhirserver.oauth.errors import OAuthError
from fhirserver.params.condition import Scope as Row
from fhirserver.policy.scopes import Scope, UnknownScope, UnknownType, parse
from fhirserver.search.context import Context
from fhirserver.search.restrict import criterion

OTHERS: Final = (
    *("openid", "profile", "fhirUser", "launch", "launch/patient", "launch/encounter", "offline_access"),
    "online_access",
)
"""Those that are not about rows."""
RESOURCES: Final = ("patient/", "user/", "system/")
LENGTH_MAX: Final = 8_000
"""Of all scopes together: they travel in every access token, and headers have their limits."""


def requested(text: str) -> tuple[str, ...]:
    """The scopes of a request, each once. Raises OAuthError(invalid_scope) for what is malformed."""
    if len(text) > LENGTH_MAX:
        raise OAuthError("invalid_scope", f"the scopes have at most {LENGTH_MAX} characters")
    found = tuple(dict.fromkeys(text.split(" ")))
    for one in found:
        if one.startswith(RESOURCES):
            parsed(one)
    return tuple(one for one in found if one)


def parsed(text: str) -> Scope | None:
    """The scope; None for one on a type of another version of FHIR. Raises OAuthError(invalid_scope)."""
    try:
        return parse(text)
    except UnknownType:
        return None
    except UnknownScope as error:
        raise OAuthError("invalid_scope", str(error)) from None


def _of_rows(texts: Iterable[str]) -> list[Scope]:
    return [scope for one in texts if one.startswith(RESOURCES) and (scope := parsed(one)) is not None]


def known(scopes: Iterable[str], services: Services) -> list[str]:
    """Those that this server understands; others are left out, as OAuth allows (RFC 6749 section 3.3).

    Raises OAuthError(invalid_scope) for parameters that the search engine does not take of the type.
    """
    found: list[str] = []
    for one in scopes:
        if one in OTHERS:
            found.append(one)
        elif one.startswith(RESOURCES) and (scope := parsed(one)) is not None:
            _compile(scope, services)
            found.append(one)
    return found


def _compile(scope: Scope, services: Services) -> None:
    """Compile the parameters as they will be compiled into every statement."""
    # A parameter that narrows all types has to be one that all types have; any of them shows whether it is.
    type_ = "Basic" if scope.type == "*" else scope.type
    moment = micros(datetime.now(UTC))
    context = Context(services.registry, services.keys, moment, reading=reading_of(services))
    for name, value in scope.params:
        try:
            if scope.type == "*" and not name.startswith("_"):
                raise FhirError(f"not all types have a search parameter '{name}'")
            criterion(context, Row(services.keys, type_, sql("r"), moment), name, value)
        except FhirError as error:
            raise OAuthError("invalid_scope", f"{scope.text[:80]!r}: {error}") from None


def registered(client: Client, scopes: Iterable[str]) -> list[str]:
    """Those of the scopes that the client's registration covers; without any registered, all but
    `system/`: those have nobody who would be asked."""
    allowed = client.scopes
    if not allowed:
        return [one for one in scopes if not one.startswith("system/")]
    wide = _of_rows(allowed)
    return [one for one in scopes if one in allowed or _within(one, wide)]


def _within(text: str, wide: Iterable[Scope]) -> bool:
    scope = parsed(text) if text.startswith(RESOURCES) else None
    return scope is not None and any(covers(wider, scope) for wider in wide)


def covers(wider: Scope, scope: Scope) -> bool:
    """Whether all that `scope` allows is allowed by `wider`."""
    return (
        wider.context == scope.context
        and wider.covers(scope.type)
        and scope.actions <= wider.actions
        and set(wider.params) <= set(scope.params)
    )


def narrowed(granted: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """`wanted`, all of which must lie within what was granted: RFC 6749 section 6."""
    held, found = list(granted), list(wanted)
    wide = _of_rows(held)
    for one in found:
        if one not in held and not _within(one, wide):
            raise OAuthError("invalid_scope", f"{one[:80]!r} was not granted")
    return found
