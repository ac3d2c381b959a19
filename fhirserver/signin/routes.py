"""Where the pages of signing in are: below `/auth/`, beside the FHIR base."""

from __future__ import annotations

from starlette.routing import Route

from fhirserver import pages
from fhirserver.pages import page
from fhirserver.signin import account, enter, external, join, recover, second


def routes() -> list[Route]:
    """The pages of this package; what they stand on is the application's state."""
    return [
        *pages.routes(),
        page("/auth/sign-in", enter.show),
        page("/auth/sign-in", enter.sign_in, ("POST",)),
        page("/auth/sign-in/with/{number:int}", external.leave),
        page("/auth/sign-in/back", external.arrive),
        page("/auth/sign-in/code", enter.enter_code, ("POST",)),
        page("/auth/sign-in/choose", enter.choose, ("POST",)),
        page("/auth/sign-out", enter.sign_out, ("POST",)),
        page("/auth/forgot", recover.show),
        page("/auth/forgot", recover.ask, ("POST",)),
        page("/auth/reset/{code}", recover.choose),
        page("/auth/reset/{code}", recover.save, ("POST",)),
        page("/auth/account", account.show),
        page("/auth/account", account.sign_out_elsewhere, ("POST",)),
        page("/auth/password", account.show_password),
        page("/auth/password", account.change_password, ("POST",)),
        page("/auth/totp", second.show),
        page("/auth/totp", second.change, ("POST",)),
        page("/auth/join", join.show),
        page("/auth/join", join.enter_code, ("POST",)),
        page("/auth/join/find", join.find, ("POST",)),
        page("/auth/join/{code}", join.welcome),
        page("/auth/join/{code}", join.accept, ("POST",)),
    ]
