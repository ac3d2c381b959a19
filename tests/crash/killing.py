"""A server with its own PostgreSQL, and ways to end either without warning."""

import random
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil

from fhirserver.db.embedded import attach
from fhirserver.db.postmaster import Postmaster
from tests.support.server import Process, process


class Victim:
    """`fhirserver serve` on a data folder, durability as it is by default; `start` after each end of it.
    `settings` are variables of its environment."""

    def __init__(self, data_dir: Path, settings: dict[str, str] | None = None) -> None:
        self._data_dir = data_dir
        self._settings = {"FHIRSERVER_LOG_LEVEL": "error", **(settings or {})}
        self._stack = ExitStack()
        self._server: Process | None = None

    def __enter__(self) -> "Victim":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def running(self) -> bool:
        return self._server is not None and self._server.popen.poll() is None

    @property
    def url(self) -> str:
        assert self._server is not None
        return self._server.url

    @property
    def said(self) -> str:
        """The last lines that the server wrote, for a failing test to show."""
        assert self._server is not None
        return "".join(self._server.lines[-20:])

    @property
    def dsn(self) -> str:
        """The database while the server runs."""
        dsn = attach(self._data_dir)
        assert dsn is not None
        return dsn

    def start(self) -> None:
        """Start the server and wait until it is ready."""
        self._stack.close()
        context = process("--data-dir", str(self._data_dir), environment=self._settings)
        self._server = self._stack.enter_context(context)

    def kill_server(self) -> None:
        """kill -9 of the server alone: PostgreSQL goes on, also with what it was just told to do."""
        assert self._server is not None
        self._server.kill()

    def postmaster(self) -> psutil.Process:
        running = Postmaster.read((self._data_dir / "postgres").resolve())
        assert running is not None
        return psutil.Process(running.pid)

    def kill_postgres(self) -> None:
        """kill -9 of the postmaster and all its processes."""
        postmaster = self.postmaster()
        for victim in [postmaster, *postmaster.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                victim.kill()

    def kill_backend(self) -> None:
        """kill -9 of one connection's process; PostgreSQL then ends all of them and recovers."""
        backends = []
        for child in self.postmaster().children():
            with suppress(psutil.Error):
                if "[local]" in " ".join(child.cmdline()):
                    backends.append(child)
        with suppress(psutil.NoSuchProcess):
            random.choice(backends).kill()

    def kill_both(self) -> None:
        """The machine's death as the processes see it, in either order."""
        for kill in random.sample([self.kill_server, self.kill_postgres], 2):
            kill()
