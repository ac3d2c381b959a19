"""Work for a client that may leave: when it does, what was done for it ends.

A query that nobody waits for any more would hold a connection, and a transaction its locks.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import Receive

PATIENCE_S: Final = 0.5
"""Work that takes less is not watched: nearly every request then costs a timer and no task."""


class Attended:
    """`async with Attended(receive)`: raises ClientDisconnect out of the block when the client has gone.

    The body of the request must have been read.
    """

    __slots__ = ("_gone", "_receive", "_task", "_timer", "_watcher")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._watcher: asyncio.Task[None] | None = None
        self._gone = False

    async def __aenter__(self) -> None:
        self._task = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(PATIENCE_S, self._begin)

    def _begin(self) -> None:
        self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        assert self._task is not None
        self._task.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if not self._gone or self._task is None:
            return
        if kind is None:
            # The block ended just before the cancellation, which must not hit what comes after.
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                kind = asyncio.CancelledError
        if kind is asyncio.CancelledError and self._task.uncancel() == 0:
            raise ClientDisconnect from error
