"""A limit on everything, each answered with an OperationOutcome and without doing anything.

The settings are small here, so that one more than allowed is little.
"""

import gzip
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from fhirserver.http import bodies
from fhirserver.settings import Settings
from tests.support.door import JSON, XML, Contents, Door, Reply, assert_outcome, contents, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

BODY_MAX = 8_192
ENTRIES_MAX, DEPTH_MAX, URL_MAX, PARAMS_MAX = 5, 12, 400, 6
OR_MAX, CHAIN_MAX, INCLUDES_MAX, COUNT_MAX = 4, 1, 2, 3
PATIENT: dict[str, Any] = {"resourceType": "Patient", "name": [{"family": "Müller"}]}
AS_FORM = [("content-type", "application/x-www-form-urlencoded")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def small(database: str) -> AsyncIterator[Door]:
    """A server with small limits and a few patients."""
    async with opened(
        database,
        body_bytes_max=BODY_MAX,
        entries_max=ENTRIES_MAX,
        json_depth_max=DEPTH_MAX,
        url_bytes_max=URL_MAX,
        params_max=PARAMS_MAX,
        or_values_max=OR_MAX,
        chain_depth_max=CHAIN_MAX,
        includes_max=INCLUDES_MAX,
        count_default=2,
        count_max=COUNT_MAX,
    ) as door:
        for _ in range(COUNT_MAX + 2):
            await door.created(PATIENT)
        yield door


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stored(database: str) -> AsyncIterator[Contents]:
    """What the database holds."""
    async with contents(database) as found:
        yield found


def padded(size: int) -> bytes:
    """A patient in exactly so many bytes."""
    return json.dumps(PATIENT).encode().ljust(size)


async def refused(door: Door, stored: Contents, status: int, code: str, *request: Any, **more: Any) -> Reply:
    """The request is refused, and nothing has changed."""
    before = await stored.figures()
    reply = await door.ask(*request, **more)
    assert reply.status == status, reply
    assert_outcome(reply, code)
    assert await stored.figures() == before
    return reply


async def test_the_limits_without_settings() -> None:
    settings = Settings.load(database_url="postgresql://nowhere")
    assert settings.body_bytes_max == 50 * 1024 * 1024
    assert (settings.entries_max, settings.json_depth_max, settings.url_bytes_max) == (5000, 64, 8192)
    assert (settings.params_max, settings.or_values_max, settings.chain_depth_max) == (100, 500, 3)
    assert (settings.includes_max, settings.count_max) == (10, 1000)
    assert bodies.RATIO_MAX == 20


class TestBodies:
    """Bytes, after unpacking."""

    TYPE = ("content-type", JSON)

    async def test_the_last_byte(self, small: Door, stored: Contents) -> None:
        assert (await small.ask("POST", "/Patient", padded(BODY_MAX), [self.TYPE])).status == 201
        body = padded(BODY_MAX + 1)
        await refused(small, stored, 413, "too-long", "POST", "/Patient", body, [self.TYPE])

    async def test_whatever_its_header_says(self, small: Door, stored: Contents) -> None:
        for length in ("1", "0", "-5", "x", "9" * 400):
            headers = [self.TYPE, ("content-length", length)]
            body = padded(BODY_MAX + 1)
            await refused(small, stored, 413, "too-long", "POST", "/Patient", body, headers)

    async def test_in_pieces(self, small: Door, stored: Contents) -> None:
        pieces = [padded(BODY_MAX), b"", b" ", b"", b" " * 100]
        headers = [self.TYPE, ("transfer-encoding", "chunked")]
        await refused(small, stored, 413, "too-long", "POST", "/Patient", pieces, headers)

    async def test_of_every_kind(self, small: Door, stored: Contents) -> None:
        big = b"x" * (BODY_MAX + 1)
        for method, target, media_type in (
            ("PUT", "/Patient/1", XML),
            ("PATCH", "/Patient/1", "application/json-patch+json"),
            ("POST", "/Patient/_search", AS_FORM[0][1]),
            ("POST", "/Binary", "application/pdf"),
            ("POST", "/", JSON),
        ):
            await refused(small, stored, 413, "too-long", method, target, big, [("content-type", media_type)])

    async def test_unpacked(self, small: Door, stored: Contents) -> None:
        headers = [self.TYPE, ("content-encoding", "gzip")]
        good = gzip.compress(padded(BODY_MAX))
        assert (await small.ask("POST", "/Patient", good, headers)).status == 201
        bomb = gzip.compress(padded(BODY_MAX + 1))
        await refused(small, stored, 413, "too-long", "POST", "/Patient", bomb, headers)
        members = gzip.compress(b" " * 4000) * 3
        await refused(small, stored, 413, "too-long", "POST", "/Patient", members, headers)

    async def test_the_ratio_of_gzip(self, database: str, stored: Contents) -> None:
        async with opened(database) as door:
            headers = [self.TYPE, ("content-encoding", "gzip")]
            small_enough = gzip.compress(padded(bodies.RATIO_FREE_BYTES))
            assert (await door.ask("POST", "/Patient", small_enough, headers)).status == 201
            bomb = gzip.compress(padded(40 * 1024 * 1024))
            await refused(door, stored, 413, "too-long", "POST", "/Patient", bomb, headers)

    @pytest.mark.parametrize(
        "packed",
        [
            b"x",
            b"\x1f\x8b",
            gzip.compress(padded(400), mtime=0)[:-9],
            gzip.compress(padded(400), mtime=0)[:-1],
            gzip.compress(padded(400), mtime=0) + b"rest",
            zlib.compress(padded(400)),
            b"\x1f\x8b\x08\x00" + b"\0" * 100,
        ],
    )
    async def test_what_is_not_gzip(self, small: Door, stored: Contents, packed: bytes) -> None:
        headers = [self.TYPE, ("content-encoding", "gzip")]
        await refused(small, stored, 400, "invalid", "POST", "/Patient", packed, headers)


class TestDepth:
    """Nesting of bodies."""

    @staticmethod
    def nested(depth: int) -> bytes:
        """A patient whose objects and arrays nest so deep (an even number)."""
        extension: Any = {"url": "urn:x", "valueCode": "y"}
        for _ in range(depth // 2 - 1):
            extension = {"url": "urn:x", "extension": [extension]}
        return json.dumps(PATIENT | {"extension": [extension]}).encode()

    async def test_json(self, small: Door, stored: Contents) -> None:
        headers = [("content-type", JSON)]
        assert (await small.ask("POST", "/Patient", self.nested(DEPTH_MAX - 2), headers)).status == 201
        for depth in (DEPTH_MAX + 2, 200):
            body = self.nested(depth)
            await refused(small, stored, 400, "structure", "POST", "/Patient", body, headers)
        for body in (b"[" * 4000, b'{"a":' * 1000, b"[" * 4000 + b"]" * 4000, b'[{"a":' * 900):
            await refused(small, stored, 400, "structure", "POST", "/Patient", body, headers)

    async def test_xml(self, small: Door, stored: Contents) -> None:
        headers = [("content-type", XML)]
        for name in ('extension url="x"', "contact", "x"):
            body = f'<Patient xmlns="http://hl7.org/fhir">{f"<{name}>" * 150}'
            await refused(small, stored, 400, "structure", "POST", "/Patient", body.encode(), headers)
            closed = f"{body}{f'</{name.split()[0]}>' * 150}</Patient>".encode()
            await _refused_with_any_number(small, stored, closed, headers)

    async def test_patches(self, small: Door, stored: Contents) -> None:
        made = await small.created(PATIENT)
        headers = [("content-type", "application/json-patch+json")]
        value = self.nested(DEPTH_MAX + 2).decode()
        for body in (b"[" * 3000, f'[{{"op":"add","path":"/x","value":{value}}}]'.encode()):
            await refused(small, stored, 400, "structure", "PATCH", f"/Patient/{made['id']}", body, headers)


async def _refused_with_any_number(
    door: Door, stored: Contents, body: bytes, headers: list[tuple[str, str]]
) -> None:
    before = await stored.figures()
    reply = await door.ask("POST", "/Patient", body, headers)
    assert reply.status == 400
    assert_outcome(reply)
    assert await stored.figures() == before


@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_entries(small: Door, stored: Contents, kind: str) -> None:
    entry = {"request": {"method": "GET", "url": "Patient/none/_history"}}
    if kind == "transaction":
        entry = {"request": {"method": "DELETE", "url": "Patient/none"}}

    def bundle(count: int) -> bytes:
        return json.dumps({"resourceType": "Bundle", "type": kind, "entry": [entry] * count}).encode()

    headers = [("content-type", JSON)]
    allowed = await small.ask("POST", "/", bundle(ENTRIES_MAX if kind == "batch" else 1), headers)
    assert allowed.status == 200, allowed
    await refused(small, stored, 413, "too-long", "POST", "/", bundle(ENTRIES_MAX + 1), headers)


async def test_the_length_of_a_url(small: Door, stored: Contents) -> None:
    fits = "/Patient?family=".ljust(URL_MAX - len("/fhir") + 1, "x")
    assert (await small.ask("GET", fits)).status == 200
    await refused(small, stored, 414, "too-long", "GET", fits + "x")
    await refused(small, stored, 414, "too-long", "GET", "/Patient/" + "x" * URL_MAX)
    await refused(small, stored, 414, "too-long", "GET", "/Patient/" + "%41" * (URL_MAX // 3))
    longer = f"{fits[9:]}&family={'y' * URL_MAX}".encode()
    assert (await small.ask("POST", "/Patient/_search", longer, AS_FORM)).status == 200


async def test_parameters(small: Door, stored: Contents) -> None:
    many = "&".join(["family=x"] * PARAMS_MAX)
    assert (await small.ask("GET", f"/Patient?{many}")).status == 200
    await refused(small, stored, 400, "too-costly", "GET", f"/Patient?{many}&family=x")
    await refused(small, stored, 400, "too-costly", "GET", "/Patient?" + "&" * PARAMS_MAX)
    body = f"{many}&a=b".encode()
    await refused(small, stored, 400, "too-costly", "POST", "/Patient/_search", body, AS_FORM)
    both = f"/Patient/_search?{many}"
    await refused(small, stored, 400, "too-costly", "POST", both, b"family=y", AS_FORM)


async def test_values_of_a_parameter(small: Door, stored: Contents) -> None:
    for name in ("family", "identifier", "birthdate", "general-practitioner", "_id"):
        value = "2000" if name == "birthdate" else "Practitioner/1" if "general" in name else "x"
        values = ",".join([value] * OR_MAX)
        assert (await small.ask("GET", f"/Patient?{name}={values}")).status == 200
        await refused(small, stored, 400, "too-costly", "GET", f"/Patient?{name}={values},{value}")


async def test_chains(small: Door, stored: Contents) -> None:
    one = "/Patient?organization.name=x"
    assert (await small.ask("GET", one)).status == 200
    two = "/Patient?organization.partof.name=x"
    await refused(small, stored, 400, "too-costly", "GET", two)
    has = "/Patient?_has:Observation:patient:"
    assert (await small.ask("GET", f"{has}code=x")).status == 200
    await refused(small, stored, 400, "too-costly", "GET", f"{has}_has:Provenance:target:agent=x")
    await refused(small, stored, 400, "too-costly", "GET", f"{has}encounter.type=x")


async def test_includes(small: Door, stored: Contents) -> None:
    include, back = "_include=Patient:organization", "_revinclude=Observation:subject"
    assert (await small.ask("GET", f"/Patient?{include}&{back}")).status == 200
    await refused(small, stored, 400, "too-costly", "GET", f"/Patient?{include}&{back}&{back}")


async def test_the_size_of_a_page_is_reduced(small: Door) -> None:
    for asked, given in (("", 2), ("_count=1", 1), ("_count=3", 3), ("_count=999999", COUNT_MAX)):
        for path in ("/Patient", "/Patient/_history", "/_history"):
            bundle = (await small.ask("GET", f"{path}?{asked}")).resource()
            assert len(bundle["entry"]) == given, (path, asked)
            assert any(link["relation"] == "next" for link in bundle["link"])


async def test_criteria_have_the_limits_of_searches(small: Door, stored: Contents) -> None:
    values = ",".join(["x"] * (OR_MAX + 1))
    headers = [("content-type", JSON)]
    for criteria in (f"family={values}", "organization.partof.name=x", "&".join(["family=x"] * 7)):
        body, condition = padded(100), [*headers, ("if-none-exist", criteria)]
        await refused(small, stored, 400, "too-costly", "POST", "/Patient", body, condition)
        await refused(small, stored, 400, "too-costly", "PUT", f"/Patient?{criteria}", body, headers)
        await refused(small, stored, 400, "too-costly", "DELETE", f"/Patient?{criteria}")


async def test_a_patch_has_limits(small: Door, stored: Contents, database: str) -> None:
    made = await small.created(PATIENT)
    path = f"/Patient/{made['id']}"
    headers = [("content-type", "application/json-patch+json")]
    doubling = [{"op": "copy", "from": "/name", "path": f"/name/0/x{index}"} for index in range(60)]
    body = json.dumps(doubling).encode()
    await refused(small, stored, 400, "too-costly", "PATCH", path, body, headers)
    async with opened(database) as door:
        many = json.dumps([{"op": "test", "path": "/id", "value": made["id"]}] * 1001).encode()
        await refused(door, stored, 400, "too-costly", "PATCH", path, many, headers)
