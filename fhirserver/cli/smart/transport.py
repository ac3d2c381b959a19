"""Transport layer security: https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html#app-protection"""

from __future__ import annotations

import socket
import ssl
import warnings
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from fhirserver.cli.smart.report import expect, skip
from fhirserver.cli.smart.target import Target

_OLD: Final = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
_NEW: Final = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
_TIMEOUT_S: Final = 10.0


def look(target: Target) -> None:
    """All of this module: the hosts of the FHIR base and of the endpoints."""
    target.report.group = "Transport"
    named = [target.configuration.get(name) for name in ("authorization_endpoint", "token_endpoint")]
    urls = [target.base, *(url for url in named if isinstance(url, str))]
    for place in dict.fromkeys(f"{urlsplit(url).scheme}://{urlsplit(url).netloc}" for url in urls):
        with target.report.check(f"{place} speaks TLS 1.2 or later, and nothing older"):
            _look_at(place)


def _look_at(place: str) -> None:
    parts = urlsplit(place)
    host = parts.hostname or ""
    if parts.scheme != "https":
        if is_loopback(host):
            skip("plain HTTP, and only on this machine")
        expect(False, "plain HTTP: tokens and records can be read on the way")
    port = parts.port or 443
    expect(any(_speaks(host, port, version) for version in _NEW), "neither TLS 1.2 nor 1.3 is spoken")
    spoken = [version.name for version in _OLD if _speaks(host, port, version)]
    expect(not spoken, f"{', '.join(spoken)} should be off")


def is_loopback(host: str) -> bool:
    """Whether the name leads to this machine alone."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _speaks(host: str, port: int, version: ssl.TLSVersion) -> bool:
    """Whether a connection by exactly this version comes about, whatever its certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    try:
        with (
            socket.create_connection((host, port), _TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return True
    except (OSError, ssl.SSLError):
        return False
