"""The public base: in every link that leaves, and in no reference that is stored.

https://hl7.org/fhir/R4/http.html#root, https://hl7.org/fhir/R4/references.html#literal
"""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.door import Door, Pairs, Reply, contents, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

BASE, ALIAS = "https://fhir.example.org/r4", "http://old.example.org:8080/fhir"
PATIENT: dict[str, Any] = {"resourceType": "Patient", "name": [{"family": "Müller"}]}
EVIL = "evil.example.com"
ATTACKS: list[Pairs] = [
    [("x-forwarded-host", EVIL), ("x-forwarded-proto", "https"), ("x-forwarded-prefix", "/evil")],
    [("forwarded", f"host={EVIL};proto=https")],
    [("x-original-host", EVIL), ("x-host", EVIL), ("x-forwarded-server", EVIL)],
]


def observation(reference: str, **more: Any) -> dict[str, Any]:
    code = {"status": "final", "code": {"text": "x"}}
    return {"resourceType": "Observation", **code, "subject": {"reference": reference}, **more}


def urls(value: Any) -> Iterator[str]:
    """The links of a Bundle, and of what is in it nothing."""
    if value.get("resourceType") == "CapabilityStatement":
        yield value["implementation"]["url"]
    for link in value.get("link", ()) if value.get("resourceType") == "Bundle" else ():
        yield link["url"]
    for entry in value.get("entry", ()) if value.get("resourceType") == "Bundle" else ():
        if "fullUrl" in entry:
            yield entry["fullUrl"]
        if "location" in entry.get("response", {}):
            yield entry["response"]["location"]


async def everything(door: Door, **more: Any) -> list[Reply]:
    """Answers of all interactions that give addresses."""
    headers = more.pop("headers", [])
    made = await door.json("POST", "/Patient", PATIENT, headers, **more)
    body = made.resource()
    path = f"/Patient/{body['id']}"
    patch = [("content-type", "application/json-patch+json"), *headers]
    chosen = f"Patient/chosen-{body['id'][:8]}"
    entries = [
        {"resource": PATIENT, "request": {"method": "POST", "url": "Patient"}},
        {"request": {"method": "GET", "url": path[1:]}},
        {
            "resource": PATIENT | {"id": chosen.partition("/")[2]},
            "request": {"method": "PUT", "url": chosen},
        },
    ]
    found = [("if-none-exist", f"_id={body['id']}"), *headers]
    replies = [
        made,
        await door.json("PUT", path, body | {"active": True}, headers, **more),
        await door.ask("PATCH", path, b'[{"op":"remove","path":"/active"}]', patch, **more),
        await door.json("POST", "/Patient", PATIENT, found, **more),
        await door.json("PUT", f"/Patient?_id={body['id']}", PATIENT, headers, **more),
    ]
    for kind in ("batch", "transaction"):
        bundle = {"resourceType": "Bundle", "type": kind, "entry": entries}
        replies.append(await door.json("POST", "/", bundle, headers, **more))
    for target in (
        *(path, f"{path}/_history/1", f"{path}/_history?_count=1", "/Patient/_history?_count=1"),
        *("/_history?_count=1", "/Patient?_count=1&_sort=family", "/?_type=Patient&_count=1"),
        *(f"{path}/*?_count=1", "/metadata", f"/Patient?_id={body['id']}&_include=Patient:organization"),
    ):
        replies.append(await door.ask("GET", target, headers=headers, **more))
    for reply in replies:
        assert reply.status in (200, 201), reply
    return replies


def assert_public(replies: list[Reply], base: str) -> None:
    """All addresses begin with the base, and there are some of each kind."""
    count = 0
    for reply in replies:
        found = list(urls(reply.resource()))
        found += [value for name, value in reply.headers if name in ("location", "content-location")]
        assert found or reply.resource()["resourceType"] == "Bundle", reply
        for url in found:
            assert url.startswith((f"{base}/", f"{base}?")) or url == base, (url, base)
        count += len(found)
    assert count > 40


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def public(database: str) -> AsyncIterator[Door]:
    """A server that knows its public base and a former one, behind a proxy that it trusts."""
    settings = {"base_url": f"{BASE}/", "base_url_aliases": (ALIAS,), "trusted_proxies": ("10.0.0.0/8",)}
    async with opened(database, **settings) as door:
        yield door


async def test_the_setting_goes_before_everything(public: Door) -> None:
    assert_public(await everything(public), BASE)
    assert_public(await everything(public, host=EVIL), BASE)
    for headers in ATTACKS:
        assert_public(await everything(public, headers=headers, client="10.1.2.3"), BASE)


async def test_without_the_setting_the_host_is_the_base(door: Door) -> None:
    assert_public(await everything(door, host="localhost:8080"), "http://localhost:8080/fhir")
    assert_public(await everything(door, host="[::1]:8080"), "http://[::1]:8080/fhir")
    assert_public(await everything(door, host="fhir_server:80"), "http://fhir_server:80/fhir")


@pytest.mark.parametrize("headers", ATTACKS)
async def test_others_than_trusted_proxies_change_nothing(door: Door, database: str, headers: Pairs) -> None:
    for client in ("203.0.113.9", "10.1.2.3", "unix"):
        assert_public(await everything(door, headers=headers, client=client), "http://test/fhir")
    async with opened(database, trusted_proxies=("10.0.0.0/8", "fd00::/8")) as proxied:
        for client in ("203.0.113.9", "11.0.0.1", "fe80::1", ""):
            assert_public(await everything(proxied, headers=headers, client=client), "http://test/fhir")


async def test_a_trusted_proxy_says_how_the_client_came(database: str) -> None:
    async with opened(database, trusted_proxies=("10.0.0.0/8", "fd00::/8")) as door:
        headers = [("x-forwarded-host", "api.example.org, inner"), ("x-forwarded-proto", "https")]
        for client in ("10.1.2.3", "fd00::7"):
            replies = await everything(door, headers=headers, client=client)
            assert_public(replies, "https://api.example.org/fhir")
        prefixed = [*headers, ("x-forwarded-prefix", "/records/")]
        replies = await everything(door, headers=prefixed, client="10.1.2.3")
        assert_public(replies, "https://api.example.org/records/fhir")


@pytest.mark.parametrize(
    "host",
    [
        "",
        " ",
        "a b",
        "a/b",
        "a@b",
        "a#b",
        "a?b",
        '"a',
        "a'b",
        "<a>",
        "a\\b",
        "a:b",
        "a:123456",
        "é",
        "x" * 300,
    ],
)
async def test_hosts_that_are_none_are_not_repeated(door: Door, host: str) -> None:
    reply = await door.json("POST", "/Patient", PATIENT, host=host)
    assert reply.status == 201
    assert (reply.header("location") or "").startswith("http://127.0.0.1:8080/fhir/Patient/")


async def test_page_links_lead_on_under_every_name(public: Door) -> None:
    for _ in range(3):
        await public.created(PATIENT)
    seen: list[str] = []
    target = "/Patient?_count=1&family=müller&_sort=_id"
    while target:
        bundle = (await public.ask("GET", target.encode(), host=EVIL)).resource()
        seen += [entry["resource"]["id"] for entry in bundle.get("entry", ())]
        following = [link["url"] for link in bundle["link"] if link["relation"] == "next"]
        target = following[0].removeprefix(BASE) if following else ""
        assert target.startswith("/Patient?") or not following
    assert len(seen) == len(set(seen)) > 3 and seen == sorted(seen)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (f"{BASE}/Patient/1", "Patient/1"),
        (f"{ALIAS}/Patient/1", "Patient/1"),
        (f"{BASE}/Patient/1/_history/2", "Patient/1/_history/2"),
        (f"{ALIAS}/Patient/1#part", "Patient/1#part"),
        ("Patient/1", "Patient/1"),
        ("urn:uuid:c757873d-ec9a-4326-a141-556f43239520", None),
        ("https://fhir.example.org/r4x/Patient/1", None),
        ("https://fhir.example.org/Patient/1", None),
        ("https://fhir.example.org.evil.com/r4/Patient/1", None),
        ("https://fhir.example.org@evil.com/r4/Patient/1", None),
        ("http://fhir.example.org/r4/Patient/1", None),
        ("https://FHIR.example.org/r4/Patient/1", None),
        ("https://fhir.example.org/r4//Patient/1", None),
        ("https://fhir.example.org/r4/../r4/Patient/1", None),
        ("http://test/fhir/Patient/1", None),
        (f"http://{EVIL}/fhir/Patient/1", None),
    ],
)
async def test_own_absolute_references_become_relative(public: Door, given: str, kept: str | None) -> None:
    nested = {"url": "http://example.org/x", "valueReference": {"reference": given}}
    inside = {"resourceType": "Encounter", "id": "e", "status": "planned", "class": {"code": "AMB"}}
    body = observation(
        given,
        extension=[nested],
        contained=[inside | {"subject": {"reference": given}}],
        encounter={"reference": "#e"},
        note=[{"text": given}],
        identifier=[{"system": "urn:x", "value": given}],
    )
    want = kept or given
    made = await public.created(body, host=EVIL)
    path = f"/Observation/{made['id']}"
    put = await public.json("PUT", path, made | {"subject": {"reference": given}, "focus": [made["subject"]]})
    assert put.status == 200
    operation = {"op": "add", "path": "/performer", "value": [{"reference": given}]}
    headers = [("content-type", "application/json-patch+json")]
    patched = (await public.ask("PATCH", path, json.dumps([operation]).encode(), headers)).resource()
    entry = {"resource": body, "request": {"method": "POST", "url": "Observation"}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    done = (await public.json("POST", "/", bundle, [("prefer", "return=representation")])).resource()
    for resource in (made, put.resource(), patched, done["entry"][0]["resource"]):
        assert resource["subject"] == {"reference": want}
        assert resource["extension"][0]["valueReference"] == {"reference": want}
        assert resource["contained"][0]["subject"] == {"reference": want}
        assert resource["note"][0]["text"] == resource["identifier"][0]["value"] == given
    assert patched["performer"] == [{"reference": want}]


async def test_absolute_and_relative_references_find_the_same(public: Door) -> None:
    patient = await public.created(PATIENT)
    target = f"Patient/{patient['id']}"
    for reference in (target, f"{BASE}/{target}", f"{ALIAS}/{target}"):
        await public.created(observation(reference))
    for asked in (target, patient["id"], f"{BASE}/{target}", f"{ALIAS}/{target}"):
        bundle = (await public.ask("GET", f"/Observation?subject={asked}")).resource()
        assert bundle["total"] == 3, asked
    other = (await public.ask("GET", f"/Observation?subject=http://{EVIL}/{target}")).resource()
    assert other["total"] == 0


async def test_entries_may_name_this_server_in_full(public: Door) -> None:
    made = await public.created(PATIENT)
    for base in (BASE, ALIAS):
        entry = {"request": {"method": "GET", "url": f"{base}/Patient/{made['id']}"}}
        for kind in ("batch", "transaction"):
            bundle = {"resourceType": "Bundle", "type": kind, "entry": [entry]}
            done = (await public.json("POST", "/", bundle)).resource()
            assert done["entry"][0]["resource"] == made


async def test_no_name_of_a_request_gets_into_the_database(database: str) -> None:
    async with opened(database, trusted_proxies=("10.0.0.0/8",)) as door, contents(database) as stored:
        for headers in ATTACKS:
            for client in ("203.0.113.9", "10.1.2.3"):
                await everything(door, headers=headers, client=client, host=EVIL)
        row = await stored.connection.fetchrow(
            "SELECT count(*) AS all, count(*) FILTER (WHERE r::text LIKE '%evil%') AS evil FROM resource r"
            " WHERE type = 'Patient'"
        )
        assert row is not None and row["all"] > 10 and row["evil"] == 0
        indexed = await stored.connection.fetchval("SELECT count(*) FROM str WHERE val LIKE '%evil%'")
        assert indexed == 0
