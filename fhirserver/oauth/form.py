"""Bodies of the OAuth endpoints: forms with each parameter once (RFC 6749 section 3.2), and JSON objects."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from starlette.requests import Request

from fhirserver.oauth.errors import OAuthError

BYTES_MAX: Final = 128 * 1024
_TYPE: Final = "application/x-www-form-urlencoded"


async def form_of(request: Request) -> dict[str, str]:
    """The parameters by name, those without a value left out. Raises OAuthError(invalid_request)."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _TYPE:
        raise OAuthError("invalid_request", f"the body is {_TYPE}")
    body = await request.body()
    if len(body) > BYTES_MAX:
        raise OAuthError("invalid_request", "the body is too long")
    return once(body)


def once(encoded: bytes) -> dict[str, str]:
    """Form-encoded parameters, of which none may stand twice."""
    try:
        pairs = parse_qsl(encoded.decode(), keep_blank_values=True, max_num_fields=100, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise OAuthError("invalid_request", "the parameters are not form-encoded UTF-8") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise OAuthError("invalid_request", f"{name[:40]} stands twice")
        if "\0" in name or "\0" in value:
            raise OAuthError("invalid_request", "a parameter holds the character U+0000")
        found[name] = value
    return {name: value for name, value in found.items() if value}


async def json_of(request: Request, error: str = "invalid_request") -> dict[str, Any]:
    """The JSON object of the body. Raises OAuthError of the code `error`."""
    body = await request.body()
    try:
        # U+0000 is what PostgreSQL's text cannot hold.
        found = orjson.loads(body) if len(body) <= BYTES_MAX and b"\\u0000" not in body else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise OAuthError(error, f"the body is a JSON object of at most {BYTES_MAX} bytes")
    return found
