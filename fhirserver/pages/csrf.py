"""Forms that only this server's own pages can send.

https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html, signed
double submit: a form carries a MAC over the session's cookie or, before there is one, over a random cookie of
the same kind. Each token has a salt of its own, so that compressed pages tell nothing about it.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from secrets import token_bytes, token_urlsafe
from typing import Final
from urllib.parse import parse_qsl

from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request

from fhirserver.interactions.call import Services
from fhirserver.pages.errors import Trouble
from fhirserver.people import sessions

FIELD: Final = "csrf"
COOKIE: Final = "form"
BYTES_MAX: Final = 64 * 1024
_TYPE: Final = "application/x-www-form-urlencoded"
_SALT_BYTES: Final = 16
_FORGED: Final = (
    "This form did not come from here",
    "It was open for too long, or your browser does not keep this site's cookies. Go back, load the page"
    " again and send it once more.",
)


def token(request: Request) -> str:
    """For the field FIELD of a form on the page that answers `request`."""
    salt = token_bytes(_SALT_BYTES)
    bounds = _bounds(request)
    if not bounds:
        request.state.form_cookie = fresh(request) or token_urlsafe(24)
        bounds = [f"{COOKIE}:{request.state.form_cookie}"]
    return urlsafe_b64encode(salt + _mac(request, bounds[0], salt)).decode()


def fresh(request: Request) -> str | None:
    """The cookie that the answer has to set, where the browser brought none."""
    return getattr(request.state, "form_cookie", None)


async def form(request: Request) -> ImmutableMultiDict[str, str]:
    """The fields of a form, `getlist` those that stand several times. Raises Trouble if it is forged."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Trouble(403, *_FORGED)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _TYPE:
        raise Trouble(415, "This is not a form", "Go back and send the page's own form.")
    body = await request.body()
    if len(body) > BYTES_MAX:
        raise Trouble(413, "That is too long", "Go back and enter less.")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=500, errors="strict")
    except ValueError:
        raise Trouble(400, "This form cannot be read", "Go back and send it once more.") from None
    if any("\0" in name or "\0" in value for name, value in pairs):
        raise Trouble(400, "This form cannot be read", "It holds a character that no text has.")
    fields = ImmutableMultiDict(pairs)
    if not _is_ours(request, fields.get(FIELD, "")):
        raise Trouble(403, *_FORGED)
    return fields


def _is_ours(request: Request, text: str) -> bool:
    """Whether the token was made for a cookie that the browser sent: a page may be older than the session."""
    try:
        raw = urlsafe_b64decode(text.encode())
    except ValueError:
        return False
    salt, mac = raw[:_SALT_BYTES], raw[_SALT_BYTES:]
    return any(hmac.compare_digest(mac, _mac(request, bound, salt)) for bound in _bounds(request))


def _mac(request: Request, bound: str, salt: bytes) -> bytes:
    services: Services = request.app.state.services
    key = services.token_secret
    return blake2b(salt + bound.encode(), key=key, digest_size=32, person=b"forms").digest()


def _bounds(request: Request) -> list[str]:
    """The cookies that a form of this browser may be bound to, the better one first."""
    services: Services = request.app.state.services
    values = {name: sessions.cookie(services, request, name) for name in ("session", COOKIE)}
    return [f"{name}:{value}" for name, value in values.items() if value is not None]
