"""Loading files: what is sent for which file, and what is said when it fails."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.responses import Response

from fhirserver.cli.loading import Report, Unreachable, load, units
from tests.unit.load.peer import BASE, Peer, Refusal


async def run(peer: Peer, *paths: Path, concurrency: int = 3) -> Report:
    return await load(paths, BASE, concurrency, progress=False, transport=peer.transport())


def patient(id_: str | None, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", **({"id": id_} if id_ else {}), **more}


def write(path: Path, value: Any) -> Path:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


async def test_a_resource_goes_out_as_the_bytes_of_its_file(tmp_path: Path) -> None:
    text = b'{ "resourceType":"Observation","id":"a","valueQuantity":{"value":1.50E2} }\n'
    peer = Peer()
    report = await run(peer, write(tmp_path / "a.json", text))
    assert peer.requests == [("PUT", "Observation/a", "application/fhir+json")]
    assert peer.bodies == [text]
    assert (report.resources, report.failures) == (1, [])


async def test_a_resource_without_id_is_created(tmp_path: Path) -> None:
    peer = Peer()
    await run(peer, write(tmp_path / "a.json", patient(None)))
    assert peer.requests[0][:2] == ("POST", "Patient")


@pytest.mark.parametrize("kind", ["transaction", "batch"])
async def test_transactions_and_batches_go_out_untouched(tmp_path: Path, kind: str) -> None:
    entry = {"resource": patient("a"), "request": {"method": "PUT", "url": "Patient/a"}}
    text = json.dumps({"resourceType": "Bundle", "type": kind, "entry": [entry]}, indent=3).encode()
    peer = Peer()
    report = await run(peer, write(tmp_path / "bundle.json.gz", text))
    assert peer.requests == [("POST", "", "application/fhir+json")]
    assert peer.bodies == [text]
    assert report.resources == 1


@pytest.mark.parametrize("kind", ["collection", "searchset"])
async def test_other_bundles_are_taken_apart(tmp_path: Path, kind: str) -> None:
    entries = [
        {"fullUrl": "http://elsewhere/Patient/a", "resource": patient("a"), "search": {"mode": "match"}},
        {"resource": {"resourceType": "OperationOutcome", "issue": []}, "search": {"mode": "outcome"}},
        {"resource": patient(None)},
        {"fullUrl": "http://elsewhere/Patient/gone"},
    ]
    peer = Peer()
    report = await run(
        peer, write(tmp_path / "b.json", {"resourceType": "Bundle", "type": kind, "entry": entries})
    )
    sent = json.loads(peer.bodies[0])
    assert [entry["request"] for entry in sent["entry"]] == [
        {"method": "PUT", "url": "Patient/a"},
        {"method": "POST", "url": "Patient"},
    ]
    assert report.resources == 2


async def test_a_document_is_kept_whole(tmp_path: Path) -> None:
    peer = Peer()
    await run(
        peer,
        write(tmp_path / "d.json", {"resourceType": "Bundle", "id": "d", "type": "document", "entry": []}),
    )
    assert peer.requests[0][:2] == ("PUT", "Bundle/d")


async def test_entries_that_refer_to_each_other_by_urn_stay_in_one_transaction(tmp_path: Path) -> None:
    urn = "urn:uuid:6b9b0a5e-3a4e-4f0c-9d5c-6a4f4f0c9d5c"
    entries: list[dict[str, Any]] = [{"fullUrl": urn, "resource": patient(None)}]
    for number in range(units.GROUP_ENTRIES_MAX + 5):
        resource = {"resourceType": "Condition", "id": f"c{number}", "subject": {"reference": urn}}
        entries.append({"fullUrl": f"urn:uuid:{number}", "resource": resource})
    peer = Peer()
    await run(
        peer, write(tmp_path / "c.json", {"resourceType": "Bundle", "type": "collection", "entry": entries})
    )
    assert len(peer.bodies) == 1
    sent = json.loads(peer.bodies[0])
    assert sent["type"] == "transaction"
    assert sent["entry"][0]["fullUrl"] == urn


decimals = st.decimals(allow_nan=False, allow_infinity=False, places=6).map(str) | st.sampled_from(
    ["1.50", "1.0E2", "-0.0", "100000000000000000000.1", "0.1000000000000000055"]
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(decimals, min_size=1, max_size=450))
async def test_lines_are_grouped_and_keep_their_text(tmp_path: Path, numbers: list[str]) -> None:
    lines = [
        f'{{"resourceType":"Observation","id":"o{number}","valueQuantity":{{"value":{value}}}}}'
        for number, value in enumerate(numbers)
    ]
    peer = Peer()
    report = await run(peer, write(tmp_path / "o.ndjson", "\n\n".join(lines).encode() + b"\n"))
    assert report.resources == len(lines)
    assert len(peer.bodies) == -(-len(lines) // units.GROUP_ENTRIES_MAX)
    together = b"".join(peer.bodies).decode()
    assert all(line in together for line in lines)
    assert len(peer.stored) == len(lines)


async def test_one_bad_line_fails_alone_and_is_named(tmp_path: Path) -> None:
    def refuse(resource: dict[str, Any], peer: Peer) -> Refusal | None:
        return (422, "gender is not known") if resource.get("gender") == "x" else None

    lines = [json.dumps(patient(f"p{n}", gender="x" if n == 7 else "male")) for n in range(20)]
    path = write(tmp_path / "p.ndjson.gz", "\n".join(lines).encode())
    report = await run(Peer(refuse), path)
    assert report.resources == 19
    (failure,) = report.failures
    assert (failure.file, failure.entry, failure.status) == (path, "line 8 Patient/p7", 422)
    assert failure.text == "gender is not known"


async def test_what_comes_too_early_is_tried_again(tmp_path: Path) -> None:
    def refuse(resource: dict[str, Any], peer: Peer) -> Refusal | None:
        needed = resource.get("managingOrganization", {}).get("reference")
        return (409, f"{needed} does not exist") if needed and needed not in peer.stored else None

    first = patient("a", managingOrganization={"reference": "Organization/z"})
    write(tmp_path / "1.json", first)
    write(tmp_path / "2.ndjson", json.dumps(first | {"id": "b"}).encode())
    write(tmp_path / "3.json", {"resourceType": "Organization", "id": "z"})
    missing = patient("c", managingOrganization={"reference": "Organization/none"})
    lost = write(tmp_path / "4.json", missing)
    peer = Peer(refuse)
    report = await run(peer, tmp_path, concurrency=1)
    assert set(peer.stored) == {"Patient/a", "Patient/b", "Organization/z"}
    assert report.resources == 3
    assert [(failure.file, failure.status, failure.text) for failure in report.failures] == [
        (lost, 409, "Organization/none does not exist")
    ]


async def test_a_refused_transaction_names_the_entry(tmp_path: Path) -> None:
    entry = {"resource": patient("a"), "request": {"method": "PUT", "url": "Patient/a"}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    report = await run(Peer(lambda resource, peer: (400, "no")), write(tmp_path / "t.json", bundle))
    assert report.resources == 0
    assert [(failure.entry, failure.status, failure.text) for failure in report.failures] == [
        ("entry[0]", 400, "no (Bundle.entry[0].resource)")
    ]


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_server_is_given_the_time_it_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("fhirserver.cli.loading.send.asyncio.sleep", sleep)
    peer = Peer(
        busy=[Response(status_code=status, headers={"Retry-After": "7"}), Response(status_code=status)]
    )
    report = await run(peer, write(tmp_path / "a.json", patient("a")), concurrency=1)
    assert report.resources == 1
    assert waits == [7.0, 14.0]


async def test_hospitals_then_practitioners_then_the_rest(tmp_path: Path) -> None:
    for name, id_ in (
        ("a_patient.json", "3"),
        ("practitionerInformation1559.json", "2"),
        ("hospitalInformation1559.json", "1"),
    ):
        write(tmp_path / name, patient(id_))
    peer = Peer()
    await run(peer, tmp_path)
    assert [url for _, url, _ in peer.requests] == ["Patient/1", "Patient/2", "Patient/3"]


async def test_folders_are_searched_and_unreadable_files_named(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    write(tmp_path / "deep" / "er" / "a.json", patient("a"))
    write(tmp_path / ".hidden" / "b.json", patient("b"))
    (tmp_path / "readme.txt").write_text("not data")
    broken = [
        write(tmp_path / "1.json", b'{"resourceType": '),
        write(tmp_path / "2.json", b'{"no": "type"}'),
        write(tmp_path / "3.ndjson", b'{"resourceType":"Patient","id":"x"}\nnonsense\n'),
        write(tmp_path / "4.xml", b"<Patient/>"),
    ]
    zipped = tmp_path / "5.json.gz"
    zipped.write_bytes(b"not compressed")
    peer = Peer()
    report = await run(peer, tmp_path)
    assert "Patient/a" in peer.stored
    assert "Patient/b" not in peer.stored
    assert sorted(failure.file for failure in report.failures) == [*broken, zipped]
    assert "Patient/x" in peer.stored
    assert [failure.entry for failure in report.failures if failure.file.name == "3.ndjson"] == ["line 2"]


async def test_an_unknown_ending_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    peer = Peer()
    with pytest.raises(ValueError, match="must end in"):
        await run(peer, write(tmp_path / "a.json", patient("a")), write(tmp_path / "b.csv", b""))
    assert peer.bodies == []


async def test_xml_goes_out_as_it_is_and_collections_become_transactions(tmp_path: Path) -> None:
    single = b'<Patient xmlns="http://hl7.org/fhir"><id value="a"/></Patient>'
    write(tmp_path / "1.xml", single)
    write(
        tmp_path / "2.xml",
        b'<Bundle xmlns="http://hl7.org/fhir"><type value="searchset"/><total value="1"/><entry>'
        b'<fullUrl value="http://x/Patient/b"/><resource><Patient><id value="b"/>'
        b'<multipleBirthInteger value="2"/></Patient></resource><search><mode value="match"/></search>'
        b"</entry></Bundle>",
    )
    peer = Peer()
    report = await run(peer, tmp_path, concurrency=1)
    assert report.failures == []
    assert peer.requests == [
        ("PUT", "Patient/a", "application/fhir+xml"),
        ("POST", "", "application/fhir+xml"),
    ]
    assert peer.bodies[0] == single
    text = peer.bodies[1].decode()
    assert '<type value="transaction"/>' in text
    assert '<request><method value="PUT"/><url value="Patient/b"/></request></entry>' in text
    assert "search" not in text.replace("searchset", "")


async def test_nothing_there() -> None:
    with pytest.raises(Unreachable, match="nothing answers"):
        await load([], "http://127.0.0.1:1/fhir", progress=False)
