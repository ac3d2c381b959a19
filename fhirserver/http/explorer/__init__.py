"""`/docs`: the API explorer, and the OpenAPI documents that it and other tools read.

The page is plain HTML, CSS and JavaScript from this folder; its Content-Security-Policy lets it load and
call nothing but this server.
"""

from __future__ import annotations

import asyncio
import gzip
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp

from fhirserver.errors import Invalid, NotFound
from fhirserver.http.base import public_base
from fhirserver.http.openapi import document
from fhirserver.http.pipeline import error_response
from fhirserver.http.render import Response
from fhirserver.interactions.call import Services

STATIC: Final = Path(__file__).parent / "static"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_GUARDS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_OPENAPI: Final = "application/vnd.oai.openapi+json;version=3.1"
PAGE: Final = "index.html"


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page, read once."""

    body: bytes
    gzip: bytes
    etag: str
    media_type: str


def routes(services: Services) -> list[Route]:
    """The routes of this module; `services` are those of the running application."""

    async def page(request: Request) -> ASGIApp:
        return _file(request, PAGE)

    async def asset(request: Request) -> ASGIApp:
        return _file(request, request.path_params["name"])

    async def openapi(request: Request) -> ASGIApp:
        return await _openapi(request, services)

    return [
        Route("/docs", page, methods=["GET"]),
        Route("/docs/openapi.json", openapi, methods=["GET"]),
        Route("/docs/assets/{name}", asset, methods=["GET"]),
    ]


@cache
def assets() -> dict[str, Asset]:
    """The files of the page by name."""
    return {path.name: _read(path) for path in STATIC.iterdir() if path.suffix in _MEDIA_TYPES}


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    etag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
    return Asset(body, gzip.compress(body, mtime=0), etag, _MEDIA_TYPES[path.suffix])


def _file(request: Request, name: str) -> Response | ASGIApp:
    found = assets().get(name)
    if found is None:
        return error_response(NotFound(f"the explorer has no file {name[:64]!r}"), request.scope)
    headers = _GUARDS | {"Content-Type": found.media_type}
    return _constant(request, found.body, found.gzip, found.etag, headers)


async def _openapi(request: Request, services: Services) -> ASGIApp:
    """The document of `?type=`, or of everything; made in a thread, as the whole one takes a while."""
    query = request.query_params.multi_items()
    if any(name != "type" for name, _ in query) or len(query) > 1:
        return error_response(Invalid("the only parameter is type, once: ?type=Patient"), request.scope)
    base = public_base(request.scope, services.settings)
    part = query[0][1] if query else None
    try:
        found = await asyncio.to_thread(document, services.registry, base, part)
    except NotFound as error:
        return error_response(error, request.scope)
    headers = {"Content-Type": _OPENAPI, "X-Content-Type-Options": "nosniff"}
    return _constant(request, found.body, found.gzip, found.etag, headers)


def _constant(request: Request, body: bytes, packed: bytes, etag: str, headers: dict[str, str]) -> Response:
    """200, or 304 for who has it; browsers ask again each time, so that a new release is seen at once."""
    headers |= {"ETag": etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    head = request.method == "HEAD"
    named = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if named & {etag.removeprefix("W/"), "*"}:
        del headers["Content-Type"]
        return Response(304, None, headers.items(), head=head)
    return Response(200, body, headers.items(), head=head, packed=packed)
