"""Signing in and out: name and password, a code where the account wants one, a new password where it must.

Between the steps the browser carries a sealed ticket: nothing is kept here before somebody is known, and no
session begins before the last step. A ticket is over when the password changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import time
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from fhirserver.db.pool import Connection
from fhirserver.interactions.audit.entrance import LOGIN, LOGOUT, Entrant, record_entrance
from fhirserver.interactions.call import Origin, Services
from fhirserver.pages import Trouble, csrf, path, redirect, render, services_of
from fhirserver.people import accounts, attempts, identity, mail, passwords, sessions, totp
from fhirserver.people.accounts import Account
from fhirserver.people.places import onward
from fhirserver.people.sealed import seal, unseal
from fhirserver.people.sessions import Session
from fhirserver.policy.audit import Deed
from fhirserver.signin.chosen import chosen
from fhirserver.signin.doors import doors

TICKET_S: Final = 600
_PURPOSE: Final = "sign-in"
_WRONG: Final = "The name or the password is not right."
_WRONG_CODE: Final = "That code is not right, or it was used already. Wait for the next one."
_TOO_MANY: Final = "Too many attempts. Wait up to a quarter of an hour, then try again."
_LATE: Final = ("That took too long", "Please start again and sign in once more.")
_FIRST: Final = "Yours was for one use. From now on you sign in with the one that you choose here."


async def show(request: Request) -> Response:
    """GET: the form; whoever is signed in goes on, unless asked to do it `again`."""
    services = services_of(request)
    wanted = onward(services, request.query_params.get("next"))
    again = request.query_params.get("again") == "1"
    async with services.pool.acquire() as connection:
        session = await sessions.current(request, connection, services)
    if session is not None and not again:
        return redirect(wanted or path(services, "account"))
    return _form(request, wanted, login=session.login if session else "", again=again)


def _form(
    request: Request, wanted: str | None, status: int = 200, *, login: str = "", **values: Any
) -> Response:
    settings = services_of(request).settings
    fixed = {"again": False, "error": None}
    again: bool = values.get("again", False)
    links = {
        "doors": doors(request, wanted, again=again),
        "can_reset": mail.is_possible(settings),
        "can_join": settings.join != "off",
    }
    # Where this leads on to, an app may be next, whose address is not known here: see `render`.
    action = None if wanted else "'self'"
    return render(
        request,
        "sign-in.html",
        status,
        form_action=action,
        **(fixed | links | values),
        login=login,
        onward=wanted,
    )


async def sign_in(request: Request) -> Response:
    """POST: name and password. The same answer, as late, for an unknown name as for a wrong password."""
    services = services_of(request)
    form = await csrf.form(request)
    login, wanted = form.get("login", ""), onward(services, form.get("next"))
    try:
        account = await accounts.verify(services, login[:400], form.get("password", ""))
    except attempts.TooMany as many:
        await _failed(request, services, Entrant(login=login[:400]), "too many attempts")
        response = _form(request, wanted, 429, login=login, error=_TOO_MANY)
        response.headers["Retry-After"] = str(many.wait_s)
        return response
    if account is None:
        await _failed(request, services, Entrant(login=login[:400]), "wrong name or password")
        return _form(request, wanted, 403, login=login, error=_WRONG)
    return await proceed(request, services, account, wanted, proved=not account.totp)


async def _failed(request: Request, services: Services, who: Entrant, why: str) -> None:
    async with services.pool.acquire() as connection:
        await record(request, connection, services, LOGIN, who, failure=why)


async def record(
    request: Request, connection: Connection, services: Services, deed: Deed, who: Entrant, **more: Any
) -> None:
    """Record what a request did about signing in. Raises Unavailable."""
    await record_entrance(connection, services, Origin.of(request.scope["state"]), deed, who, **more)


async def entrant(connection: Connection, services: Services, session: Session) -> Entrant:
    """Who a session is of, in the words of the audit trail, where there is one."""
    if services.trail is None:
        return Entrant()
    who = await identity.of_person(connection, services, session.person)
    return Entrant(login=session.login) if who is None else Entrant(user=who.user)


async def proceed(
    request: Request, services: Services, account: Account, wanted: str | None, *, proved: bool
) -> Response:
    """The next step: a code, a new password, or a session."""
    ticket = {"account": account.id, "mark": account.mark, "proved": proved, "next": wanted}
    sealed = seal(services.token_secret, _PURPOSE, ticket)
    action = None if wanted else "'self'"
    if not proved:
        return render(request, "code.html", form_action=action, ticket=sealed, error=None)
    if account.must_change:
        return _choice(request, services, account, sealed, None)
    async with services.pool.acquire() as connection:
        return await begin(request, connection, services, account.id, wanted)


def _choice(
    request: Request, services: Services, account: Account, ticket: str, error: str | None
) -> Response:
    return render(
        request,
        "choose.html",
        422 if error else 200,
        form_action=None,
        lead=_FIRST,
        action=path(services, "sign-in/choose"),
        ticket=ticket,
        login=account.login,
        error=error,
    )


async def begin(
    request: Request, connection: Connection, services: Services, account: int, wanted: str | None
) -> Response:
    """Start a session in place of the browser's, and go where it wanted to."""
    before = await sessions.current(request, connection, services)
    try:
        value, session = await sessions.begin(connection, services, account, before)
    except LookupError:
        raise Trouble(403, "This account may not sign in", "Ask who looks after this server.") from None
    await record(request, connection, services, LOGIN, await entrant(connection, services, session))
    response = redirect(wanted or path(services, "account"))
    sessions.give_cookie(services, response, value)
    return response


async def _of_ticket(connection: Connection, services: Services, text: str) -> tuple[Account, dict[str, Any]]:
    """The account and the state that a ticket carries. Raises Trouble."""
    ticket = unseal(services.token_secret, _PURPOSE, text, TICKET_S)
    account = await accounts.get(connection, services, ticket["account"]) if ticket else None
    if account is None or account.disabled or account.mark != ticket["mark"]:
        raise Trouble(403, *_LATE)
    return account, ticket


async def enter_code(request: Request) -> Response:
    """POST: the second step, RFC 6238; each code is good once, and guessing gets slower."""
    services = services_of(request)
    form = await csrf.form(request)
    async with services.pool.acquire() as connection:
        account, ticket = await _of_ticket(connection, services, form.get("ticket", ""))
        try:
            await attempts.count(connection, services, "code", str(account.id))
        except attempts.TooMany as many:
            response = _code(request, form, 429, _TOO_MANY)
            response.headers["Retry-After"] = str(many.wait_s)
            return response
        if not await totp.use(connection, services, account.id, form.get("code", ""), time()):
            tried = Entrant(login=account.login)
            await record(request, connection, services, LOGIN, tried, failure="wrong code")
            return _code(request, form, 403, _WRONG_CODE)
        await attempts.forget(connection, services, "code", str(account.id))
    return await proceed(request, services, account, ticket["next"], proved=True)


def _code(request: Request, form: Mapping[str, str], status: int, error: str) -> Response:
    ticket = form.get("ticket", "")
    return render(request, "code.html", status, form_action=None, ticket=ticket, error=error)


async def choose(request: Request) -> Response:
    """POST: the password that takes the place of one that was for one use; then the session begins."""
    services = services_of(request)
    form = await csrf.form(request)
    text = form.get("ticket", "")
    async with services.pool.acquire() as connection:
        account, ticket = await _of_ticket(connection, services, text)
    if not ticket["proved"] or not account.must_change:
        raise Trouble(403, *_LATE)
    password, error = chosen(form, account.login)
    if not error and await passwords.matches(account.password, password):
        error = "Choose another one than you were given."
    if error:
        return _choice(request, services, account, text, error)
    stored = await passwords.hashed(password)
    async with services.pool.acquire() as connection, connection.transaction():
        if not await accounts.set_password(connection, services, account, stored):
            raise Trouble(403, *_LATE)
        return await begin(request, connection, services, account.id, ticket["next"])


async def sign_out(request: Request) -> Response:
    """POST: the session ends, here and for the apps that were let in until then."""
    services = services_of(request)
    await csrf.form(request)
    async with services.pool.acquire() as connection:
        session = await sessions.current(request, connection, services)
        if session is not None:
            await sessions.end(connection, session)
            await record(request, connection, services, LOGOUT, await entrant(connection, services, session))
    response = redirect(path(services, "sign-in"))
    sessions.give_cookie(services, response, "")
    return response
