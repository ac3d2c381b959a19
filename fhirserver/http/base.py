"""The public FHIR base of a request: what every link, Location and fullUrl begins with.

The configured `base_url` wins. Without one, a trusted proxy's X-Forwarded-* (de facto standard; RFC 7239
describes the same) or else the Host header tell how the client reached the server.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from starlette.types import Scope

from fhirserver.settings import Network, Settings

PATH = "/fhir"
"""Where the FHIR base is, seen from this process."""

TENANTS = "/t"
"""Below it, by their names, the tenants other than the one at PATH."""

_TENANT = re.compile(rf"{TENANTS}/[a-z][a-z0-9-]{{0,62}}(?=/|$)")
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")


def public_base(scope: Scope, settings: Settings) -> str:
    """The base without a slash at its end."""
    if settings.base_url is not None:
        return settings.base_url
    headers = {name: value.decode("latin-1") for name, value in scope["headers"] if name in _WANTED}
    client = scope.get("client")
    forwarded = headers if client and is_trusted(client[0], settings.trusted_proxies) else {}
    host = _first(forwarded.get(b"x-forwarded-host")) or headers.get(b"host", "")
    if not _HOST.fullmatch(host):
        return settings.fhir_base
    scheme = _first(forwarded.get(b"x-forwarded-proto"))
    prefix = _first(forwarded.get(b"x-forwarded-prefix")).rstrip("/")
    return (
        f"{scheme if scheme in ('http', 'https') else scope.get('scheme', 'http')}://{host}"
        f"{prefix if _PREFIX.fullmatch(prefix) else ''}{scope.get('root_path', '')}{PATH}"
    )


def tenant_of(path: str) -> tuple[str, str]:
    """The name of the tenant that a path begins with, and the path without it; the name may be empty."""
    found = _TENANT.match(path)
    return (found[0][len(TENANTS) + 1 :], path[found.end() :]) if found else ("", path)


def local(path: str) -> str:
    """The path as it is at whatever tenant."""
    return tenant_of(path)[1]


_WANTED = frozenset({b"host", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-prefix"})


def _first(value: str | None) -> str:
    """The outermost proxy's value, which stands first."""
    return value.partition(",")[0].strip() if value else ""


def is_trusted(peer: str, networks: Sequence[Network]) -> bool:
    """Whether the address is that of a proxy whose `X-Forwarded-*` headers are believed."""
    if not networks:
        return False
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    return any(address in network for network in networks)
