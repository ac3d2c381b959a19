"""Turning the second step of signing in on and off."""

from __future__ import annotations

from base64 import b64encode
from time import time

from starlette.requests import Request
from starlette.responses import Response

from fhirserver.pages import csrf, path, redirect, render, services_of
from fhirserver.pages.qr import svg
from fhirserver.people import totp
from fhirserver.people.accounts import Account
from fhirserver.people.sealed import seal, unseal
from fhirserver.signin.account import refused, signed_in, to_sign_in

_PURPOSE = "totp-offer"
_OFFER_S = 3_600


async def show(request: Request) -> Response:
    """GET: the key of a second step that could be turned on, or the form to turn it off."""
    found = await signed_in(request)
    if found is None:
        return to_sign_in(request, "totp")
    return _form(request, found[1], totp.new_secret())


def _form(request: Request, account: Account, secret: bytes, error: str | None = None) -> Response:
    services = services_of(request)
    status = 422 if error else 200
    if account.totp:
        return render(request, "totp.html", status, is_on=True, login=account.login, error=error)
    uri = totp.uri(secret, account.login, services.settings.site_name)
    return render(
        request,
        "totp.html",
        status,
        is_on=False,
        login=account.login,
        error=error,
        picture=f"data:image/svg+xml;base64,{b64encode(svg(uri).encode()).decode()}",
        uri=uri,
        shown=totp.shown(secret),
        secret=seal(services.token_secret, _PURPOSE, [account.id, secret.hex()]),
    )


async def change(request: Request) -> Response:
    """POST: on, if a code proves that an app has the key, or off; the password is asked for either."""
    services = services_of(request)
    form = await csrf.form(request)
    found = await signed_in(request)
    if found is None:
        return to_sign_in(request, "totp")
    account = found[1]
    offered = unseal(services.token_secret, _PURPOSE, form.get("secret", ""), _OFFER_S)
    mine = bool(offered) and offered[0] == account.id
    secret = bytes.fromhex(offered[1]) if mine else totp.new_secret()
    step = totp.step_of(secret, form.get("code", ""), time())
    error = await refused(services, account, form.get("password", ""))
    if not error and not account.totp and (step is None or not mine):
        error = "That code is not right. Enter the one that the app shows now."
    if error:
        return _form(request, account, secret, error)
    async with services.pool.acquire() as connection:
        if account.totp:
            await totp.turn_off(connection, account.id)
        elif step is not None:
            await totp.turn_on(connection, services, account.id, secret, step)
    return redirect(f"{path(services, 'account')}?done={'off' if account.totp else 'on'}")
