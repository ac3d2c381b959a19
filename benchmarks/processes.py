"""Starts and stops what is measured, and reads how much processor and memory each part used."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Member:
    """A process: the part it belongs to, processor seconds so far, and memory.

    Memory is in bytes, pages that are shared counted in proportion.
    """

    part: str
    cpu_s: float
    memory_bytes: int


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextmanager
def running(arguments: list[str], port: int, path: str, log: Path) -> Iterator[psutil.Process]:
    """A server process for the time of the block, from its first 200 at `path` to its end.

    Raises RuntimeError with the end of its log when it does not come up.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _await(process, port, path, log)
        yield psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _await(process: subprocess.Popen[bytes], port: int, path: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            connection = HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except (OSError, HTTPException):
            pass
        time.sleep(0.1)
    said = log.read_text(errors="replace")[-3000:]
    raise RuntimeError(f"{path} did not answer on port {port}:\n{said}")


def members(process: psutil.Process) -> dict[int, Member]:
    """The process and its descendants by process id, as parts `server` and `postgres`."""
    found: dict[int, Member] = {}
    for member in (process, *process.children(recursive=True)):
        try:
            part = "postgres" if "postgres" in member.name().lower() else "server"
            times = member.cpu_times()
            found[member.pid] = Member(part, times.user + times.system, _memory(member))
        except psutil.Error:
            continue  # a database connection that has just ended
    return found


def cpu_between(before: dict[int, Member], after: dict[int, Member]) -> dict[str, float]:
    """Processor seconds used by each part between two looks.

    Process by process, as the sum would go down when one ends (an autovacuum, a connection); what such
    a one used since the first look is lost.
    """
    used = {member.part: 0.0 for member in after.values()}
    for pid, member in after.items():
        used[member.part] += member.cpu_s - (before[pid].cpu_s if pid in before else 0.0)
    return used


def memory(found: dict[int, Member]) -> dict[str, int]:
    """Bytes held by each part."""
    held: dict[str, int] = {}
    for member in found.values():
        held[member.part] = held.get(member.part, 0) + member.memory_bytes
    return held


def workers(process: psutil.Process) -> list[int]:
    """Resident bytes of each process of the server, shared pages included."""
    found = [process, *process.children(recursive=True)]
    return [one.memory_info().rss for one in found if "postgres" not in one.name().lower()]


def _memory(process: psutil.Process) -> int:
    try:
        full = process.memory_full_info()
    except psutil.AccessDenied:
        return process.memory_info().rss
    return getattr(full, "pss", 0) or full.uss
