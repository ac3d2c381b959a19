"""The way of a FHIR request: parse, decide, run, render.

https://hl7.org/fhir/R4/http.html
"""

from __future__ import annotations

import asyncpg
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from fhirserver.db.pool import UNREACHABLE, unavailable
from fhirserver.errors import FhirError, TooCostly
from fhirserver.http.negotiate import negotiate
from fhirserver.http.render import Response, refuse, respond
from fhirserver.http.request import Headers, Wanted, call_of, query_of, wanted_of
from fhirserver.interactions.call import Services
from fhirserver.interactions.run import run_alone

JSON = Wanted(negotiate(None))


class Pipeline:
    """The ASGI application of everything below the FHIR base."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "OPTIONS":
            response: ASGIApp = Response(
                204, None, [("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")]
            )
        else:
            try:
                response = await self._response(scope, receive)
            except ClientDisconnect:
                return
        await response(scope, receive, send)

    async def _response(self, scope: Scope, receive: Receive) -> Response:
        headers = Headers.of(scope)
        wanted = JSON
        try:
            query = query_of(scope, self._services)
            wanted = wanted_of(headers, query, scope["method"])
            call = await call_of(scope, receive, self._services, headers, query, wanted)
            return respond(await run_alone(call), wanted)
        except FhirError as error:
            return refuse(error, wanted)
        except Exception as error:
            known = translated(error)
            if known is None:
                raise
            return refuse(known, wanted)


def translated(error: Exception) -> FhirError | None:
    """What a failure of the database means to a client; None for what nobody foresaw."""
    match error:
        case asyncpg.QueryCanceledError():
            return TooCostly("the statement took longer than this server allows; narrow the search")
        case asyncpg.ReadOnlySQLTransactionError() | asyncpg.InsufficientResourcesError():
            return unavailable("the database does not take writes at the moment")
        case asyncpg.ProgramLimitExceededError():
            return TooCostly("a value of this request is larger than the database can hold")
        case _ if isinstance(error, UNREACHABLE):
            return unavailable("the database cannot be reached")
        case _:
            return None


def error_response(error: FhirError, scope: Scope) -> ASGIApp:
    """For what is refused outside the pipeline; JSON unless the client's headers say otherwise."""
    return refuse(error, wanted_of(Headers.of(scope), (), scope["method"]))
