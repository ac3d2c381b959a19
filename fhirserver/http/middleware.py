"""What every request passes on its way to the app: identity, measurement, CORS, limits and compression.

Plain ASGI, for each layer of `BaseHTTPMiddleware` would cost more than a read takes.
"""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from time import perf_counter
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from fhirserver.errors import FhirError, Forbidden
from fhirserver.fhir.structure import RESOURCE_TYPES
from fhirserver.http.base import local
from fhirserver.http.bodies import ErrorResponse, RequestBodies, ResponseGzip
from fhirserver.http.throttle import Throttle
from fhirserver.interactions.failures import Unexpected
from fhirserver.observe import log, metrics
from fhirserver.policy.rates import UNLIMITED, Rates
from fhirserver.settings import Network

TYPE_KEY: Final = "fhir_type"
INTERACTION_KEY: Final = "fhir_interaction"
REQUEST_ID_KEY: Final = "request_id"
"""Keys of scope["state"]: the app sets the first two, this module the third."""

SEGMENTS_MAX: Final = 8
_GONE: Final = 499
"""Counted as the status when the client went away before there was one."""
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_CORRELATION_ID = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]{0,254}[\x21-\x7e])?")
_OPERATION = re.compile(r"\$[a-z][a-z-]{0,39}")
_WORDS: Final = frozenset(
    (
        *("fhir", "t", "metadata", "_history", "_search", ".well-known", "smart-configuration"),
        *("openid-configuration", "auth", "authorize", "token", "register", "introspect", "revoke", "jwks"),
        *("consent", "patient", "style"),
        *("sign-in", "sign-out", "code", "choose", "forgot", "reset", "totp", "account", "password", "join"),
        *(
            "find",
            "assets",
            "apps",
            "launch",
            "livez",
            "readyz",
            "metrics",
            "docs",
            "ui",
            "static",
            "openapi.json",
        ),
    )
)
_EXPOSED: Final = (
    *("ETag", "Location", "Content-Location", "Last-Modified", "Retry-After", "Allow", "Warning"),
    *("X-Request-ID", "X-Correlation-ID", "X-Process-Time", "X-Security-Context"),
)
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_HEADERS: Final = (
    "Accept",
    "Authorization",
    "Content-Encoding",
    "Content-Type",
    "If-Match",
    "If-Modified-Since",
    "If-None-Exist",
    "If-None-Match",
    "Prefer",
    "X-Correlation-ID",
    "X-Purpose-Of-Use",
    "X-Request-ID",
    "X-Security-Context",
)

OriginAllowed = Callable[[str], Awaitable[bool]]
"""Whether an origin beside those of the settings may call; the authorization server knows its clients'."""

_logger = log.get("http")


@dataclass(frozen=True, slots=True)
class Options:
    """What the settings say about the layers here."""

    body_bytes_max: int = 50 * 1024 * 1024
    process_time: bool = False
    cors_origins: tuple[str, ...] = ()
    rates: Rates = UNLIMITED
    trusted_proxies: tuple[Network, ...] = ()
    origin_allowed: OriginAllowed | None = None
    gzip_bytes_min: int = 1024
    access_log: bool = True


def wrap(app: ASGIApp, options: Options, error_response: ErrorResponse) -> ASGIApp:
    """The app with all layers around it; `error_response` renders what they refuse."""
    inner: ASGIApp = RequestBodies(app, options.body_bytes_max, error_response)
    inner = ResponseGzip(inner, options.gzip_bytes_min)
    inner = Throttle(inner, options.rates, options.trusted_proxies, error_response)
    inner = Cors(inner, options.cors_origins, error_response, options.origin_allowed)
    return Observed(inner, options, error_response)


class Observed:
    """Gives each request an id, and leaves one line in the log and its mark in the metrics."""

    def __init__(self, app: ASGIApp, options: Options, error_response: ErrorResponse) -> None:
        self.app = app
        self.process_time = options.process_time
        self.access_log = options.access_log
        self.error_response = error_response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = perf_counter()
        request_id, correlation_id = identify(scope)
        state: dict[str, Any] = scope.setdefault("state", {})
        state[REQUEST_ID_KEY] = request_id
        bind_contextvars(request_id=request_id)
        sender = _Sender(send, request_id, correlation_id, begun if self.process_time else None)
        try:
            await self.app(scope, receive, sender)
        except Exception as error:
            await self._broken(error, scope, receive, sender)
        finally:
            self._done(scope, state, request_id, sender.status or _GONE, perf_counter() - begun)

    async def _broken(self, error: Exception, scope: Scope, receive: Receive, sender: _Sender) -> None:
        """Answer what the app did not handle; of what it was, only the log is told."""
        if not isinstance(error, FhirError):
            _logger.error("unhandled", exc_info=error)
            error = Unexpected("Something went wrong here; the log has it under this X-Request-ID")
        if sender.status:
            sender.status = 500
            raise error
        await self.error_response(error, scope)(scope, receive, sender)

    def _done(
        self, scope: Scope, state: dict[str, Any], request_id: str, status: int, duration_s: float
    ) -> None:
        fhir_type: str = state.get(TYPE_KEY) or ""
        interaction: str = state.get(INTERACTION_KEY) or ""
        metrics.request_done(scope["method"], status, duration_s, fhir_type, interaction)
        if self.access_log:
            log.request_done(
                request_id=request_id,
                method=scope["method"] if scope["method"] in _METHODS else "OTHER",
                route=f"/{fhir_type}" if interaction else route_shape(scope["path"]),
                type=fhir_type,
                interaction=interaction,
                status=status,
                duration_ms=round(duration_s * 1000, 3),
            )


class _Sender:
    """An ASGI `send` that adds the headers of `Observed` and remembers the status (0 until there is one)."""

    __slots__ = ("_begun", "_correlation_id", "_request_id", "_send", "status")

    def __init__(
        self, send: Send, request_id: str, correlation_id: bytes | None, begun: float | None
    ) -> None:
        self._send = send
        self._request_id = request_id.encode()
        self._correlation_id = correlation_id
        self._begun = begun
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), (b"x-request-id", self._request_id)]
            if self._correlation_id is not None:
                headers.append((b"x-correlation-id", self._correlation_id))
            if self._begun is not None:
                passed_ms = (perf_counter() - self._begun) * 1000
                headers.append((b"x-process-time", f"{passed_ms:.2f}".encode()))
            message = {**message, "headers": headers}
        await self._send(message)


def identify(scope: Scope) -> tuple[str, bytes | None]:
    """The id of the request, and what the client calls it where that is something else, to be given back.

    The id is the client's X-Request-ID if that is 1 to 64 characters of [A-Za-z0-9._-], else a new one.
    https://hl7.org/fhir/R4/http.html#custom
    """
    sent = called = None
    for key, value in scope["headers"]:
        if key == b"x-request-id":
            sent = value
        elif key == b"x-correlation-id":
            called = value
    adopted = sent is not None and _REQUEST_ID.fullmatch(sent)
    called = called or (None if adopted else sent)
    known = called if called is not None and _CORRELATION_ID.fullmatch(called) else None
    return sent.decode() if sent is not None and adopted else f"{random.getrandbits(64):016x}", known


def route_shape(path: str) -> str:
    """The path with everything that could name a person replaced: `/fhir/Patient/{}`.

    Ids, values and unknown words become `{}`; resource types, operations and the words of the API stay.
    """
    return "/".join(
        part if part in _WORDS or part in RESOURCE_TYPES or not part or _OPERATION.fullmatch(part) else "{}"
        for part in path.split("/", SEGMENTS_MAX + 1)[: SEGMENTS_MAX + 1]
    )


class Cors:
    """Lets browser apps of the allowed origins call the API; metadata is open to all origins.

    Discovery must work before an app is known: https://hl7.org/fhir/smart-app-launch/conformance.html
    """

    def __init__(
        self,
        app: ASGIApp,
        origins: tuple[str, ...],
        error_response: ErrorResponse,
        origin_allowed: OriginAllowed | None = None,
    ) -> None:
        self.app = app
        self._everyone = _Layer(app, ("*",), error_response)
        self._allowed = _Layer(app, origins, error_response) if origins else app
        self._origins = frozenset(origins)
        self._origin_allowed = origin_allowed
        self._of_one = lru_cache(maxsize=256)(lambda origin: _Layer(app, (origin,), error_response))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            for key, value in scope["headers"]:
                if key == b"origin":
                    layer = await self._layer(scope["path"], value.decode("latin-1"))
                    await layer(scope, receive, send)
                    return
        await self.app(scope, receive, send)

    async def _layer(self, path: str, origin: str) -> ASGIApp:
        if is_discovery(path):
            return self._everyone
        if not is_program(path):
            return self.app
        if self._origin_allowed is None or self._origins & {"*", origin}:
            return self._allowed
        return self._of_one(origin) if await self._origin_allowed(origin) else self._allowed


class _Layer(CORSMiddleware):
    """CORS for some origins, whose refusals are outcomes like all others."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...], error_response: ErrorResponse) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=_METHODS,
            allow_headers=_HEADERS,
            expose_headers=_EXPOSED,
        )
        self._error_response = error_response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            response: ASGIApp = self.preflight_response(headers)
            if response.status_code >= 400:
                error = Forbidden("this origin may not send such a request from a browser")
                response = self._error_response(error, scope)
            await response(scope, receive, send)
        else:
            await self.simple_response(scope, receive, send, headers)


def is_discovery(path: str) -> bool:
    """Whether the path is one that clients read before they know anything else."""
    return path.endswith("/metadata") or "/.well-known/" in path or local(path) in _PUBLIC


def is_program(path: str) -> bool:
    """Whether programs call the path: the pages on which people sign in are nobody else's to read."""
    path = local(path)
    return not path.startswith("/auth/") or path.startswith(_PROGRAMS)


_PUBLIC: Final = frozenset({"/auth/jwks", "/auth/style"})
_PROGRAMS: Final = ("/auth/token", "/auth/introspect", "/auth/revoke", "/auth/register", "/auth/launch")
