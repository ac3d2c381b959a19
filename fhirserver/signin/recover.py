"""A new password by a link for who forgot theirs."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from fhirserver.pages import Trouble, csrf, path, redirect, render, services_of
from fhirserver.people import mail, passwords, reset
from fhirserver.people.accounts import Account
from fhirserver.signin.chosen import chosen

_OVER = (
    "This link is over",
    "It was used already, is older than an hour, or a newer one was asked for. Ask for another one.",
)


def _require_mail(request: Request) -> None:
    if not mail.is_possible(services_of(request).settings):
        text = "This server sends no mail. Ask who looks after it for a link to choose a new password."
        raise Trouble(404, "Links are not sent from here", text)


async def show(request: Request) -> Response:
    """GET: whose password."""
    _require_mail(request)
    return render(request, "forgot.html")


async def ask(request: Request) -> Response:
    """POST: the same answer at once, whether there is such an account or not."""
    _require_mail(request)
    services = services_of(request)
    form = await csrf.form(request)
    mail.beside(reset.ask(services, form.get("login", "")[:400]))
    return render(
        request,
        "message.html",
        title="Look at your mail",
        text="If there is such an account and it has an e-mail address, a link is on its way. It is good once"
        " and for an hour.",
        place=path(services, "sign-in"),
        label="Back to sign in",
    )


async def choose(request: Request) -> Response:
    """GET: the form behind the link, which looking at does not use up: programs look at links in mails."""
    return _form(request, await _account(request))


async def _account(request: Request) -> Account:
    services = services_of(request)
    async with services.pool.acquire() as connection:
        account = await reset.of_code(connection, services, request.path_params["code"])
    if account is None:
        raise Trouble(410, *_OVER)
    return account


def _form(request: Request, account: Account, error: str | None = None) -> Response:
    services = services_of(request)
    return render(
        request,
        "choose.html",
        422 if error else 200,
        lead=f"For the account {account.login}. You are signed out everywhere, and apps ask you again.",
        action=path(services, f"reset/{request.path_params['code']}"),
        ticket=None,
        login=account.login,
        error=error,
    )


async def save(request: Request) -> Response:
    """POST: the new password; only one that is good enough uses the link up."""
    services = services_of(request)
    form = await csrf.form(request)
    account = await _account(request)
    password, error = chosen(form, account.login)
    if error:
        return _form(request, account, error)
    stored = await passwords.hashed(password)
    async with services.pool.acquire() as connection:
        if not await reset.redeem(connection, services, request.path_params["code"], stored):
            raise Trouble(410, *_OVER)
    return redirect(path(services, "sign-in"))
