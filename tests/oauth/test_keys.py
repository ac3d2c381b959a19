"""Keys: those of clients at their `jwks_uri`, asked for with care, and this server's own, which rotate."""

import asyncio
import ipaddress
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from fhirserver import outbound
from fhirserver.app import open_services
from fhirserver.issuers import documents
from fhirserver.oauth import keys
from fhirserver.oauth.context import Server
from fhirserver.oauth.errors import OAuthError
from fhirserver.oauth.jwks import KeySets
from fhirserver.settings import Settings
from tests.oauth.support import World, backend, ec_key, world_on

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


@dataclass
class Site:
    """A web site of one path: `keys` as a set, or `raw` as it is."""

    keys: list[Any] = field(default_factory=list)
    raw: bytes | None = None
    headers: str = ""
    status: str = "200 OK"
    asked: int = 0
    port: int = 0

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}/jwks.json"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        body = self.raw
        if body is None:
            body = json.dumps({"keys": [key.as_dict(private=False) for key in self.keys]}).encode()
        lines = (f"HTTP/1.1 {self.status}", f"Content-Length: {len(body)}", "Connection: close", self.headers)
        writer.write("\r\n".join(lines).encode() + b"\r\n" + body)
        with suppress(ConnectionError):
            await writer.drain()


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(answer: Answer) -> AsyncIterator[int]:
    """A server on this machine; its port. At the end all its connections are closed."""
    tasks: set[asyncio.Task[None]] = set()

    async def closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await answer(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(closed, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.gather(*tasks)


@asynccontextmanager
async def site(**more: Any) -> AsyncIterator[Site]:
    made = Site(**more)
    async with listening(made.answer) as made.port:
        yield made


async def test_keys_are_fetched_kept_and_asked_for_again(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = ec_key("k1"), ec_key("k2")
    async with world_on(database, outbound_networks="127.0.0.0/8") as world, site(keys=[first]) as there:
        service = await backend(world, first, jwks_uri=there.uri)
        for _ in range(3):
            assert (await service.ask()).status_code == 200
        assert there.asked == 1
        there.keys.append(second)
        service.key = second
        assert (await service.ask()).status_code == 401
        assert there.asked == 1  # asked a moment ago: not again for every kid that somebody makes up
        monkeypatch.setattr(documents, "AFRESH_S", 0.0)
        assert (await service.ask()).status_code == 200
        assert there.asked == 2
        service.key = first
        assert (await service.ask(header={"jku": there.uri})).status_code == 200
        assert (await service.ask(header={"jku": "http://127.0.0.1/other"})).status_code == 401


async def test_a_private_address_is_not_asked(world: World) -> None:
    key = ec_key()
    async with site(keys=[key]) as there:
        for uri in (there.uri, f"http://localhost:{there.port}/jwks.json"):
            service = await backend(world, key, jwks_uri=uri)
            answer = await service.ask()
            assert answer.status_code == 401 and answer.json()["error"] == "invalid_client"
        assert there.asked == 0


@pytest.mark.parametrize(
    "uri",
    [
        *("https://127.0.0.1/", "https://localhost/", "https://[::1]/", "https://10.0.0.1/"),
        *("https://192.168.1.1/", "https://172.16.0.1/", "https://169.254.169.254/latest/meta-data/"),
        *("https://0.0.0.0/", "https://[::]/", "https://[fe80::1]/", "https://[fd00::1]/"),
        *("https://[::ffff:127.0.0.1]/", "https://[::ffff:10.0.0.1]/", "https://[64:ff9b::7f00:1]/"),
        *("https://[2002:7f00:1::]/", "https://224.0.0.1/", "https://100.64.0.1/", "https://2130706433/"),
        *("https://0x7f.1/", "https://0177.0.0.1/", "http://93.184.216.34/", "ftp://93.184.216.34/"),
        *("https://user:pw@93.184.216.34/", "https:///x", "file:///etc/passwd", "https://nowhere.invalid/"),
    ],
)
async def test_addresses_that_are_refused_before_anything_is_sent(uri: str) -> None:
    with pytest.raises(OAuthError) as refused:
        await KeySets().address(uri)
    assert refused.value.error == "invalid_client"


async def test_public_addresses_and_configured_ones_are_asked() -> None:
    assert await KeySets().address("https://93.184.216.34/x") == "93.184.216.34"
    assert await KeySets(LOOPBACK).address("http://127.0.0.1:1/x") == "127.0.0.1"
    with pytest.raises(OAuthError):
        await KeySets(LOOPBACK).address("http://10.0.0.1/x")


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "302 Found", "headers": "Location: http://169.254.169.254/\r\n"},
        {"status": "404 Not Found"},
        {"raw": b"no json"},
        {"raw": b"[]"},
        {"raw": b'{"keys": 7}'},
        {"raw": b'{"keys": "' + b"x" * 200_000 + b'"}'},
    ],
    ids=lambda wrong: str(wrong)[:40],
)
async def test_what_is_no_key_set_is_refused(wrong: dict[str, Any]) -> None:
    async with site(**wrong) as there:
        sets = KeySets(LOOPBACK)
        for _ in range(2):
            with pytest.raises(OAuthError):
                await sets.fetched(there.uri)
        assert there.asked == 1  # whoever does not answer is left alone for a while


async def test_odd_keys_in_a_set_do_no_harm(database: str) -> None:
    key = ec_key()
    odd = [7, None, {"kid": "k1"}, {"kid": "k1", "kty": "EC", "crv": "P-384"}, {"kid": 7, "kty": "EC"}]
    raw = json.dumps({"keys": odd}).encode()
    async with world_on(database, outbound_networks="127.0.0.0/8") as world, site(raw=raw) as there:
        service = await backend(world, key, jwks_uri=there.uri)
        assert (await service.ask()).status_code == 401


async def test_the_age_that_the_site_says_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    async with site(keys=[ec_key()], headers="Cache-Control: public, max-age=0\r\n") as there:
        sets = KeySets(LOOPBACK)
        await sets.fetched(there.uri)
        await sets.fetched(there.uri)
        assert there.asked == 2


async def test_slow_sites_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    monkeypatch.setattr(outbound, "BOUNDS", outbound.Bounds(timeout_s=1.0))
    async with listening(silent) as port:
        with pytest.raises(OAuthError):
            await KeySets(LOOPBACK).fetched(f"http://127.0.0.1:{port}/")


async def test_a_rotation_lets_the_next_key_sign_and_keeps_the_old_one(world: World) -> None:
    doctor, app = await world.someone("doc", "Practitioner/d"), await world.app()

    async def published() -> list[dict[str, Any]]:
        return (await world.http.get("http://test/auth/jwks")).json()["keys"]

    async def signed_by() -> str:
        token = (await app.token(doctor, "openid user/Patient.rs"))["id_token"]
        return jwt.decode(
            token, KeySet.import_key_set({"keys": await published()}), algorithms=["RS256"]
        ).header["kid"]

    before = [key["kid"] for key in await published()]
    assert await signed_by() == before[0]
    services = await open_services(Settings.load(database_url=world.dsn, auth="smart"))
    try:
        async with services.pool.acquire() as connection:
            await keys.rotate(connection, Server.of(services))
    finally:
        await services.pool.close()
    after = [key["kid"] for key in await published()]
    assert after[0] == before[1] and len(after) == 3 and after[2] == before[0]
    assert await signed_by() == before[1]
    await world.sql("UPDATE auth.key SET retired = retired - interval '3 days'")
    assert len(await published()) == 2


async def test_private_keys_rest_encrypted(world: World) -> None:
    await world.http.get("http://test/auth/jwks")
    for row in await world.sql("SELECT private FROM auth.key"):
        assert b'"d"' not in row["private"] and not row["private"].startswith(b"{")
