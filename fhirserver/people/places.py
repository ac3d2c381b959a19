"""Where the pages are, seen by a browser: beside the FHIR base, whatever a proxy puts in front."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from fhirserver.interactions.call import Services
from fhirserver.settings import Settings

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_RELATIVE: Final = re.compile(r"/auth/[a-z][a-z0-9/-]*(?:\?[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*)?")
NEXT_LENGTH_MAX: Final = 16 * 1024


def address(services: Services, name: str) -> str:
    """The absolute address of a page or endpoint, for links in mails."""
    return _address(services.settings, name)


def path(services: Services, name: str) -> str:
    """The same as a path, which works whatever name of this server the browser used."""
    return path_of(services.settings, name)


def path_of(settings: Settings, name: str) -> str:
    """`path` where there is nothing but settings."""
    return urlsplit(_address(settings, name)).path


def _address(settings: Settings, name: str) -> str:
    return f"{settings.fhir_base.removesuffix('/fhir')}/auth/{name}"


def is_plain(services: Services) -> bool:
    """Whether browsers come by plain http on this machine, where cookies cannot be `Secure`."""
    parts = urlsplit(services.settings.fhir_base)
    return parts.scheme == "http" and parts.hostname in _LOOPBACK


def onward(services: Services, wanted: str | None) -> str | None:
    """Where a page may lead after sign-in: a path below this server's own `/auth/`; None for anything else.

    No host, no scheme, no `//`, no backslash, no dots, no control characters: nothing that a browser could
    read as another place. https://cwe.mitre.org/data/definitions/601.html
    """
    if wanted is None or len(wanted) > NEXT_LENGTH_MAX:
        return None
    prefix = path(services, "").removesuffix("/auth/")
    if not wanted.startswith(f"{prefix}/auth/"):
        return None
    return wanted if _RELATIVE.fullmatch(wanted[len(prefix) :]) else None
