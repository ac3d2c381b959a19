"""The way of a FHIR request: parse, authenticate, decide, run, render.

https://hl7.org/fhir/R4/http.html
"""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from fhirserver.errors import FhirError, TooMany, Unauthorized
from fhirserver.http.attended import Attended
from fhirserver.http.authenticate import Authenticate
from fhirserver.http.render import Response, is_as_stored, refuse, respond
from fhirserver.http.request import Headers, call_of, path_of, query_of, unread
from fhirserver.http.wanted import verify, wanted_of
from fhirserver.interactions.audit.record import record_refusal
from fhirserver.interactions.call import Params, Services
from fhirserver.interactions.failures import translated
from fhirserver.interactions.patch import PATCHES
from fhirserver.interactions.run import run_alone
from fhirserver.interactions.table import Target, attempted, offers, resolve
from fhirserver.policy.principal import OPEN, Principal

_THREAD_BYTES: Final = 512 * 1024
"""Larger answers are rendered in a thread, so that other requests go on."""


class Pipeline:
    """The ASGI application of everything below the FHIR base."""

    def __init__(self, services: Services, authenticate: Authenticate) -> None:
        self._services = services
        self._authenticate = authenticate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._response(scope, receive)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _response(self, scope: Scope, receive: Receive) -> Response:
        headers, method = Headers.of(scope), scope["method"]
        accept = headers.get(b"accept")
        wanted = wanted_of(accept, (), method)
        query, target, principal, call = (), None, OPEN, None
        try:
            query = query_of(scope, self._services)
            if query:
                wanted = wanted_of(accept, query, method)
            if method == "OPTIONS":
                return _options(path_of(scope))
            target = resolve(method, path_of(scope))
            verify(wanted, query, target)
            if target.interaction.name != "capabilities":
                principal = await self._authenticate(headers.get(b"authorization"))
                if not principal.is_open:
                    self._services.rates.take("client", principal.id)
            call = await call_of(scope, receive, self._services, headers, query, target, principal)
            if call.query is not query:  # a form says it as well as a URL
                wanted = wanted_of(accept, call.query, method)
                verify(wanted, call.query, target)
            async with Attended(receive):
                answer = await run_alone(call)
                if not is_as_stored(wanted):
                    answer = await answer.gathered()
            if answer.body is not None and len(answer.body) > _THREAD_BYTES:
                return await asyncio.to_thread(respond, call, answer, wanted)
            return respond(call, answer, wanted)
        except FhirError as error:
            if call is None:
                error = await self._unheard(scope, query, target, principal, error)
            return refuse(error, wanted)
        except Exception as error:
            known = translated(error)
            if known is None:
                raise
            return refuse(known, wanted)

    async def _unheard(
        self, scope: Scope, query: Params, target: Target | None, principal: Principal, error: FhirError
    ) -> FhirError:
        """The error, once it is recorded that somebody was refused before there was a call; or why that
        cannot be. Who asks too often is refused without, or could fill the disk."""
        if isinstance(error, TooMany):
            return error
        try:
            if target is None and (target := attempted(scope["method"], path_of(scope))) is not None:
                principal = await self._whoever(scope)
            if target is not None:
                await record_refusal(unread(scope, self._services, query, target, principal), error)
        except FhirError as unrecorded:
            return unrecorded
        return error

    async def _whoever(self, scope: Scope) -> Principal:
        """Who asks for what is not there; whoever that is, it is refused. Raises TooMany."""
        try:
            principal = await self._authenticate(Headers.of(scope).get(b"authorization"))
        except Unauthorized:
            return OPEN
        if not principal.is_open:
            self._services.rates.take("client", principal.id)
        return principal


def _options(path: str) -> Response:
    """What the path offers (RFC 9110 section 9.3.7, RFC 5789 section 3.1). Raises NotFound."""
    methods = offers(path)
    headers = {"Allow": ", ".join(methods)}
    if "PATCH" in methods:
        headers["Accept-Patch"] = ", ".join(PATCHES)
    return Response(204, None, headers.items())


def error_response(error: FhirError, scope: Scope) -> ASGIApp:
    """For what is refused outside the pipeline; JSON unless the client's headers say otherwise."""
    return refuse(error, wanted_of(Headers.of(scope).get(b"accept"), (), scope["method"]))
