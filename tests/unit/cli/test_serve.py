"""`fhirserver serve` as a process: it starts from nothing, and whatever ends it, the next start goes on."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil

from fhirserver.db.postmaster import Postmaster
from tests.support.server import process

PATIENT = {"resourceType": "Patient", "name": [{"family": "Chalmers"}]}
FHIR_JSON = {"Content-Type": "application/fhir+json"}


def serve(*arguments: str) -> tuple[int, str]:
    """Run the command to its end; for starts that are refused."""
    done = subprocess.run(
        [sys.executable, "-m", "fhirserver", "serve", *arguments], capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stderr


def until(condition: Callable[[], bool], timeout_s: float = 30) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def ready(url: str) -> bool:
    try:
        return httpx.get(url.removesuffix("/fhir") + "/readyz", timeout=10).status_code == 200
    except httpx.TransportError:
        return False


def refused(url: str) -> bool:
    try:
        httpx.get(url, timeout=5)
    except httpx.ConnectError:
        return True
    except httpx.TransportError:
        return False
    return False


def test_from_nothing_to_a_patient_and_on_after_a_restart(data_dir: Path) -> None:
    with process("--data-dir", str(data_dir)) as server:
        created = httpx.post(f"{server.url}/Patient", json=PATIENT, headers=FHIR_JSON)
        assert created.status_code == 201
        assert "server" not in created.headers
        path = f"Patient/{created.json()['id']}"
        server.popen.send_signal(signal.SIGTERM)
        assert server.popen.wait(30) == 0
        assert not (data_dir / "postgres" / "postmaster.pid").exists()
    with process("--data-dir", str(data_dir)) as server:
        assert httpx.get(f"{server.url}/{path}").json()["name"] == PATIENT["name"]


def test_ctrl_c_stops_it_as_well(data_dir: Path) -> None:
    with process("--data-dir", str(data_dir)) as server:
        server.popen.send_signal(signal.SIGINT)
        assert server.popen.wait(30) == 0
        assert not (data_dir / "postgres" / "postmaster.pid").exists()


def test_a_running_request_is_finished_before_the_end(data_dir: Path) -> None:
    body = json.dumps(PATIENT).encode()
    with process("--data-dir", str(data_dir)) as server:
        place = urlsplit(server.url)
        with socket.create_connection((place.hostname, place.port), timeout=30) as client:
            head = f"POST /fhir/Patient HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: {len(body)}\r\n"
            client.sendall(head.encode() + b"Content-Type: application/fhir+json\r\n\r\n" + body[:10])
            time.sleep(0.5)
            server.popen.send_signal(signal.SIGTERM)
            assert until(lambda: refused(server.url))
            client.sendall(body[10:])
            assert client.recv(65_536).startswith(b"HTTP/1.1 201")
        assert server.popen.wait(30) == 0
        assert not (data_dir / "postgres" / "postmaster.pid").exists()


def test_killed_postgresql_comes_back_and_nothing_is_lost(data_dir: Path) -> None:
    with process("--data-dir", str(data_dir)) as server:
        path = f"Patient/{httpx.post(f'{server.url}/Patient', json=PATIENT, headers=FHIR_JSON).json()['id']}"
        first = Postmaster.read(data_dir / "postgres")
        assert first is not None
        os.kill(first.pid, signal.SIGKILL)
        assert until(
            lambda: (now := Postmaster.read(data_dir / "postgres")) is not None and now.pid != first.pid
        )
        assert until(lambda: ready(server.url))
        assert httpx.get(f"{server.url}/{path}").status_code == 200


def test_workers_end_with_a_killed_parent_and_the_next_start_goes_on(data_dir: Path) -> None:
    with process("--data-dir", str(data_dir), "--workers", "2") as server:
        path = f"Patient/{httpx.post(f'{server.url}/Patient', json=PATIENT, headers=FHIR_JSON).json()['id']}"
        workers = [
            child for child in psutil.Process(server.popen.pid).children() if "spawn" in str(child.cmdline())
        ]
        assert len(workers) >= 2
        server.popen.kill()
        server.popen.wait(10)
        assert until(lambda: refused(server.url))
        assert psutil.wait_procs(workers, timeout=60)[1] == []
    with process("--data-dir", str(data_dir), "--workers", "2") as server:
        assert httpx.get(f"{server.url}/{path}").status_code == 200


def test_one_data_folder_has_one_server(data_dir: Path) -> None:
    with process("--data-dir", str(data_dir)) as server:
        code, said = serve("--data-dir", str(data_dir), "--port", "0")
        assert (code, f"(process {server.popen.pid})" in said) == (1, True)
        assert "--data-dir" in said
        assert ready(server.url)


def test_a_port_that_is_taken_costs_nothing(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = serve("--data-dir", str(data_dir), "--port", str(port))
    assert code == 1
    assert f"cannot listen on 127.0.0.1 port {port} (Address already in use)" in said
    assert not data_dir.exists()
