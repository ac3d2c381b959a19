"""Kept answers to GET /metadata: never another answer than the pipeline's own."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from fhirserver.http.remembered import ANSWERS_MAX, Remembered

Headers = list[tuple[bytes, bytes]]


class Inner:
    """A pipeline whose answer says all that it was asked."""

    def __init__(self) -> None:
        self.calls = 0
        self.status = 200

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        scope.setdefault("state", {}).update(fhir_type="", fhir_interaction="capabilities")
        asked = [scope[name] for name in ("method", "scheme", "path", "query_string", "headers")]
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": repr(asked).encode()})


async def nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def ask(app: Any, headers: Headers, **more: Any) -> tuple[list[Message], dict[str, Any]]:
    scope = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": "/fhir/metadata",
        "query_string": b"",
        "headers": headers,
        "state": {},
        **more,
    }
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, nothing, send)
    return sent, scope["state"]


def remembered() -> tuple[Remembered, Inner]:
    inner = Inner()
    services: Any = SimpleNamespace(definitions=SimpleNamespace(known=object()))
    return Remembered(inner, services), inner


REQUESTS = st.fixed_dictionaries(
    {
        "headers": st.lists(
            st.tuples(
                st.sampled_from(
                    (
                        b"host accept accept-encoding if-none-match authorization origin x-forwarded-host"
                    ).split()
                ),
                st.sampled_from([b"a", b"b"]),
            ),
            max_size=3,
        ),
        "method": st.sampled_from(["GET", "HEAD"]),
        "scheme": st.sampled_from(["http", "https"]),
        "query_string": st.sampled_from([b"", b"mode=normative"]),
        "path": st.sampled_from(["/fhir/metadata", "/fhir/Patient"]),
    }
)


@given(st.lists(REQUESTS, max_size=30))
async def test_no_request_gets_the_answer_of_another(requests: list[dict[str, Any]]) -> None:
    app, _ = remembered()
    for request in requests:
        assert await ask(app, **request) == await ask(Inner(), **request)


async def test_the_pipeline_is_asked_once() -> None:
    app, inner = remembered()
    for _ in range(3):
        await ask(app, [(b"host", b"a"), (b"user-agent", str(_).encode())])
    assert inner.calls == 1


@pytest.mark.parametrize("status", [400, 406, 500, 503])
async def test_failures_are_not_kept(status: int) -> None:
    app, inner = remembered()
    inner.status = status
    await ask(app, [])
    inner.status = 200
    assert (await ask(app, []))[0][0]["status"] == 200


async def test_no_client_can_fill_the_memory() -> None:
    app, inner = remembered()
    for number in range(3 * ANSWERS_MAX):
        await ask(app, [(b"host", str(number).encode())])
    assert len(app._answers) == ANSWERS_MAX
    calls = inner.calls
    await ask(app, [(b"host", str(3 * ANSWERS_MAX - 1).encode())])
    assert inner.calls == calls


async def test_other_definitions_make_another_statement() -> None:
    inner = Inner()
    services: Any = SimpleNamespace(definitions=SimpleNamespace(known=object()))
    app = Remembered(inner, services)
    await ask(app, [])
    services.definitions.known = object()
    await ask(app, [])
    assert inner.calls == 2
