"""What a server process runs: the application, and a watch on the process that started it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from multiprocessing import connection, parent_process
from typing import TYPE_CHECKING

from uvicorn.config import STARTUP_FAILURE

if TYPE_CHECKING:
    from starlette.types import ASGIApp


def create() -> ASGIApp:
    """The application with the settings of the environment; uvicorn calls this in each worker."""
    _end_with_parent()
    try:
        from fhirserver.app import create_app

        return create_app()
    except Exception:  # whatever it is, another worker would fail alike: the code ends the parent's attempts
        traceback.print_exc()
        sys.exit(STARTUP_FAILURE)


def _end_with_parent() -> None:
    """End when the parent is killed, or the port would stay taken and the database in use."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()
