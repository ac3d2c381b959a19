"""Which of the scopes that a client asks for it is given.

https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fhirserver.oauth.clients import Client
from fhirserver.oauth.errors import OAuthError
from fhirserver.params.registry import Registry
from fhirserver.policy.scopes import Scope, UnknownScope, parse

OTHERS: Final = (
    *("openid", "profile", "fhirUser", "launch", "launch/patient", "launch/encounter", "offline_access"),
    "online_access",
)
"""Those that are not about rows."""
_PATIENT_CONTEXT: Final = frozenset({"launch", "launch/patient"})
RESOURCES: Final = ("patient/", "user/", "system/")


def requested(text: str) -> tuple[str, ...]:
    """The scopes of a request, each once. Raises OAuthError(invalid_scope) for what is malformed."""
    found = tuple(dict.fromkeys(text.split()))
    for one in found:
        if one.startswith(RESOURCES):
            _parsed(one)
    return found


def _parsed(text: str) -> Scope:
    try:
        return parse(text)
    except UnknownScope as error:
        raise OAuthError("invalid_scope", str(error)) from None


def known(scopes: Iterable[str], registry: Registry) -> list[str]:
    """Those that this server understands; others are left out, as OAuth allows (RFC 6749 section 3.3).

    A parameter that the scope's type does not have would narrow to nothing: such a scope is left out, too.
    """
    return [
        one for one in scopes if one in OTHERS or (one.startswith(RESOURCES) and _has_params(one, registry))
    ]


def _has_params(text: str, registry: Registry) -> bool:
    scope = _parsed(text)
    if not scope.params:
        return True
    type_ = "Resource" if scope.type == "*" else scope.type
    return all(registry.get(type_, name) is not None for name, _ in scope.params)


def registered(client: Client, scopes: Iterable[str]) -> list[str]:
    """Those of the scopes that the client's registration covers."""
    allowed = client.scopes
    if not allowed:
        return list(scopes)
    wide = [_parsed(one) for one in allowed if one.startswith(RESOURCES)]
    return [
        one
        for one in scopes
        if one in allowed
        or (one.startswith(RESOURCES) and any(_covers(wider, _parsed(one)) for wider in wide))
    ]


def _covers(wider: Scope, scope: Scope) -> bool:
    """Whether all that `scope` allows is allowed by `wider`."""
    return (
        wider.context == scope.context
        and wider.covers(scope.type)
        and scope.actions <= wider.actions
        and set(wider.params) <= set(scope.params)
    )


def narrowed(granted: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """`wanted`, all of which must lie within what was granted: RFC 6749 section 6."""
    held = list(granted)
    wide = [_parsed(one) for one in held if one.startswith(RESOURCES)]
    found = list(wanted)
    for one in found:
        if one in held or (one.startswith(RESOURCES) and any(_covers(w, _parsed(one)) for w in wide)):
            continue
        raise OAuthError("invalid_scope", f"{one[:80]!r} was not granted")
    return found
