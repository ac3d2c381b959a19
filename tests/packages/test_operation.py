"""$install-package: who may, what it takes, and archives that somebody hostile made."""

import asyncio
import base64
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from tests.packages.support import figures, rows
from tests.support.archives import entry, manifest, package, packed, tar, text, value_set
from tests.support.callers import granted
from tests.support.definitions import search_parameter
from tests.support.server import serving

PACKED = {"Content-Type": "application/gzip"}
DEFINING = ("CapabilityStatement", "CodeSystem", "CompartmentDefinition", "ConceptMap", "ImplementationGuide")
DEFINING_TOO = ("NamingSystem", "OperationDefinition", "SearchParameter", "StructureDefinition", "ValueSet")


@pytest_asyncio.fixture
async def http(fresh: str) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(fresh, package_registries="off") as client:
        yield client


def binary(data: bytes) -> dict[str, Any]:
    encoded = base64.b64encode(data).decode()
    return {"resourceType": "Binary", "contentType": "application/gzip", "data": encoded}


def parameters(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": list(parts)}


def said(answer: httpx.Response) -> str:
    return answer.json()["issue"][0]["diagnostics"]


async def test_the_archive_in_every_form(http: httpx.AsyncClient) -> None:
    data = package(value_set("v"))
    for answer in (
        await http.post("/$install-package", content=data, headers=PACKED),
        await http.post(
            "/$install-package", content=data, headers={"Content-Type": "application/octet-stream"}
        ),
        await http.post("/$install-package", json=binary(data)),
        await http.post("/$install-package", json=parameters({"name": "package", "resource": binary(data)})),
        await http.post(
            "/$install-package",
            json=parameters(
                {"name": "name", "valueString": "test.guide"}, {"name": "version", "valueString": "1.0.0"}
            ),
        ),
        await http.post("/$install-package?name=test.guide&version=1.0.0"),
    ):
        assert answer.status_code == 200, answer.text
        assert answer.json()["parameter"][0] == {"name": "package", "valueString": "test.guide@1.0.0"}
    assert (await http.get("/ValueSet/v")).json()["meta"]["versionId"] == "1"
    definition = (await http.get("/OperationDefinition/install-package")).json()
    assert definition["affectsState"] is True and definition["system"] is True
    operations = (await http.get("/metadata")).json()["rest"][0]["operation"]
    assert definition["url"] in {one["definition"] for one in operations}


async def test_what_is_only_kept_is_said_of_those_that_bring_it(http: httpx.AsyncClient) -> None:
    base = "http://hl7.org/fhir/StructureDefinition/Patient"

    def shape(id_: str, path: str, **more: Any) -> dict[str, Any]:
        return {
            "resourceType": "StructureDefinition",
            "id": id_,
            "url": f"urn:{id_}",
            "name": "Shape",
            "status": "active",
            "kind": "resource",
            "abstract": False,
            "type": "Patient",
            "baseDefinition": base,
            "derivation": "constraint",
            "differential": {"element": [{"id": path, "path": path, "min": 1}]},
            **more,
        }

    parameter = search_parameter("odd", "token", "Patient.nothing.like.it", id="odd")
    bad = [shape("a", "Patient.nose"), shape("b", "Patient.name", baseDefinition="urn:nowhere"), parameter]
    answer = await http.post(
        "/$install-package", content=package(shape("c", "Patient.name"), *bad), headers=PACKED
    )
    kept = {
        part["name"]: part["valueString"]
        for part in answer.json()["parameter"]
        if part["name"].startswith("not-")
    }
    wrong = [part["valueString"] for part in answer.json()["parameter"] if part["name"] == "not-judged-by"]
    assert [text.partition(": ")[0] for text in wrong] == ["urn:a", "urn:b"], answer.text
    assert kept["not-searchable"].startswith(parameter["url"])
    other = await http.post(
        "/$install-package", content=package(value_set("v"), name="test.other"), headers=PACKED
    )
    assert other.status_code == 200 and "not-" not in other.text


async def test_what_it_does_not_take(http: httpx.AsyncClient) -> None:
    data = package(value_set("v"))
    assert (await http.get("/$install-package")).status_code == 405
    assert "either the package itself or its 'name'" in said(await http.post("/$install-package"))
    both = await http.post("/$install-package?name=test.guide", content=data, headers=PACKED)
    assert both.status_code == 400
    for body in (b"", b"PK\x03\x04", gzip.compress(b"x")[:1]):
        answer = await http.post("/$install-package", content=body, headers=PACKED)
        assert answer.status_code == 400, answer.text
    assert (await http.post("/$install-package", json={"resourceType": "Patient"})).status_code == 400
    missing = await http.post("/$install-package?name=test.other")
    assert missing.status_code == 404 and "no registry is asked" in said(missing)
    for name in ("../../etc/passwd", "x", "a.b/../c"):
        assert (await http.post("/$install-package", params={"name": name})).status_code == 422
    needs = package(value_set("n"), dependencies={"test.other": "1.0.0"})
    answer = await http.post("/$install-package", content=needs, headers=PACKED)
    assert answer.status_code == 422
    assert [one["code"] for one in answer.json()["issue"]] == ["not-found"] * 3
    answer = await http.post("/$install-package?without=test.other", content=needs, headers=PACKED)
    assert answer.status_code == 200
    transaction = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"resource": binary(data), "request": {"method": "POST", "url": "$install-package"}},
        ],
    }
    refused = await http.post("", json=transaction)
    assert refused.status_code == 400 and "by a request of its own" in refused.text


def hostile() -> dict[str, tuple[bytes, int]]:
    """Archives and the status of their refusal."""
    about = entry("package/package.json", text(manifest()))

    def made(*entries: Any) -> bytes:
        return gzip.compress(tar([about, *entries]))

    bomb = gzip.compress(tar([about, entry("package/a.json", bytes(60_000_000))]))
    return {
        "out of the folder": (made(entry("../../etc/cron.d/x", b"x")), 400),
        "absolute": (made(entry("/etc/passwd", b"x")), 400),
        "symbolic link": (made(entry("package/a.json", kind=b"2", linkname="/etc/passwd")), 400),
        "hard link": (made(entry("package/a.json", kind=b"1", linkname="package/package.json")), 400),
        "device": (made(entry("package/a.json", kind=b"3")), 400),
        "bomb": (bomb, 413),
        "twice": (made(entry("package/a", b"1"), entry("package/a", b"2")), 400),
        "broken JSON": (made(entry("package/a.json", b'{"resourceType"')), 400),
        "deep JSON": (made(entry("package/a.json", b'{"resourceType":"ValueSet","a":' * 3_000)), 400),
        "long text": (
            made(entry("package/a.json", text(value_set("v", title="\u0000")))),
            400,
        ),
        "FHIR 5": (package(value_set("v"), fhirVersions=["5.0.0"]), 422),
        "no manifest": (packed({"package/a.json": {}}), 400),
        "a name that leads away": (packed({"package/package.json": manifest(name="a/../b.c")}), 400),
        "torn": (package(value_set("v"))[:-40], 400),
    }


@pytest.mark.parametrize("what", list(hostile()))
async def test_hostile_archives(fresh: str, http: httpx.AsyncClient, what: str) -> None:
    data, status = hostile()[what]
    before = await figures(fresh)
    answer = await http.post("/$install-package", content=data, headers=PACKED)
    assert answer.status_code == status, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert await figures(fresh) == before


async def test_only_administrators(fresh: str) -> None:
    data = package(value_set("v"))
    user = ("Practitioner", "d")
    types = (*DEFINING, *DEFINING_TOO)
    may = [
        await granted(fresh, "user/*.cruds", user=user, roles=("administrator",)),
        await granted(fresh, "system/*.cruds", *(f"system/{type_}.cruds" for type_ in types)),
    ]
    may_not = [
        await granted(fresh, "user/*.cruds", user=user, roles=("practitioner",)),
        await granted(fresh, "user/*.rs", user=user, roles=("administrator",)),
        await granted(fresh, "user/ValueSet.cruds", user=user, roles=("administrator",)),
        await granted(fresh, "system/*.cruds"),
        await granted(fresh, "system/*.cruds", *(f"system/{type_}.cu" for type_ in types[1:])),
        await granted(
            fresh, "patient/*.cruds", patient="a", user=("Patient", "a"), own=("a",), roles=("patient",)
        ),
    ]
    async with serving(fresh, auth="smart", package_registries="off") as http:
        assert (await http.post("/$install-package", content=data, headers=PACKED)).status_code == 401
        for who in may_not:
            answer = await http.post("/$install-package", content=data, headers=PACKED | who.headers)
            assert answer.status_code == 403, answer.text
        assert await rows(fresh, "SELECT FROM package") == []
        for who in may:
            answer = await http.post("/$install-package", content=data, headers=PACKED | who.headers)
            assert answer.status_code == 200, answer.text


async def test_it_is_written_down_who_installed_what(
    fresh: str, http: httpx.AsyncClient, capfd: pytest.CaptureFixture[str]
) -> None:
    async with serving(fresh, package_registries="off") as client:
        from fhirserver.observe import log

        log.configure("info", "json")
        await client.post("/$install-package", content=package(value_set("v")), headers=PACKED)
        log.configure("error")
    captured = capfd.readouterr()
    lines = [json.loads(line) for line in (captured.out + captured.err).splitlines() if line.startswith("{")]
    (line,) = [one for one in lines if one["event"] == "package_installed"]
    assert (line["package"], line["created"], line["by"]) == ("test.guide@1.0.0", 1, "nobody signs in")


async def test_installations_at_once_are_one_after_the_other(fresh: str) -> None:
    """On two servers: each package is here, each resource once."""
    shared = value_set("shared")
    async with serving(fresh) as one, serving(fresh) as other:

        async def install(client: httpx.AsyncClient, number: int) -> int:
            data = package(
                shared, value_set(f"v{number}"), name=f"test.p{number % 3}", version=f"1.0.{number % 3}"
            )
            for _ in range(20):
                answer = await client.post("/$install-package", content=data, headers=PACKED)
                if answer.status_code != 409:
                    return answer.status_code
            return 409

        statuses = await asyncio.gather(*(install((one, other)[number % 2], number) for number in range(8)))
    assert set(statuses) == {200}
    assert len(await rows(fresh, "SELECT FROM package")) == 3
    assert len(await rows(fresh, "SELECT FROM resource WHERE died IS NULL AND id = 'shared'")) == 1


async def test_what_another_server_installs_is_announced_everywhere(fresh: str) -> None:
    async with serving(fresh) as one, serving(fresh) as other:
        data = package(value_set("v"))
        assert (await one.post("/$install-package", content=data, headers=PACKED)).status_code == 200
        expected = ["http://example.org/test.guide/ImplementationGuide/test.guide|1.0.0"]
        for _ in range(200):
            announced = (await other.get("/metadata")).json().get("implementationGuide")
            if announced == expected:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(announced)


async def test_row_level_security_stands_behind_the_tables(fresh: str) -> None:
    connection = await asyncpg.connect(fresh)
    try:
        found = await connection.fetch(
            "SELECT relname FROM pg_class WHERE relname IN ('package', 'package_resource') AND relrowsecurity"
        )
    finally:
        await connection.close()
    assert len(found) == 2
