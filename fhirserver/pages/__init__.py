"""The pages that people see: templates, one stylesheet, and the headers that guard them.

No script, no inline style, nothing from elsewhere, in nobody's frame, kept by no cache. Routes are made with
`page`, answers with `render`; what a page cannot do is raised as `Trouble`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from fhirserver.errors import FhirError
from fhirserver.interactions.call import Services
from fhirserver.pages import csrf
from fhirserver.pages.document import GUARDS, document, routes
from fhirserver.pages.errors import Trouble
from fhirserver.people import sessions
from fhirserver.people.places import path

__all__ = ["Trouble", "csrf", "page", "path", "redirect", "render", "routes", "services_of"]

Endpoint = Callable[[Request], Awaitable[Response]]


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
    guarded = {"csrf": csrf.token(request), "csrf_field": csrf.FIELD}
    response = document(services.settings, name, status, form_action=form_action, **values, **guarded)
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
