"""docs/how-to/backend-services.md, from its first command to its last."""

import json

import httpx

from tests.howto.pages import Reader, block, blocks

PAGE = "backend-services.md"


def test_the_page_from_top_to_bottom(reader: Reader) -> None:
    key, add, read, elsewhere, register, revoke = blocks(PAGE, "sh")
    reader.type(key)
    assert (reader.folder / "nightly.pem").stat().st_mode & 0o77 == 0
    [public] = json.loads((reader.folder / "jwks.json").read_text())["keys"]
    assert public["crv"] == "P-384" and "d" not in public
    assert "nightly" in reader.type(add)
    found = json.loads(reader.type(read))
    assert [entry["resource"]["id"] for entry in found["entry"]] == ["anna"]
    reader.type(elsewhere)
    assert "weekly" in reader.type("fhirserver client list")
    assert "approved" in reader.type(register)
    reader.type(revoke)
    assert "invalid_client" in _refused(reader, read)
    reader.type("fhirserver client approve nightly")
    assert json.loads(reader.type(read))["entry"]


def _refused(reader: Reader, code: str) -> str:
    with reader.begin(code) as running:
        _, complained = running.communicate(timeout=60)
    assert running.returncode != 0
    return complained


def test_a_service_that_registered_itself_waits_for_approval(reader: Reader) -> None:
    registering = block(PAGE, "sh", "request.json").rpartition("fhirserver client approve")[0]
    reader.type("[ -e nightly.pem ] || python3 docs/how-to/service.py key nightly.pem > jwks.json")
    reader.type(registering)
    made = json.loads((reader.folder / "registered.json").read_text())
    assert made["status"] == "pending"
    base = reader.server.url
    read = f"python3 docs/how-to/service.py read {base} {made['client_id']} nightly.pem Observation"
    assert "invalid_client" in _refused(reader, read)
    reader.type(f"fhirserver client approve {made['client_id']}")
    found = json.loads(reader.type(read))
    assert [entry["resource"]["id"] for entry in found["entry"]] == ["pulse"]
    # It asks for patients, too, and did not register them.
    assert "403" in _refused(reader, read.replace("Observation", "Patient"))
    assert httpx.get(f"{base}/Observation").status_code == 401
