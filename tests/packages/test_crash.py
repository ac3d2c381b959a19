"""kill -9 while a package is being installed or removed: all of it is here, or nothing."""

import asyncio
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.packages.support import figures, rows

CONSISTENT = (
    "SELECT (SELECT count(*) FROM resource WHERE died IS NULL), (SELECT count(*) FROM package_resource),"
    " (SELECT count(*) FROM package), (SELECT count(*) FROM search_param WHERE state <> 'dropping')"
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
    async with asyncio.timeout(30):
        while await writing(dsn):
            await asyncio.sleep(0.05)


async def killed_within(dsn: str, pause_s: float, *arguments: object) -> bool:
    """Whether the command was killed, `pause_s` after it had begun to write."""
    command = started(dsn, *arguments)
    deadline = time.monotonic() + 60
    while command.poll() is None and not await writing(dsn) and time.monotonic() < deadline:
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
    nothing = await figures(fresh)
    killed = 0
    for _ in range(ROUNDS):
        if await killed_within(fresh, random.uniform(0, 0.6), *install):
            killed += 1
            now = await figures(fresh)
            assert now[:6] == nothing[:6], "something of a package that is not installed"
    assert killed, "the command was never killed in time"
    assert started(fresh, *install).wait(120) == 0
    whole = await rows(fresh, CONSISTENT)
    assert whole[0][:3] == (146, 146, 1)
    killed = 0
    for _ in range(ROUNDS):
        if not await killed_within(fresh, random.uniform(0, 0.1), "remove", "hl7.fhir.us.core"):
            break
        killed += 1
        assert await rows(fresh, CONSISTENT) == whole
    started(fresh, "remove", "hl7.fhir.us.core").wait(120)
    assert await rows(fresh, CONSISTENT) == [(0, 0, 0, 0)]
