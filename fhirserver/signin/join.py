"""Making one's own account with an invitation, or asking for one to the address that a record holds."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from fhirserver.pages import Trouble, csrf, path, redirect, render, services_of
from fhirserver.people import invitations, mail, passwords
from fhirserver.people.accounts import LoginTaken
from fhirserver.signin.chosen import chosen
from fhirserver.signin.enter import begin

_OVER = (
    "This invitation is over",
    "It was used already, is older than a week, or a newer one was made. Ask for another one.",
)


def _require_open(request: Request) -> None:
    if services_of(request).settings.join == "off":
        raise Trouble(404, "Accounts are not made here", "Ask who looks after this server for one.")


async def show(request: Request) -> Response:
    """GET: where to enter a code, or how to get one."""
    _require_open(request)
    return _codes(request)


def _codes(request: Request, error: str | None = None) -> Response:
    settings = services_of(request).settings
    can_find = settings.join == "identifiers" and mail.is_possible(settings)
    systems = settings.join_systems if can_find else ()
    return render(request, "join.html", 422 if error else 200, systems=systems, error=error)


async def enter_code(request: Request) -> Response:
    """POST: a code as it was told; its page is the next."""
    _require_open(request)
    services = services_of(request)
    code = (await csrf.form(request)).get("code", "").strip()
    async with services.pool.acquire() as connection:
        if await invitations.subject(connection, services, code) is None:
            return _codes(request, "That code is not right, or not good any more.")
    return redirect(path(services, f"join/{code}"))


async def find(request: Request) -> Response:
    """POST: the details of a record. The same answer at once, whether it exists or not."""
    _require_open(request)
    services = services_of(request)
    form = await csrf.form(request)
    details = (form.get(name, "").strip() for name in ("system", "identifier", "family", "born"))
    mail.beside(invitations.claim(services, *details))
    return render(
        request,
        "message.html",
        title="Look at your mail",
        text="If every detail is right and the record holds an e-mail address, an invitation is on its way."
        " If none comes, ask where you are treated for one.",
        place=path(services, "sign-in"),
        label="Back to sign in",
    )


async def welcome(request: Request) -> Response:
    """GET: the form behind an invitation, which looking at does not use up."""
    return _form(request, await _subject(request))


async def _subject(request: Request) -> str:
    _require_open(request)
    services = services_of(request)
    async with services.pool.acquire() as connection:
        name = await invitations.subject(connection, services, request.path_params["code"])
    if name is None:
        raise Trouble(410, *_OVER)
    return name


def _form(request: Request, name: str, login: str = "", error: str | None = None) -> Response:
    place = path(services_of(request), f"join/{request.path_params['code']}")
    status = 422 if error else 200
    return render(request, "accept.html", status, name=name, action=place, login=login, error=error)


async def accept(request: Request) -> Response:
    """POST: name and password; the account is made and signed in."""
    services = services_of(request)
    form = await csrf.form(request)
    name, login = await _subject(request), form.get("login", "")
    password, error = chosen(form, login, name)
    if error:
        return _form(request, name, login, error)
    stored = await passwords.hashed(password)
    async with services.pool.acquire() as connection:
        try:
            account = await invitations.accept(
                connection, services, request.path_params["code"], login, stored
            )
        except LoginTaken:
            return _form(request, name, login, "That name is taken. Choose another one.")
        except ValueError as wrong:
            return _form(request, name, login, f"{str(wrong).capitalize()}.")
        if account is None:
            raise Trouble(410, *_OVER)
        return await begin(request, connection, services, account, None)
