"""A first start that is killed while it makes the cluster or migrates can be repeated."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.crash.killing import Victim

KILLED_STARTS = int(os.environ.get("FHIRSERVER_TEST_KILLED_STARTS", "4"))
START_S = (0.2, 3.0)


def killed_start(data_dir: Path, after_s: float) -> str:
    """Start the server and kill -9 it; what it said. Programs that it had started are left running."""
    command = [sys.executable, "-m", "fhirserver", "serve", "--port", "0", "--data-dir", str(data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        time.sleep(after_s)
        failed = server.poll()
        server.kill()
        assert server.stdout is not None
        said = server.stdout.read()
    assert failed is None, said
    return said


def test_a_start_that_was_killed_can_be_repeated(data_dir: Path) -> None:
    for _ in range(KILLED_STARTS):
        killed_start(data_dir, random.uniform(*START_S))
    with Victim(data_dir) as victim:
        victim.start()
        made = httpx.post(f"{victim.url}/Patient", json={"resourceType": "Patient"})
        assert made.status_code == 201
