"""PostgreSQL without an installation: one cluster in the data folder, started and stopped with the server.

It listens on a Unix socket in a folder that only its account may enter, never on TCP, which is why nobody
has to give a password. The process is the sole owner of its data folder (a file lock, so that it falls with
the process). A server that was killed leaves PostgreSQL running: the next start takes it over. If both were
killed, PostgreSQL recovers from its log.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from fhirserver.db import cluster
from fhirserver.db.cluster import DATABASE, Account, EmbeddedError
from fhirserver.db.postmaster import SOCKET, Postmaster, drop_stale
from fhirserver.settings import Settings

START_TIMEOUT_S = 600.0  # recovery of max_wal_size after a crash on a slow disk
STOP_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 5.0
_TLS_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
LEFTOVER_TIMEOUT_S = 10.0  # backends of a killed postmaster need a moment to notice
SOCKET_BYTES_MAX = 103  # sun_path holds 108 bytes on Linux, 104 on macOS, with the final zero
LOG_BYTES_MAX = 10 * 1024**2


class Embedded:
    """A running PostgreSQL that this process owns; `start` makes one, `stop` ends it."""

    def __init__(self, data_dir: Path, lock: IO[str], options: Mapping[str, str]) -> None:
        self._data_dir = data_dir
        self._lock = lock
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None  # None when it was started by a former server
        self._pgdata, self._socket_dir = self._open()

    @classmethod
    def start(cls, data_dir: Path, options: Mapping[str, str] | None = None) -> Embedded:
        """Start the cluster in `data_dir`, making it first if there is none, and wait until it answers.

        `options` are PostgreSQL settings for this run. Raises EmbeddedError, also when another process owns
        the folder.
        """
        data_dir = _folder(data_dir)
        lock = _own(data_dir)
        try:
            return cls(data_dir, lock, options or {})
        except BaseException:
            lock.close()
            raise

    def _open(self) -> tuple[Path, Path]:
        """Find PostgreSQL running or start it; the folders of the cluster and of its socket."""
        pgdata = (self._data_dir / "postgres").resolve()
        who = cluster.account(pgdata)
        if not (pgdata / "PG_VERSION").exists():
            pgdata = cluster.create(self._data_dir, who, self._options)
        running = Postmaster.read(pgdata)
        if running is not None and _await_ready(pgdata, None) and _answers(running.socket_dir):
            return pgdata, running.socket_dir
        if running is not None:
            drop_stale(pgdata, running, LEFTOVER_TIMEOUT_S)
        socket_dir = _socket_dir(pgdata, who)
        self._process = _launch(self._data_dir, pgdata, socket_dir, who, self._options)
        return pgdata, socket_dir

    def revive(self) -> bool:
        """Start PostgreSQL again if it has ended; whether that was so. Raises EmbeddedError."""
        if self.pid is not None:
            return False
        self._process = None
        self._open()
        return True

    @property
    def dsn(self) -> str:
        """URL of the database `fhir`, for asyncpg and psycopg alike."""
        return _dsn(self._socket_dir)

    @property
    def pid(self) -> int | None:
        """Process id of the postmaster, or None when it is gone."""
        if self._process is not None:
            return self._process.pid if self._process.poll() is None else None
        running = Postmaster.read(self._pgdata)
        return running.pid if running is not None and running.alive(self._pgdata) else None

    def stop(self) -> None:
        """Stop PostgreSQL, breaking off open connections, and give up the data folder. Safe to call twice."""
        if self._lock.closed:
            return
        try:
            if not self._end(signal.SIGINT, STOP_TIMEOUT_S):  # "fast": roll back, checkpoint, exit
                self._end(signal.SIGQUIT, STOP_TIMEOUT_S)  # "immediate": the next start recovers
        finally:
            self._lock.close()

    def _end(self, how: signal.Signals, timeout_s: float) -> bool:
        pid = self.pid
        if pid is None:
            return True
        os.kill(pid, how)
        deadline = time.monotonic() + timeout_s
        while self.pid is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def __enter__(self) -> Embedded:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextmanager
def database(settings: Settings) -> Iterator[str]:
    """The URL of the database for one command: DATABASE_URL, the one a running server started, or our own."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    dsn = attach(settings.data_dir)
    if dsn is not None:
        yield dsn
        return
    with Embedded.start(settings.data_dir) as server:
        yield server.dsn


def attach(data_dir: Path) -> str | None:
    """The URL of the cluster that another process runs in `data_dir`; None when none does."""
    pgdata = (data_dir.expanduser() / "postgres").resolve()
    running = Postmaster.read(pgdata)
    if running is None or not running.ready or not _owned(data_dir):
        return None
    return _dsn(running.socket_dir) if running.alive(pgdata) else None


def _dsn(socket_dir: Path) -> str:
    return f"postgresql://{DATABASE}@/{DATABASE}?host={quote(str(socket_dir), safe='/')}"


def _folder(data_dir: Path) -> Path:
    """Make the data folder; PostgreSQL's account passes through it to the cluster, others find it closed."""
    data_dir = data_dir.expanduser().resolve()
    try:
        if not data_dir.exists():
            data_dir.mkdir(parents=True)
            data_dir.chmod(0o711 if os.geteuid() == 0 else 0o700)
    except OSError as error:
        raise EmbeddedError(f"cannot make the data folder {data_dir}: {error.strerror}") from error
    return data_dir


def _own(data_dir: Path) -> IO[str]:
    """Take the lock on `data_dir`, held until the file is closed. Raises EmbeddedError when it is taken."""
    try:
        lock = (data_dir / "lock").open("a+")
    except OSError as error:
        owner = cluster.user_name(data_dir.stat().st_uid)
        raise EmbeddedError(
            f"cannot write in the data folder {data_dir} ({error.strerror}), which belongs to {owner}: "
            "start the server as that user, or choose another folder with --data-dir."
        ) from error
    _owned_like(lock, data_dir)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        owner = lock.read().strip()
        lock.close()
        raise EmbeddedError(
            f"another server{f' (process {owner})' if owner else ''} is using {data_dir}. "
            "Stop it, or give this one a folder and a port of its own with --data-dir and --port."
        ) from error
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def _owned_like(file: IO[Any], folder: Path) -> None:
    """Leave a file that root makes in somebody's folder to that somebody, who may be the next to start."""
    if os.geteuid() == 0:
        status = folder.stat()
        os.fchown(file.fileno(), status.st_uid, status.st_gid)


def _owned(data_dir: Path) -> bool:
    """Whether some process holds the lock on `data_dir`."""
    try:
        with (data_dir.expanduser() / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _socket_dir(pgdata: Path, who: Account) -> Path:
    """A private folder whose path is short enough for a socket: the cluster's own, or a runtime folder."""
    if len(os.fsencode(pgdata / SOCKET)) <= SOCKET_BYTES_MAX:
        return pgdata
    name = hashlib.sha256(os.fsencode(pgdata)).hexdigest()[:16]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    parents = [Path("/run/fhirserver")] if who.other else []
    parents += [Path(runtime) / "fhirserver"] if runtime and not who.other else []
    parents += [Path(folder) / f"fhirserver-{os.geteuid()}" for folder in (tempfile.gettempdir(), "/tmp")]
    for parent in parents:
        folder = parent / name
        if len(os.fsencode(folder / SOCKET)) > SOCKET_BYTES_MAX:
            continue
        try:
            parent.mkdir(mode=0o711 if who.other else 0o700, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            if who.other and folder.stat().st_uid == 0:
                who.give(folder)
        except OSError:
            continue
        if _private(parent, os.geteuid(), 0o022) and _private(folder, who.uid, 0o077):
            return folder
    raise EmbeddedError(
        f"no private folder with a path short enough for a socket; move the data from {pgdata}"
    )


def _private(folder: Path, uid: int, forbidden: int) -> bool:
    """Whether `folder` is a real folder of `uid` without the `forbidden` permissions."""
    status = folder.lstat()
    return (
        folder.is_dir()
        and not folder.is_symlink()
        and status.st_uid == uid
        and not status.st_mode & forbidden
    )


def _launch(
    data_dir: Path, pgdata: Path, socket_dir: Path, who: Account, options: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start the postmaster and wait until it accepts connections. Raises EmbeddedError with its words."""
    binaries = cluster.programs(who)
    _check_version(pgdata, binaries)
    arguments = [binaries / "postgres", "-D", pgdata, "-p", "5432"]
    for name, value in {
        "listen_addresses": "",
        "unix_socket_directories": f'"{socket_dir}"',
        **options,
    }.items():
        arguments += ["-c", f"{name}={value}"]
    path = data_dir / "postgres.log"
    if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
        path.rename(path.with_suffix(".log.1"))
    deadline = time.monotonic() + LEFTOVER_TIMEOUT_S
    while True:
        with path.open("ab") as log:
            begin = log.tell()
            _owned_like(log, data_dir)
            process = who.start(arguments, pgdata, subprocess.DEVNULL, log)
        if _await_ready(pgdata, process):
            return process
        said = path.read_bytes()[begin:].decode(errors="replace").strip()
        if "pre-existing shared memory block" not in said or time.monotonic() > deadline:
            raise EmbeddedError(f"PostgreSQL did not start ({path}):\n{said[-2000:]}")
        time.sleep(0.2)


def _await_ready(pgdata: Path, process: subprocess.Popen[bytes] | None) -> bool:
    """Wait until the postmaster, `process` or one that ran before, answers; False when it ended."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        running = Postmaster.read(pgdata)
        if process is None:
            ended = running is None or not running.alive(pgdata)
        else:
            ended = process.poll() is not None
        if ended:
            return False
        if running is not None and running.ready and (process is None or running.pid == process.pid):
            return True
        time.sleep(0.01)
    raise EmbeddedError(f"PostgreSQL in {pgdata} was not ready within {START_TIMEOUT_S:.0f} s")


def _answers(socket_dir: Path) -> bool:
    """Whether a postmaster answers on the socket: one that is being killed still accepts, but says nothing.

    The question is whether it speaks TLS, which needs no account:
    https://www.postgresql.org/docs/18/protocol-flow.html#PROTOCOL-FLOW-SSL
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(ANSWER_TIMEOUT_S)
        try:
            client.connect(str(socket_dir / SOCKET))
            client.sendall(_TLS_REQUEST)
            return client.recv(1) in (b"N", b"S")
        except OSError:
            return False


def _check_version(pgdata: Path, binaries: Path) -> None:
    """A cluster can be opened by its own major version only."""
    shipped = subprocess.run(
        [binaries / "postgres", "--version"], capture_output=True, text=True, check=True
    ).stdout
    have, want = (pgdata / "PG_VERSION").read_text().strip(), shipped.split()[2].partition(".")[0]
    if have != want:
        raise EmbeddedError(
            f"{pgdata} was made by PostgreSQL {have}, this is {want}: "
            "dump it with the old version and load it here."
        )
