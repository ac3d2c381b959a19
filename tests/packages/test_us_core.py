"""US Core by the command and by the door: installed, announced, searched by, side by side, removed."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhirserver.fhir.validate import issues
from tests.packages.conftest import Command
from tests.packages.support import current, rows
from tests.support.definitions import until
from tests.support.server import serving

CORE = "http://hl7.org/fhir/us/core"
SERVER = f"{CORE}/CapabilityStatement/us-core-server"


async def metadata(http: httpx.AsyncClient) -> dict[str, Any]:
    response = await http.get("/metadata")
    assert response.status_code == 200 and issues(response.json()) == []
    return response.json()


def supported(statement: dict[str, Any]) -> dict[str, list[str]]:
    return {
        one["type"]: one["supportedProfile"]
        for one in statement["rest"][0]["resource"]
        if "supportedProfile" in one
    }


def test_it_installs_once_and_goes_without_a_trace(command: Command, fresh: str, guides: Path) -> None:
    code, said = command("install", guides / "us_core_700.tgz", "--without-dependencies")
    assert code == 0, said
    assert "installed hl7.fhir.us.core@7.0.0: 211 new" in said
    assert "without: us.nlm.vsac@0.18.0" in said
    before = asyncio.run(current(fresh))
    assert len(before) == 211 and set(before.values()) == {1}
    assert command("install", guides / "us_core_700.tgz", "--without-dependencies") == (
        0,
        "hl7.fhir.us.core@7.0.0 is here already: nothing to do",
    )
    code, said = command("install", guides / "us_core_700.tgz", "--without-dependencies", "--overwrite")
    assert (code, said.partition(" without")[0]) == (0, "installed hl7.fhir.us.core@7.0.0: 211 unchanged")
    assert asyncio.run(current(fresh)) == before
    code, said = command("list")
    assert code == 0 and said.startswith(
        "hl7.fhir.us.core@7.0.0 211 resources, without hl7.fhir.uv.extensions@"
    )
    assert command("remove", "hl7.fhir.us.core") == (
        0,
        "removed hl7.fhir.us.core@7.0.0: 211 resources deleted",
    )
    assert asyncio.run(current(fresh)) == {}
    assert asyncio.run(rows(fresh, "SELECT FROM package_resource")) == []
    assert command("install", guides / "us_core_700.tgz", "--without-dependencies")[0] == 0
    assert set(asyncio.run(current(fresh)).values()) == {3}


def test_what_it_depends_on_is_asked_for(command: Command, fresh: str, guides: Path) -> None:
    code, said = command("install", guides / "us_core_700.tgz", "--offline")
    assert code == 1
    for name in ("hl7.terminology.r4@5.5.0", "us.nlm.vsac@0.18.0", "hl7.fhir.uv.sdc@3.0.0"):
        assert f"{name}, which hl7.fhir.us.core@7.0.0 depends on: is nowhere to be found" in said
    assert "hl7.fhir.r4.core" not in said
    assert asyncio.run(current(fresh)) == {}
    assert command("install", guides / "us_core_311.tgz", "--offline")[0] == 0


async def test_through_the_door(fresh: str, guides: Path) -> None:
    archive = (guides / "us_core_700.tgz").read_bytes()
    async with serving(fresh, package_registries="off") as http:
        plain = await metadata(http)
        assert not plain.keys() & {"instantiates", "implementationGuide"} and supported(plain) == {}
        answer = await http.post(
            "/$install-package?without-dependencies=true",
            content=archive,
            headers={"Content-Type": "application/gzip"},
        )
        assert answer.status_code == 200, answer.text
        assert issues(answer.json()) == []
        said = {part["name"]: part for part in answer.json()["parameter"]}
        assert said["package"]["valueString"] == "hl7.fhir.us.core@7.0.0"
        assert said["created"]["valueInteger"] == 211
        statement = await metadata(http)
        assert statement["instantiates"] == [SERVER]
        assert statement["implementationGuide"] == [f"{CORE}/ImplementationGuide/hl7.fhir.us.core|7.0.0"]
        profiles = supported(statement)
        assert profiles["Patient"] == [f"{CORE}/StructureDefinition/us-core-patient"]
        assert len(profiles["Observation"]) > 20 and "Extension" not in profiles
        normative = (await http.get("/metadata?mode=normative")).json()
        assert normative["instantiates"] == [SERVER] and supported(normative) == {}
        patient = await http.get("/StructureDefinition/us-core-patient")
        assert patient.json()["version"] == "7.0.0" and patient.json()["meta"]["versionId"] == "1"
        found = await http.get("/StructureDefinition", params={"url": patient.json()["url"]})
        assert found.json()["total"] == 1
        await searched_by_race(http)


async def searched_by_race(http: httpx.AsyncClient) -> None:
    """A search parameter of the guide is built and then found by, as one that was posted."""
    race = {
        "url": f"{CORE}/StructureDefinition/us-core-race",
        "extension": [
            {
                "url": "ombCategory",
                "valueCoding": {"system": "urn:oid:2.16.840.1.113883.6.238", "code": "2106-3"},
            }
        ],
    }
    created = await http.post("/Patient", json={"resourceType": "Patient", "extension": [race]})
    assert created.status_code == 201
    found = await http.get("/SearchParameter", params={"code": "race", "base": "Patient"})
    (entry,) = found.json()["entry"]
    await until(http, entry["resource"]["id"], "complete")
    assert (await http.get("/Patient?race=2106-3")).json()["total"] == 1
    assert (await http.get("/Patient?race=2054-5")).json()["total"] == 0


async def test_versions_side_by_side(fresh: str, guides: Path) -> None:
    async with serving(fresh, package_registries="off") as http:
        for file in ("us_core_311", "us_core_610", "us_core_700"):
            answer = await http.post(
                "/$install-package?without-dependencies=true",
                content=(guides / f"{file}.tgz").read_bytes(),
                headers={"Content-Type": "application/octet-stream"},
            )
            assert answer.status_code == 200, answer.text
        url = f"{CORE}/StructureDefinition/us-core-patient"
        found = (await http.get("/StructureDefinition", params={"url": url})).json()["entry"]
        ids = {one["resource"]["version"]: one["resource"]["id"] for one in found}
        assert ids == {
            "3.1.1": "us-core-patient",
            "6.1.0": "us-core-patient-6.1.0",
            "7.0.0": "us-core-patient-7.0.0",
        }
        statement = await metadata(http)
        assert statement["instantiates"] == [SERVER] and len(statement["implementationGuide"]) == 3
        assert supported(statement)["Patient"] == [url, f"{url}|3.1.1", f"{url}|6.1.0", f"{url}|7.0.0"]
        guide = await http.get("/ImplementationGuide/hl7.fhir.us.core-7.0.0")
        named = [one["reference"]["reference"] for one in guide.json()["definition"]["resource"]]
        assert "StructureDefinition/us-core-patient-7.0.0" in named
        assert "StructureDefinition/us-core-patient" not in named
        one = (await http.get("/StructureDefinition", params={"url": f"{url}|6.1.0"})).json()["entry"]
        assert [entry["resource"]["id"] for entry in one] == ["us-core-patient-6.1.0"]


def test_the_other_version_of_a_parameter_takes_over(command: Command, fresh: str, guides: Path) -> None:
    in_force = "SELECT id FROM search_param WHERE state <> 'dropping' AND definition->>'code' = 'race'"
    assert command("install", guides / "us_core_311.tgz")[0] == 0
    assert asyncio.run(rows(fresh, in_force)) == [("us-core-race",)]
    code, said = command("install", guides / "us_core_700.tgz", "--without-dependencies")
    assert code == 0 and "search parameters: another version of them is in force" in said
    assert asyncio.run(rows(fresh, in_force)) == [("us-core-race",)]
    assert command("remove", "hl7.fhir.us.core@3.1.1")[0] == 0
    assert asyncio.run(rows(fresh, in_force)) == [("us-core-race-7.0.0",)]
    assert asyncio.run(rows(fresh, "SELECT count(DISTINCT version) FROM package_resource")) == [(1,)]


def test_examples_are_installed_when_they_are_asked_for(command: Command, fresh: str, guides: Path) -> None:
    assert command("install", guides / "us_core_311.tgz")[0] == 0
    without = asyncio.run(current(fresh))
    assert not any(path.startswith("Patient/") for path in without)
    code, said = command("install", guides / "us_core_311.tgz", "--examples")
    assert code == 1 and "package/example/DiagnosticReport-cardiology-report.json" in said
    code, said = command("install", guides / "us_core_311.tgz", "--examples", "--skip-invalid")
    assert code == 0 and "146 unchanged" in said and "left out, as it is not valid: package/example/" in said
    with_them = asyncio.run(current(fresh))
    assert "Patient/example" in with_them and without.items() <= with_them.items()
    assert command("remove", "hl7.fhir.us.core")[0] == 0
    assert asyncio.run(current(fresh)) == {}


@pytest.mark.parametrize("file", ["us_core_501", "us_core_610"])
def test_the_others_are_installed_too(command: Command, fresh: str, guides: Path, file: str) -> None:
    code, said = command(
        "install", guides / f"{file}.tgz", "--without-dependencies", "--examples", "--skip-invalid"
    )
    assert code == 0, said
    assert command("remove", "hl7.fhir.us.core")[0] == 0
    assert asyncio.run(current(fresh)) == {}
