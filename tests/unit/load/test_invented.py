"""`fhirserver demo` stores the same people under the same ids, and shows requests that fit them."""

from urllib.parse import parse_qs, urlsplit

from fhirserver import demo
from fhirserver.cli.demo import requests
from fhirserver.cli.loading.invented import store
from tests.unit.load.peer import BASE, Peer


async def test_the_same_ids_every_time() -> None:
    peer = Peer()
    report, star = await store(4, BASE, seed=9, progress=False, transport=peer.transport())
    expected = {f"{found['resourceType']}/{found['id']}" for found in demo.resources(4, seed=9)}
    assert set(peer.stored) == expected
    assert report.failures == []
    assert report.resources == len(expected)
    await store(4, BASE, seed=9, progress=False, transport=peer.transport())
    assert set(peer.stored) == expected
    assert f"Patient/{star['id']}" in expected


async def test_the_requests_shown_name_a_stored_patient() -> None:
    peer = Peer()
    _, star = await store(3, BASE, progress=False, transport=peer.transport())
    shown = requests(star, BASE)
    assert shown[0] == f"{BASE}/Patient/{star['id']}"
    query = parse_qs(urlsplit(shown[1]).query)["identifier"][0]
    assert query.split("|")[1] == star["identifier"][0]["value"]
    assert all("'" not in address for address in shown)
