"""Who runs PostgreSQL in a data folder: its pid file, read with distrust."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from fhirserver.db.cluster import EmbeddedError

SOCKET = ".s.PGSQL.5432"


@dataclass(frozen=True, slots=True)
class Postmaster:
    """What `postmaster.pid` says: https://www.postgresql.org/docs/18/storage-file-layout.html."""

    pid: int
    socket_dir: Path
    ready: bool

    @classmethod
    def read(cls, pgdata: Path) -> Postmaster | None:
        """The postmaster that claims `pgdata`, alive or not; None without a complete file."""
        try:
            lines = (pgdata / "postmaster.pid").read_text().splitlines()
            return cls(int(lines[0]), Path(lines[4]), len(lines) > 7 and lines[7].strip() == "ready")
        except (OSError, ValueError, IndexError):
            return None

    def alive(self, pgdata: Path) -> bool:
        """Whether that process runs and works in `pgdata`; its number may be another program's by now."""
        return self.pid in _working_in(pgdata, (self.pid,))


def _working_in(pgdata: Path, pids: tuple[int, ...] | None = None) -> set[int]:
    """Processes, of `pids` or of all, whose working directory is `pgdata`, as that of every backend is."""
    import psutil

    found: set[int] = set()
    for pid in psutil.pids() if pids is None else pids:
        try:
            process = psutil.Process(pid)
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == pgdata:
                found.add(pid)
        except (psutil.Error, OSError):
            continue
    return found


def drop_stale(pgdata: Path, running: Postmaster, timeout_s: float) -> None:
    """Remove the lock files of a dead postmaster whose number another program, or a zombie, has now.

    PostgreSQL would take that process for its predecessor. Its backends must be gone first, since the file is
    also what keeps a second postmaster off their shared memory. Raises EmbeddedError after `timeout_s`.
    """
    try:
        os.kill(running.pid, 0)
    except ProcessLookupError:
        return  # PostgreSQL sees that by itself
    except PermissionError:
        pass
    deadline = time.monotonic() + timeout_s
    while left := _working_in(pgdata):
        if time.monotonic() > deadline:
            raise EmbeddedError(f"processes of a former PostgreSQL still run in {pgdata}: {sorted(left)}")
        time.sleep(0.1)
    (running.socket_dir / f"{SOCKET}.lock").unlink(missing_ok=True)
    (pgdata / "postmaster.pid").unlink(missing_ok=True)
