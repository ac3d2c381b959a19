"""Packages fetched from a registry: versions, hashes, and answers that are not to be trusted."""

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from fhirserver.errors import Unprocessable
from fhirserver.interactions.packages import sources
from fhirserver.interactions.packages.sources import require_intact
from tests.packages.conftest import Command
from tests.packages.support import current
from tests.support.archives import package, saved, value_set


class Registry:
    """A registry on this machine. `archives` by name and version; `change` may spoil a listing."""

    def __init__(self) -> None:
        self.archives: dict[str, dict[str, bytes]] = {}
        self.asked: list[str] = []
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.change: Callable[[dict[str, Any]], object] = lambda listing: None
        self.url = ""

    def add(self, data: bytes, name: str, version: str) -> None:
        self.archives.setdefault(name, {})[version] = data

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        self.asked.append(path)
        if path in self.answers:
            return self.answers[path]
        _, name, *rest = path.split("/")
        versions = self.archives.get(name)
        if versions is None:
            return 404, {}, b"{}"
        if rest:
            return 200, {"Content-Type": "application/tar+gzip"}, versions[rest[0]]
        listing: dict[str, Any] = {
            "name": name,
            "dist-tags": {"latest": list(versions)[-1]},
            "versions": {
                version: {
                    "name": name,
                    "version": version,
                    "dist": {
                        "shasum": hashlib.sha1(data).hexdigest(),
                        "tarball": f"{self.url}/{name}/{version}",
                    },
                }
                for version, data in versions.items()
            },
        }
        self.change(listing)
        return 200, {"Content-Type": "application/json"}, json.dumps(listing).encode()


@contextmanager
def running(registry: Registry) -> Iterator[Registry]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = registry.answer(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    registry.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def registry() -> Iterator[Registry]:
    with running(Registry()) as started:
        for version in ("1.0.0", "1.0.10", "1.0.9", "2.0.0-ballot"):
            started.add(
                package(value_set("v", version), name="test.there", version=version), "test.there", version
            )
        started.add(
            package(value_set("w"), name="test.needs", dependencies={"test.there": "1.0.x"}),
            "test.needs",
            "1.0.0",
        )
        yield started


def install(command: Command, registry: Registry, what: str, *options: object) -> tuple[int, str]:
    return command("install", what, *options, FHIRSERVER_PACKAGE_REGISTRIES=registry.url)


def test_by_name_and_version(command: Command, registry: Registry, fresh: str) -> None:
    assert install(command, registry, "test.there@1.0.x") == (0, "installed test.there@1.0.10: 1 new")
    assert install(command, registry, "test.there@1.0.0")[0] == 0
    assert install(command, registry, "test.there") == (0, "installed test.there@2.0.0-ballot: 1 new")
    before = list(registry.asked)
    assert install(command, registry, "test.there@1.0.0") == (
        0,
        "test.there@1.0.0 is here already: nothing to do",
    )
    assert registry.asked == before
    code, said = install(command, registry, "test.there@3.0.0")
    assert code == 1 and f"test.there@3.0.0 was not found ({registry.url})" in said
    code, said = install(command, registry, "test.unknown")
    assert code == 1 and "test.unknown@latest was not found" in said


def test_dependencies_are_fetched_unless_offline(command: Command, registry: Registry, fresh: str) -> None:
    code, said = install(command, registry, "test.needs@1.0.0", "--offline")
    assert code == 1 and "no registry is asked" in said and not registry.asked
    assert install(command, registry, "test.needs")[0] == 0
    assert "test.there@1.0.10 0 resources, as far as needed (1 left out), for others" in command("list")[1]
    assert set(asyncio.run(current(fresh))) == {"ValueSet/w"}


def test_a_registry_that_has_none_is_passed_over(command: Command, registry: Registry) -> None:
    with running(Registry()) as empty:
        both = f"{empty.url},{registry.url}"
        assert command("install", "test.there@1.0.0", FHIRSERVER_PACKAGE_REGISTRIES=both)[0] == 0
        assert empty.asked == ["/test.there"]


def spoiled(version: dict[str, Any]) -> None:
    version["dist"]["shasum"] = "0" * 40


def elsewhere(version: dict[str, Any]) -> None:
    version["dist"]["tarball"] = "http://127.0.0.2:9/x.tgz"


def of_a_file(version: dict[str, Any]) -> None:
    version["dist"]["tarball"] = "file:///etc/passwd"


def metadata_of_a_cloud(version: dict[str, Any]) -> None:
    version["dist"]["tarball"] = "http://169.254.169.254/latest/meta-data/"


@pytest.mark.parametrize(
    ("change", "said_of_it"),
    [
        (spoiled, "its SHA-1 is another"),
        (elsewhere, "is not asked further: it leads to a private address"),
        (of_a_file, "is not asked further"),
        (metadata_of_a_cloud, "is not asked further: it leads to a private address"),
    ],
)
def test_what_a_registry_says_is_not_believed(
    command: Command,
    registry: Registry,
    fresh: str,
    change: Callable[[dict[str, Any]], None],
    said_of_it: str,
) -> None:
    registry.change = lambda listing: change(listing["versions"]["1.0.0"])
    code, said = install(command, registry, "test.there@1.0.0")
    assert code == 1 and said_of_it in said, said
    assert asyncio.run(current(fresh)) == {}


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, b"no json"),
        (200, {}, b"[]"),
        (200, {}, b'{"versions": 7}'),
        (200, {}, b'{"versions": {"1.0.0": 7, "../../x": {}}}'),
        (500, {}, b"{}"),
        (302, {"Location": "http://169.254.169.254/"}, b""),
        (302, {"Location": "/test.there"}, b""),
        (302, {}, b""),
        (302, {"Location": "http://[::1"}, b""),
    ],
)
def test_listings_that_are_none(
    command: Command, registry: Registry, fresh: str, answer: tuple[int, dict[str, str], bytes]
) -> None:
    registry.answers["/test.there"] = answer
    code, said = install(command, registry, "test.there@1.0.0")
    assert code == 1 and said.startswith("error"), said
    assert asyncio.run(current(fresh)) == {} and len(registry.asked) < 10


def test_a_redirect_within_the_registry_is_followed(command: Command, registry: Registry) -> None:
    registry.answers["/test.there/1.0.0"] = (302, {"Location": "/moved"}, b"")
    registry.answers["/moved"] = (200, {}, registry.archives["test.there"]["1.0.0"])
    code, said = install(command, registry, "test.there@1.0.0")
    assert (code, said) == (0, "installed test.there@1.0.0: 1 new")


def test_a_dependency_that_is_another_package(command: Command, registry: Registry, tmp_path: Path) -> None:
    registry.archives["test.there"]["1.0.10"] = registry.archives["test.there"]["1.0.0"]
    needs = saved(tmp_path, package(value_set("n"), name="test.n", dependencies={"test.there": "1.0.10"}))
    code, said = install(command, registry, str(needs))
    assert code == 1 and f"{registry.url} gave test.there@1.0.0 for test.there@1.0.10" in said


def test_too_much_is_not_read(command: Command, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "ARCHIVE", replace(sources.ARCHIVE, bytes_max=100))
    code, said = install(command, registry, "test.there@1.0.0")
    assert code == 1 and "its answer is longer than 100 bytes" in said


def test_one_that_is_away_is_named(command: Command) -> None:
    code, said = command("install", "test.there@1.0.0", FHIRSERVER_PACKAGE_REGISTRIES="http://127.0.0.1:9")
    assert code == 1 and "http://127.0.0.1:9 does not answer" in said


def test_hashes() -> None:
    data = b"an archive"
    sha1, sha512 = hashlib.sha1(data).hexdigest(), base64.b64encode(hashlib.sha512(data).digest()).decode()
    require_intact("x", data, None, None)
    require_intact("x", data, sha1.upper(), f"sha512-{sha512} sha384-whatever")
    for shasum, integrity in ((sha1[::-1], None), (None, f"sha512-{sha512[::-1]}"), (sha1, "sha512-x")):
        with pytest.raises(Unprocessable):
            require_intact("x", data, shasum, integrity)
