"""The answers to `GET [base]/metadata`, kept as they went out: clients ask for them before anything else.

https://hl7.org/fhir/R4/http.html#capabilities. What the statement says depends on the base, the form and
the version that the client has, so the headers that tell these are the key; a request with anything more
goes the way of every other.
"""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fhirserver.http.base import PATH
from fhirserver.http.middleware import INTERACTION_KEY, TYPE_KEY
from fhirserver.interactions.call import Services

ANSWERS_MAX: Final = 32
"""Each distinct Host header makes answers of its own, of up to a megabyte."""

_PATH: Final = f"{PATH}/metadata"
_KEYED: Final = frozenset({b"host", b"accept", b"accept-encoding", b"if-none-match"})
_OTHER: Final = frozenset(
    {b"authorization", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-prefix", b"origin"}
)
"""Headers that may change the answer and are rare."""

Key = tuple[str, tuple[tuple[bytes, bytes], ...]]


class Remembered:
    """Around the pipeline: gives again what it gave for the same request; forgets when definitions change."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services
        self._known = services.definitions.known
        self._answers: dict[Key, list[Message]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = _key(scope) if scope["path"] == _PATH else None
        if key is None:
            await self._app(scope, receive, send)
            return
        if self._known is not self._services.definitions.known:
            self._known = self._services.definitions.known
            self._answers.clear()
        messages = self._answers.get(key)
        if messages is None:
            messages = await self._asked(key, scope, receive)
        else:
            state = scope.setdefault("state", {})
            state[TYPE_KEY], state[INTERACTION_KEY] = "", "capabilities"
        for message in messages:
            await send(message)

    async def _asked(self, key: Key, scope: Scope, receive: Receive) -> list[Message]:
        """What the pipeline answers; a success is kept."""
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self._app(scope, receive, keep)
        if messages and messages[0]["status"] in (200, 304):
            while len(self._answers) >= ANSWERS_MAX:
                del self._answers[next(iter(self._answers))]
            self._answers[key] = messages
        return messages


def _key(scope: Scope) -> Key | None:
    """What the answer depends on; None for a request that asks for more than the usual."""
    if scope["method"] != "GET" or scope["query_string"]:
        return None
    keyed: list[tuple[bytes, bytes]] = []
    for pair in scope["headers"]:
        if pair[0] in _KEYED:
            keyed.append(pair)
        elif pair[0] in _OTHER:
            return None
    return scope["scheme"], tuple(keyed)
