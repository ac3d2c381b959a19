"""package.json, and the resources of a package."""

from pathlib import Path
from typing import Any

import pytest

from fhirserver.errors import Structure, Unprocessable
from fhirserver.fhir.package.archive import Archive
from fhirserver.fhir.package.content import DEFINITIONS, content_of, resources
from fhirserver.fhir.package.manifest import is_name, manifest_of
from tests.support.archives import code_system, manifest, package, packed, profile, value_set


def of(data: bytes) -> Archive:
    return Archive.of_bytes(data, "x.tgz")


def described(**about: Any) -> Any:
    return manifest_of(of(packed({"package/package.json": manifest(**about)})))


def test_a_manifest() -> None:
    found = described(
        title="A guide",
        dependencies={
            "hl7.fhir.r4.core": "4.0.1",
            "v1@npm:test.other": "1.0.0",
            "alias.of": "npm:test.third@2.0.x",
        },
    )
    assert (found.label, found.title, found.canonical) == (
        "test.guide@1.0.0",
        "A guide",
        "http://example.org/test.guide",
    )
    assert found.dependencies == (
        ("hl7.fhir.r4.core", "4.0.1"),
        ("test.other", "1.0.0"),
        ("test.third", "2.0.x"),
    )


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"name": None}, "'name' is absent"),
        ({"name": "plain"}, "'name' is 'plain'"),
        ({"name": "../../etc.x"}, "'name'"),
        ({"name": "@scope/x.y"}, "'name'"),
        ({"name": 7}, "'name' is 7"),
        ({"version": None}, "'version' is absent"),
        ({"version": "latest"}, "'version'"),
        ({"version": "1/../2"}, "'version'"),
        ({"dependencies": ["x"]}, "'dependencies'"),
        ({"dependencies": {"x.y": 1}}, "'dependencies'"),
        ({"dependencies": {"../x": "1.0.0"}}, "'dependencies'"),
        ({"dependencies": {f"x.y{number}": "1.0.0" for number in range(201)}}, "more than 200"),
    ],
)
def test_manifests_that_are_refused(about: dict[str, Any], said: str) -> None:
    with pytest.raises(Structure, match=said):
        described(**about)


@pytest.mark.parametrize("versions", [["5.0.0"], ["4.3.0"], ["3.0.2"], ["1.0.2", "5.0.0"]])
def test_another_version_of_fhir_is_refused(versions: list[str]) -> None:
    with pytest.raises(Unprocessable, match=r"is for FHIR .*; this server speaks 4\.0\.1"):
        described(fhirVersions=versions)


def test_the_version_of_fhir_by_other_properties() -> None:
    old = {"fhirVersions": None, "dependencies": {}}
    assert described(**old, **{"fhir-version-list": ["4.0.1"]}).is_r4
    assert described(**old).is_r4
    assert described(fhirVersions=["5.0.0", "4.0.0"]).is_r4
    with pytest.raises(Unprocessable, match=r"5\.0\.0"):
        described(fhirVersions=None, dependencies={"hl7.fhir.r5.core": "5.0.0"})


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"package/a.json": {}}, "no package/package.json"),
        ({"package.json": manifest()}, "no package/package.json"),
        ({"package/package.json": b"{"}, "package.json"),
        ({"package/package.json": b"[]"}, "no.* JSON object|not a JSON object"),
        ({"package/package.json": manifest(), "package/a.json": b'{"resourceType": "ValueSet", '}, "a.json"),
        ({"package/package.json": manifest(), "package/a.json": b"\xff"}, "a.json"),
        ({"package/package.json": manifest(), "package/a.json": b"[" * 100_000}, "a.json"),
    ],
)
def test_broken_packages(files: dict[str, Any], said: str) -> None:
    with pytest.raises(Structure, match=said):
        content_of(of(packed(files)))


def test_what_is_a_resource_of_a_package_and_what_is_not() -> None:
    naming = {"resourceType": "NamingSystem", "id": "n", "name": "N", "status": "active"}
    patient = {"resourceType": "Patient", "id": "p"}
    data = package(
        value_set("v", "1.0.0", "http://example.org/CodeSystem/c"),
        profile("patient"),
        naming,
        files={
            "package/Patient-p.json": patient,
            "package/.index.json": {"index-version": 2, "files": []},
            "package/other.json": {"anything": 1},
            "package/list.json": [1],
            "package/a.xml": b"<x/>",
            "package/other/broken.json": b"{",
            "package/example/Patient-e.json": patient | {"id": "e"},
            "package/example/.index.json": b"{}",
        },
    )
    found = content_of(of(data))
    by_type = {item.type: item for item in found.items}
    assert by_type.keys() == {"ValueSet", "StructureDefinition", "NamingSystem"}
    assert found.passed_over == 3
    assert by_type["ValueSet"].canonical == "http://example.org/ValueSet/v|1.0.0"
    assert "http://example.org/CodeSystem/c" in by_type["ValueSet"].mentions
    assert by_type["StructureDefinition"].profiles == "Patient"
    assert by_type["NamingSystem"].canonical == "http://example.org/test.guide/NamingSystem/n"
    everything = content_of(of(data), examples=True)
    assert {item.canonical for item in everything.items} - {item.canonical for item in found.items} == {
        "Patient/e"
    }
    read = dict(resources(found, frozenset({by_type["ValueSet"].file})))
    assert [one["id"] for one in read.values()] == ["v"]


def test_the_same_resource_in_two_files() -> None:
    """As some guides have it: once under its own name, once under that of the guide."""
    guide = value_set("g")
    found = content_of(of(package(guide, files={"package/a.json": guide, "package/z.json": guide})))
    assert [item.file for item in found.items] == ["package/ValueSet-g.json"] and found.passed_over == 2
    with pytest.raises(Structure, match="are both"):
        content_of(of(package(guide, files={"package/a.json": guide | {"id": "other"}})))


def test_ids_that_cannot_be_ones() -> None:
    made = code_system("c") | {"id": "no id at all"}
    (item,) = content_of(of(packed({"package/package.json": manifest(), "package/c.json": made}))).items
    assert len(item.id) == 32


def test_names() -> None:
    assert all(map(is_name, ("hl7.fhir.us.core", "de.basisprofil.r4", "us.nlm.vsac", "KBV.Basis", "a.1-b")))
    assert not any(
        map(is_name, ("core", "a..b", ".a.b", "a/b.c", "@a/b.c", "a.b ", "a.b\n", "é.b", "a." * 80 + "b"))
    )


def test_people_and_devices_are_no_definitions() -> None:
    assert not DEFINITIONS & {"Patient", "Device", "Contract", "Person", "Subscription", "Endpoint"}


@pytest.mark.parametrize(
    ("file", "label", "items", "profiles"),
    [
        ("us_core_311", "hl7.fhir.us.core@3.1.1", 146, 26),
        ("us_core_501", "hl7.fhir.us.core@5.0.1", 193, 45),
        ("us_core_610", "hl7.fhir.us.core@6.1.0", 210, 49),
        ("us_core_700", "hl7.fhir.us.core@7.0.0", 211, 52),
    ],
)
def test_us_core(shared_data: Path, file: str, label: str, items: int, profiles: int) -> None:
    found = content_of(Archive.of_path(shared_data / f"us-core-igs/{file}.tgz"))
    assert found.manifest.label == label
    assert (len(found.items), sum(item.profiles is not None for item in found.items)) == (items, profiles)
    served = [item.url for item in found.items if item.serves]
    assert served == ["http://hl7.org/fhir/us/core/CapabilityStatement/us-core-server"]
