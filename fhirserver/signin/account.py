"""What somebody who is signed in sees and changes of their own account."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from fhirserver.db.pool import Connection
from fhirserver.interactions.call import Services
from fhirserver.pages import Trouble, csrf, path, redirect, render, services_of
from fhirserver.people import accounts, attempts, identity, passwords, sessions
from fhirserver.people.accounts import Account
from fhirserver.people.sessions import Session
from fhirserver.signin.chosen import chosen


async def signed_in(request: Request) -> tuple[Session, Account] | None:
    """Who is signed in; None where nobody is, for `to_sign_in`."""
    services = services_of(request)
    async with services.pool.acquire() as connection:
        return await _signed_in(request, connection, services)


async def _signed_in(
    request: Request, connection: Connection, services: Services
) -> tuple[Session, Account] | None:
    session = await sessions.current(request, connection, services)
    account = await accounts.get(connection, services, session.account) if session else None
    return (session, account) if session and account else None


def to_sign_in(request: Request, name: str) -> Response:
    """To the sign-in page, and back to the page `name` from there."""
    services = services_of(request)
    return redirect(f"{path(services, 'sign-in')}?next={quote(path(services, name))}")


async def show(request: Request) -> Response:
    """GET: the account at a glance."""
    services = services_of(request)
    async with services.pool.acquire() as connection:
        found = await _signed_in(request, connection, services)
        if found is None:
            return to_sign_in(request, "account")
        session, account = found
        who = await identity.of_person(connection, services, session.person)
        others = await accounts.other_sessions(connection, services, session)
    if who is None:
        raise Trouble(403, "This account may not sign in", "Ask who looks after this server.")
    return render(
        request,
        "account.html",
        who=who.name,
        name=who.name,
        login=account.login,
        roles=who.roles,
        seen=_moment(account.seen_before),
        totp=account.totp,
        others=others,
        done=_DONE.get(request.query_params.get("done", "")),
    )


_DONE = {
    "password": "Your password is changed. You are signed out everywhere else.",
    "on": "From now on a code is needed to sign in.",
    "off": "Your password alone is enough to sign in now.",
    "others": "You are signed out everywhere else.",
}
"""What an address may say was done; anything else says nothing."""


def _moment(moment: datetime | None) -> str | None:
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC" if moment else None


async def sign_out_elsewhere(request: Request) -> Response:
    """POST: only this browser stays signed in."""
    services = services_of(request)
    await csrf.form(request)
    async with services.pool.acquire() as connection:
        session = await sessions.current(request, connection, services)
        if session is None:
            return to_sign_in(request, "account")
        await sessions.end_all(connection, session.account, session)
    return redirect(f"{path(services, 'account')}?done=others")


async def show_password(request: Request) -> Response:
    """GET: the form to change the password."""
    found = await signed_in(request)
    if found is None:
        return to_sign_in(request, "password")
    return render(request, "password.html", login=found[1].login, error=None)


async def change_password(request: Request) -> Response:
    """POST: the password until now and a new one. This browser goes on, with another session."""
    services = services_of(request)
    form = await csrf.form(request)
    found = await signed_in(request)
    if found is None:
        return to_sign_in(request, "password")
    session, account = found
    password, error = chosen(form, account.login)
    error = error or await refused(services, account, form.get("password", ""))
    if error:
        return render(request, "password.html", 422, login=account.login, error=error)
    stored = await passwords.hashed(password)
    async with services.pool.acquire() as connection, connection.transaction():
        if not await accounts.set_password(connection, services, account, stored, keep=session):
            raise Trouble(409, "Your password was changed meanwhile", "Sign in again with the new one.")
        value, _ = await sessions.begin(connection, services, account.id, session)
    response = redirect(f"{path(services, 'account')}?done=password")
    sessions.give_cookie(services, response, value)
    return response


async def refused(services: Services, account: Account, password: str) -> str | None:
    """Why somebody who is signed in did not prove again who they are: a browser left open is no proof."""
    try:
        if await accounts.verify(services, account.login, password) is None:
            return "Your password until now is not right."
    except attempts.TooMany:
        return "Too many attempts. Wait up to a quarter of an hour, then try again."
    return None
