"""Templates, the files that they load, and the headers that guard what is made of them."""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fhirserver.people.places import path_of
from fhirserver.settings import Settings

STATIC: Final = Path(__file__).with_name("static")
_MEDIA_TYPES: Final = {".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'"
)
GUARDS: Final = {
    "Cache-Control": "no-store",
    "Pragma": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_environment: Final = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def document(
    settings: Settings, name: str, status: int = 200, /, *, form_action: str | None = "'none'", **values: Any
) -> Response:
    """The template `name` with `values`; `form_action` is that of the Content-Security-Policy."""

    def url(place: str) -> str:
        return path_of(settings, place)

    fixed = {
        "url": url,
        "site": settings.site_name,
        "stylesheet": f"{url('assets/site.css')}?{_mark('site.css')}",
        "who": None,
    }
    text = _environment.get_template(name).render(**(fixed | values))
    policy = _POLICY if form_action is None else f"{_POLICY}; form-action {form_action}"
    return Response(text, status, GUARDS | {"Content-Security-Policy": policy}, "text/html; charset=utf-8")


def routes() -> list[Route]:
    """The files that pages load."""
    return [Route("/auth/assets/{name}", _asset, methods=["GET"])]


async def _asset(request: Request) -> Response:
    name = request.path_params["name"]
    found = _assets().get(name)
    if found is None:
        return Response(status_code=404, headers=GUARDS)
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(found, headers=headers, media_type=_MEDIA_TYPES[Path(name).suffix])


@cache
def _assets() -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in STATIC.iterdir() if one.suffix in _MEDIA_TYPES}


@cache
def _mark(name: str) -> str:
    """What changes when the file does."""
    return blake2b(_assets()[name], digest_size=6).hexdigest()
