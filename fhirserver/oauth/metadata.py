"""What clients say about themselves: RFC 7591 section 2, and what of it is kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from fhirserver.oauth import scopes
from fhirserver.oauth.clients import METHODS
from fhirserver.oauth.discovery import GRANT_TYPES
from fhirserver.oauth.errors import OAuthError

URIS_MAX: Final = 20
TEXT_LENGTH_MAX: Final = 2_000
_URIS: Final = ("client_uri", "logo_uri", "tos_uri", "policy_uri", "launch_uri", "jwks_uri")
_TEXTS: Final = (
    *("client_name", "software_id", "software_version", "scope", "token_endpoint_auth_method"),
    *_URIS,
)
_LISTS: Final = ("redirect_uris", "grant_types", "response_types", "contacts")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_HOST: Final = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
"""Names and addresses of machines: other characters would end what the policy of a page says about them."""
_TURNING: Final = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Marks that turn the direction of a text, and of what a page says after it."""


def refused(description: str, error: str = "invalid_client_metadata") -> OAuthError:
    return OAuthError(error, description)


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of the metadata, with what is left unsaid. Raises OAuthError."""
    found: dict[str, Any] = {}
    for name in _TEXTS:
        if (value := given.get(name)) is not None:
            found[name] = _text(name, value, scopes.LENGTH_MAX if name == "scope" else TEXT_LENGTH_MAX)
    for name in _LISTS:
        if (value := given.get(name)) is not None:
            if not isinstance(value, list) or len(value) > URIS_MAX:
                raise refused(f"{name} is a list of at most {URIS_MAX} texts")
            found[name] = list(dict.fromkeys(_text(name, one, TEXT_LENGTH_MAX) for one in value))
    if "client_name" in found and (not found["client_name"].strip() or _TURNING.search(found["client_name"])):
        raise refused("client_name is what people read: not blank, and without marks of direction")
    for name in _URIS:
        if name in found and not _is_web(_split(found[name])):
            raise refused(f"{name} is an https address")
    _check_grants(found)
    _check_keys(found, given)
    _check_redirects(found)
    scopes.requested(found.get("scope", ""))
    return found


def _text(name: str, value: object, length_max: int) -> str:
    if not isinstance(value, str) or len(value) > length_max or any(char < " " for char in value):
        raise refused(f"{name} is, or consists of, texts of at most {length_max} characters")
    return value


def _check_grants(found: dict[str, Any]) -> None:
    method = found.setdefault("token_endpoint_auth_method", "client_secret_basic")
    if method not in (*METHODS, "none"):
        raise refused(f"token_endpoint_auth_method is one of none, {', '.join(METHODS)}")
    kinds = found.setdefault("grant_types", ["authorization_code"])
    if not set(kinds) <= set(GRANT_TYPES):
        raise refused(f"grant_types are of {', '.join(GRANT_TYPES)}")
    if "client_credentials" in kinds and method != "private_key_jwt":
        raise refused("client_credentials needs token_endpoint_auth_method private_key_jwt")
    coded = ["code"] if "authorization_code" in kinds else []
    if found.setdefault("response_types", coded) != coded:
        raise refused("response_types is [code] with the grant type authorization_code, and empty without")


def _check_keys(found: dict[str, Any], given: Mapping[str, Any]) -> None:
    keys = given.get("jwks")
    if found["token_endpoint_auth_method"] != "private_key_jwt":
        found.pop("jwks_uri", None)
        return
    if (keys is None) is ("jwks_uri" not in found):
        raise refused("private_key_jwt needs jwks or jwks_uri, one of them")
    if keys is None:
        return
    if not isinstance(keys, dict) or not isinstance(keys.get("keys"), list) or not keys["keys"]:
        raise refused("jwks is a JWK set")
    if any(not isinstance(key, dict) or {"d", "k"} & key.keys() for key in keys["keys"]):
        raise refused("jwks holds public keys alone")
    found["jwks"] = {"keys": keys["keys"]}


def _check_redirects(found: Mapping[str, Any]) -> None:
    """RFC 8252 section 7, RFC 9700 section 4.1: exact addresses, https but for this machine and apps."""
    uris = found.get("redirect_uris", [])
    if "authorization_code" in found["grant_types"] and not uris:
        raise refused("an authorization_code client registers its redirect_uris", "invalid_redirect_uri")
    for uri in uris:
        parts = _split(uri)
        # An app's own scheme is a name that it owns, backwards; schemes that browsers act upon have no dot.
        fits = parts is not None and (_is_web(parts) or "." in parts.scheme)
        if not fits or any(char in uri for char in "*#\\ ") or not uri.isascii():
            raise refused(
                f"{uri[:80]!r} is no redirect_uri: https, http on this machine, or an app's own scheme with"
                " a dot; no fragment, no user name, no wildcard",
                "invalid_redirect_uri",
            )


def _split(uri: str) -> SplitResult | None:
    """The parts of an address; None for one without a scheme or with a user name, or that is none."""
    try:
        parts = urlsplit(uri)
        usable = parts.scheme and parts.username is None and (parts.port is None or parts.port)
    except ValueError:
        return None
    return parts if usable else None


def _is_web(parts: SplitResult | None) -> bool:
    """https, or http on the machine of the browser."""
    if parts is None or not _HOST.fullmatch(parts.hostname or ""):
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
