"""The yardstick for requests: the smallest Starlette application."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route


async def hello(request: Request) -> PlainTextResponse:
    """Answers at once."""
    return PlainTextResponse("Hello, world!")


app = Starlette(routes=[Route("/", hello)])
