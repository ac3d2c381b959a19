"""Databases for tests: one server for the run, one template with the schema, a copy of it for each module.

The server is FHIRSERVER_TEST_DATABASE_URL (a role that may create databases and roles) or an embedded one in
a temporary folder, started by the first test that asks and shared by all xdist workers. The folder is in
memory where there is room: a copy is two thousand files, which take ten times as long on a disk.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psutil
import psycopg

from fhirserver.db import migrate
from fhirserver.db.embedded import Embedded, EmbeddedError, attach

EXTERNAL = "FHIRSERVER_TEST_DATABASE_URL"
FOLDER = "FHIRSERVER_TEST_DATA_DIR"
TEMPLATE = "fhirserver_test_template"
_MEMORY = Path("/dev/shm")
_ROOM = 6 * 1024**3
_LOCK = int.from_bytes(b"fhirtest", "big")
# The run is thrown away with the machine's next crash; what durability promises has tests of its own.
_FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "256MB",
    "max_connections": "200",
    "max_wal_size": "1GB",
}


def prepare() -> None:
    """Name the folder of the run; called once, in the process that starts the workers."""
    if EXTERNAL in os.environ or FOLDER in os.environ:
        return
    parents = [parent for parent in (_MEMORY, Path(tempfile.gettempdir())) if os.access(parent, os.W_OK)]
    for folder in (one for parent in parents for one in parent.glob("fhirserver-test-*[0-9]")):
        with suppress(ValueError):
            if not psutil.pid_exists(int(folder.name.rpartition("-")[2])):
                remove(folder)  # of a run that was killed
    parent = next((one for one in parents if shutil.disk_usage(one).free > _ROOM), parents[-1])
    os.environ[FOLDER] = str(parent / f"fhirserver-test-{os.getpid()}")


def clean() -> None:
    """Stop the server of the run and remove its data; called once, after all workers have ended."""
    if (folder := os.environ.pop(FOLDER, None)) is not None:
        remove(Path(folder))


def remove(folder: Path) -> None:
    """Stop whatever PostgreSQL still runs in a data folder and delete it."""
    if (folder / "postgres" / "postmaster.pid").exists():
        with suppress(EmbeddedError):
            Embedded.start(folder).stop()
    cluster = (folder / "postgres").resolve()
    shutil.rmtree(cluster, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    Path(f"{folder}.lock").unlink(missing_ok=True)


@contextmanager
def data_folder() -> Iterator[Path]:
    """The name of a data folder that is not there yet; its cluster is stopped and removed at the end.

    PostgreSQL's own account can reach it, which is not so with pytest's folders when root runs the tests.
    """
    parent = Path(tempfile.mkdtemp(prefix="fhirserver-data-"))
    parent.chmod(0o711)
    try:
        yield parent / "data"
    finally:
        remove(parent / "data")
        shutil.rmtree(parent, ignore_errors=True)


_started: list[Embedded] = []  # kept alive until this worker ends; the run's first process stops the server


def admin() -> str:
    """The URL of a role that may create databases."""
    if external := os.environ.get(EXTERNAL):
        return external
    folder = Path(os.environ[FOLDER])
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        dsn = attach(folder)
        if dsn is None:
            _started.append(Embedded.start(folder, _FAST))
            dsn = _started[-1].dsn
    return dsn.replace("//fhir@/fhir?", "//postgres@/postgres?")


def owner(dsn: str) -> str:
    """The same database as the role a server works with: not the superuser where the server is ours."""
    return dsn if EXTERNAL in os.environ else dsn.replace("//postgres@", "//fhir@")


def named(dsn: str, database: str) -> str:
    """The URL of another database on the same server."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{database}"))


@contextmanager
def template(dsn: str) -> Iterator[str]:
    """The name of a database with the current schema, not changed by anybody while the context is open."""
    text = "".join(migrate.statements(revision) for revision in migrate.revisions())
    mark = hashlib.sha256(text.encode()).hexdigest()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        row = connection.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", (TEMPLATE,)
        ).fetchone()
        if row is None or row[0] != mark:
            connection.execute(f"DROP DATABASE IF EXISTS {TEMPLATE} WITH (FORCE)")
            _create(connection, TEMPLATE, "template0")
            migrate.migrate(owner(named(dsn, TEMPLATE)))
            connection.execute(f"COMMENT ON DATABASE {TEMPLATE} IS '{mark}'")
        yield TEMPLATE


def _create(connection: psycopg.Connection, name: str, source: str) -> None:
    owned = "" if EXTERNAL in os.environ else "OWNER fhir"
    connection.execute(f"CREATE DATABASE {name} {owned} TEMPLATE {source} ENCODING 'UTF8'")


@contextmanager
def database(*, empty: bool = False) -> Iterator[str]:
    """The URL of a database of one's own, with the schema unless `empty`; dropped at the end."""
    dsn = admin()
    name = f"test_{uuid4().hex}"
    if empty:
        with psycopg.connect(dsn, autocommit=True) as connection:
            _create(connection, name, "template0")
    else:
        with template(dsn) as source, psycopg.connect(dsn, autocommit=True) as connection:
            _create(connection, name, source)
    try:
        yield owner(named(dsn, name))
    finally:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
