"""The embedded PostgreSQL: its data survive whatever ends it, and nobody else gets at them."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import psycopg
import pytest

from fhirserver.db import cluster
from fhirserver.db.durability import durability
from fhirserver.db.embedded import Embedded, EmbeddedError, attach
from fhirserver.db.postmaster import Postmaster
from tests.support.postgres import remove

ROOT = Path(__file__).parents[3]
SMALL = {"shared_buffers": "16MB", "max_connections": "20", "max_locks_per_transaction": "64"}
OWNER = """
import sys, time
from pathlib import Path
import psycopg
from fhirserver.db.embedded import Embedded
server = Embedded.start(Path(sys.argv[1]), {"shared_buffers": "16MB"})
with psycopg.connect(server.dsn, autocommit=True) as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS kept (x int)")
    for number in range(100_000):
        connection.execute("INSERT INTO kept VALUES (%s)", (number,))
        print(number, flush=True)
"""


def rows(dsn: str) -> list[int]:
    with psycopg.connect(dsn) as connection:
        return [number for (number,) in connection.execute("SELECT x FROM kept ORDER BY x")]


def setting(dsn: str, name: str) -> str:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    assert row is not None
    return row[0]


def killed_owner(data_dir: Path) -> int:
    """Let another process own the folder and write, kill -9 it, and return the last number it was sure of."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(data_dir)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    acknowledged = [int(owner.stdout.readline()) for _ in range(50)][-1]
    owner.kill()
    rest = owner.stdout.read().split()
    owner.wait()
    owner.stdout.close()
    return int(rest[-1]) if rest else acknowledged


async def test_it_is_private_durable_and_unicode(data_dir: Path) -> None:
    with Embedded.start(data_dir, SMALL) as server:
        assert durability(server.dsn) == ()
        assert setting(server.dsn, "listen_addresses") == ""
        assert setting(server.dsn, "data_checksums") == "on"
        assert setting(server.dsn, "shared_buffers") == "16MB"
        connection = await asyncpg.connect(server.dsn)
        assert await connection.fetchval("SELECT lower('ÅÉ')") == "åé"
        assert (
            await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
        )
        await connection.close()
        for private in (data_dir / "postgres", Path(server.dsn.partition("host=")[2])):
            assert private.stat().st_mode & 0o077 == 0
    assert not (data_dir / "postgres" / "postmaster.pid").exists()


def test_data_survive_a_restart_and_a_kill_of_postgresql(data_dir: Path) -> None:
    with (
        Embedded.start(data_dir, SMALL) as server,
        psycopg.connect(server.dsn, autocommit=True) as connection,
    ):
        connection.execute("CREATE TABLE kept (x int)")
        connection.execute("INSERT INTO kept VALUES (1)")
    with Embedded.start(data_dir, SMALL) as server:
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            connection.execute("INSERT INTO kept VALUES (2)")
            assert server.revive() is False
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
        while server.pid is not None:
            time.sleep(0.01)
        assert server.revive() is True
        assert rows(server.dsn) == [1, 2]


def test_a_killed_server_leaves_its_postgresql_to_the_next(data_dir: Path) -> None:
    last = killed_owner(data_dir)
    orphan = Postmaster.read(data_dir / "postgres")
    with Embedded.start(data_dir) as server:
        assert orphan is not None and server.pid == orphan.pid
        assert rows(server.dsn)[: last + 1] == list(range(last + 1))
    assert server.pid is None


def test_both_killed_nothing_acknowledged_is_lost(data_dir: Path) -> None:
    last = killed_owner(data_dir)
    orphan = Postmaster.read(data_dir / "postgres")
    assert orphan is not None
    os.kill(orphan.pid, signal.SIGKILL)
    with Embedded.start(data_dir, SMALL) as server:
        assert rows(server.dsn)[: last + 1] == list(range(last + 1))


def test_a_process_id_that_another_program_has_now_is_no_obstacle(data_dir: Path) -> None:
    with Embedded.start(data_dir, SMALL) as server:
        kept = (data_dir / "postgres" / "postmaster.pid").read_text().splitlines()
        socket_dir = Path(kept[4])
    who = cluster.account((data_dir / "postgres").resolve())
    other = who.start(
        [shutil.which("sleep") or "sleep", "60"], Path("/"), subprocess.DEVNULL, subprocess.DEVNULL
    )
    try:
        stale = "\n".join([str(other.pid), *kept[1:]]) + "\n"
        for path in (data_dir / "postgres" / "postmaster.pid", socket_dir / ".s.PGSQL.5432.lock"):
            path.write_text(stale)
            if who.other:
                os.chown(path, who.uid, who.gid)
        with Embedded.start(data_dir, SMALL) as server:
            assert server.pid not in (None, other.pid)
    finally:
        other.kill()
        other.wait()


def test_a_data_folder_has_one_owner_and_others_may_attach(data_dir: Path) -> None:
    assert attach(data_dir) is None
    with Embedded.start(data_dir, SMALL) as server:
        with pytest.raises(EmbeddedError, match=rf"another server \(process {os.getpid()}\) is using"):
            Embedded.start(data_dir)
        assert attach(data_dir) == server.dsn
    assert attach(data_dir) is None


def test_a_path_too_long_for_a_socket(data_dir: Path) -> None:
    deep = data_dir / ("long " * 20) / ("y" * 60)
    data_dir.mkdir(mode=0o711)
    deep.mkdir(parents=True)
    with Embedded.start(deep / "data", SMALL) as server:
        assert setting(server.dsn, "data_directory_mode") == "0700"
        socket_dir = Path(server.dsn.partition("host=")[2])
        assert socket_dir.stat().st_mode & 0o077 == 0
        assert len(os.fsencode(socket_dir)) < 90
    remove(deep / "data")
    shutil.rmtree(socket_dir, ignore_errors=True)


def test_an_interrupted_creation_is_begun_again(data_dir: Path) -> None:
    (data_dir / "postgres.new-x" / "base").mkdir(parents=True)
    data_dir.chmod(0o711)
    (data_dir / "postgres.new-x" / "PG_VERSION").write_text("18\n")
    with Embedded.start(data_dir, SMALL) as server:
        assert setting(server.dsn, "server_encoding") == "UTF8"
    assert not list(data_dir.glob("postgres.new*"))


def test_data_of_another_major_version_are_left_alone(data_dir: Path) -> None:
    Embedded.start(data_dir, SMALL).stop()
    (data_dir / "postgres" / "PG_VERSION").write_text("14\n")
    with pytest.raises(EmbeddedError, match="made by PostgreSQL 14, this is 18"):
        Embedded.start(data_dir)


def test_a_refused_start_says_what_postgresql_said(data_dir: Path) -> None:
    with pytest.raises(EmbeddedError, match="no_such_setting"):
        Embedded.start(data_dir, {"no_such_setting": "1"})
    Embedded.start(data_dir, SMALL).stop()  # the lock is free and the cluster whole


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
def test_root_below_a_private_folder_opens_it_to_nobody(data_dir: Path) -> None:
    data_dir.mkdir(mode=0o700)
    private = data_dir / "clone"
    private.mkdir(mode=0o700)
    with Embedded.start(private / "data", SMALL) as server:
        assert setting(server.dsn, "fsync") == "on"
        assert (private / "data" / "postgres").is_symlink()
    assert private.stat().st_mode & 0o777 == data_dir.stat().st_mode & 0o777 == 0o700
    elsewhere = (private / "data" / "postgres").resolve().parent
    with Embedded.start(private / "data", SMALL):
        assert (private / "data" / "postgres").resolve().parent == elsewhere
    shutil.rmtree(elsewhere)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_starts_it_and_root_may_go_on_with_it(data_dir: Path) -> None:
    user = cluster.Account(65534, 65534, other=True)
    parts = (Path(sys.executable).resolve(), Path(psycopg.__file__), ROOT / "fhirserver" / "settings.py")
    if not all(cluster.reachable(path, user) for path in parts):
        pytest.skip("this checkout or its Python is in a folder that other users may not enter")
    script = f"import sys; from pathlib import Path; {START_AND_STOP}"
    data_dir.mkdir()
    user.give(data_dir)
    user.run([sys.executable, "-c", script, data_dir], ROOT)
    assert (data_dir / "postgres").stat().st_uid == user.uid
    with Embedded.start(data_dir, SMALL) as server:
        assert setting(server.dsn, "fsync") == "on"
    assert (data_dir / "postgres").stat().st_uid == user.uid
    user.run([sys.executable, "-c", script, data_dir], ROOT)


START_AND_STOP = "from fhirserver.db.embedded import Embedded; Embedded.start(Path(sys.argv[1])).stop()"


@pytest.mark.parametrize(
    ("memory", "shared_mb"),
    [(2 * 1024**3, 512), (256 * 1024**2, 64), (64 * 1024**3, 4096), (16 * 1024**3, 4096)],
)
def test_memory_is_a_quarter_of_the_machine_s_within_bounds(memory: int, shared_mb: int) -> None:
    assert f"shared_buffers = {shared_mb}MB" in cluster.configuration(memory)
