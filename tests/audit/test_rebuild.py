"""The index of events can be derived anew like any other, month by month, and is as it was."""

import asyncio
import os
import re
import subprocess
import sys

import pytest

from tests.audit.support import Watched

pytestmark = pytest.mark.asyncio(loop_scope="module")


def reindex(dsn: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fhirserver", "reindex", *arguments],
        env=os.environ | {"DATABASE_URL": dsn, "NO_COLOR": "1", "FHIRSERVER_DEVELOPMENT": "true"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


async def test_the_index_of_events_is_what_would_be_derived_anew(watched: Watched) -> None:
    assert (await watched.ask("PUT", "/Patient/a", {"resourceType": "Patient", "id": "a"})).status == 201
    for target in ("/Patient/a", "/Patient?_id=a", "/Patient", "/Patient/none", "/Patient/a/$everything"):
        await watched.ask("GET", target)
    events = await watched.sql("SELECT count(*) FROM resource_auditevent")
    assert events == 6
    for arguments in (["--verify"], [], ["--verify"]):
        done = await asyncio.to_thread(reindex, watched.dsn, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        if arguments:
            assert re.search(r"verified ([\d,]+) versions .* 0 are not as they should be", done.stdout)
    found = await watched.ask("GET", "/AuditEvent?patient=a&_total=accurate")
    assert found.resource()["total"] == 5
