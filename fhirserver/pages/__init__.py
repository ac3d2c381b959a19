"""The pages that people see: templates, one stylesheet, and the headers that guard them.

No script, no inline style, nothing from elsewhere, in nobody's frame, kept by no cache. Routes are made with
`page`, answers with `render`; what a page cannot do is raised as `Trouble`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from fhirserver.errors import FhirError
from fhirserver.interactions.call import Services
from fhirserver.pages import csrf
from fhirserver.pages.errors import Trouble
from fhirserver.people import sessions
from fhirserver.people.places import path

__all__ = ["Trouble", "csrf", "page", "path", "redirect", "render", "routes", "services_of"]

Endpoint = Callable[[Request], Awaitable[Response]]

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


def services_of(request: Request) -> Services:
    """What the application put into its state when it started."""
    return request.app.state.services


def render(
    request: Request, name: str, status: int = 200, /, *, form_action: str | None = "'self'", **values: Any
) -> Response:
    """The template `name` with `values`; `who` among them is the name of who is signed in.

    `form_action` is that of the Content-Security-Policy. Browsers apply it to redirects after a form, too: a
    page whose form leads on to an app names the app's origin, `'self' https://app.example`, or gives None.
    """
    services = services_of(request)

    def url(place: str) -> str:
        return path(services, place)

    fixed = {
        "url": url,
        "site": services.settings.site_name,
        "stylesheet": f"{url('assets/site.css')}?{_mark('site.css')}",
        "who": None,
    }
    text = _environment.get_template(name).render(
        **(fixed | values), csrf=csrf.token(request), csrf_field=csrf.FIELD
    )
    policy = _POLICY if form_action is None else f"{_POLICY}; form-action {form_action}"
    response = Response(
        text, status, GUARDS | {"Content-Security-Policy": policy}, "text/html; charset=utf-8"
    )
    if (fresh := csrf.fresh(request)) is not None:
        sessions.give_cookie(services, response, fresh, csrf.COOKIE)
    return response


def redirect(place: str) -> Response:
    """303: the answer to a form is a page that can be loaded again."""
    return RedirectResponse(place, 303, GUARDS)


def page(place: str, endpoint: Endpoint, methods: Sequence[str] = ("GET",)) -> Route:
    """The route of a page; its troubles, and those of the database, become pages, too."""

    async def guarded(request: Request) -> Response:
        try:
            return await endpoint(request)
        except Trouble as trouble:
            return render(request, "error.html", trouble.status, title=trouble.title, text=trouble.text)
        except FhirError as error:
            response = render(
                request, "error.html", error.status, title="That did not work", text=f"{error}."
            )
            response.headers.update(error.headers)
            return response

    return Route(place, guarded, methods=list(methods))


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
