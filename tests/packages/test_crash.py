"""kill -9 while a package is being installed or removed: all of it is here, or nothing."""

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packages.support import figures, rows

COUNTED = (
    "SELECT (SELECT count(*) FROM resource WHERE died IS NULL), (SELECT count(*) FROM package_resource),"
    " (SELECT count(*) FROM package)"
)
ROUNDS = 6


def started(dsn: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "fhirserver", "package", *map(str, arguments)],
        env=os.environ | {"DATABASE_URL": dsn},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


async def writing(dsn: str) -> bool:
    """Whether an installation holds the lock of those who install."""
    found = await rows(dsn, "SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = 1179144263")
    return bool(found)


async def over(dsn: str) -> None:
    """Until the server has noticed that whoever was killed is gone."""
    for _ in range(600):
        if not await writing(dsn):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the transaction of a killed command goes on")


async def killed_within(dsn: str, pause_s: float, *arguments: object) -> bool:
    """Whether the command was killed, `pause_s` after it had begun to write."""
    command = started(dsn, *arguments)
    for _ in range(10_000):
        if command.poll() is not None or await writing(dsn):
            break
        await asyncio.sleep(0.005)
    await asyncio.sleep(pause_s)
    is_killed = command.poll() is None
    command.kill()
    command.wait()
    await over(dsn)
    return is_killed


@pytest.mark.slow
async def test_all_or_nothing(fresh: str, guides: Path) -> None:
    install = ("install", guides / "us_core_311.tgz", "--offline", "--no-progress")
    before = await figures(fresh)
    killed = 0
    for _ in range(ROUNDS):
        killed += await killed_within(fresh, random.uniform(0, 0.6), *install)
        if await whole(fresh):
            break
        assert (await figures(fresh))[:6] == before[:6], "something of a package that is not installed"
    assert killed, "the command was never killed in time"
    assert started(fresh, *install).wait(120) == 0
    assert await whole(fresh)
    for _ in range(ROUNDS):
        await killed_within(fresh, random.uniform(0, 0.1), "remove", "hl7.fhir.us.core")
        if not await whole(fresh):
            break
    started(fresh, "remove", "hl7.fhir.us.core").wait(120)
    assert await rows(fresh, COUNTED) == [(0, 0, 0)]


async def whole(dsn: str) -> bool:
    """Whether all of the package is here; fails where a part is."""
    (found,) = await rows(dsn, COUNTED)
    assert found in ((0, 0, 0), (146, 146, 1)), found
    return found[0] > 0
