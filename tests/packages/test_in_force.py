"""What a package brings is in force at once, in every process: profiles, terminology, what is announced."""

import asyncio
import copy
import time
from pathlib import Path
from typing import Any

import httpx

from tests.packages.conftest import Command
from tests.packages.test_us_core import CORE, metadata, supported
from tests.support.guides import package
from tests.support.server import serving

Resource = dict[str, Any]
ANNOUNCED_S_MAX = 30.0
PATIENT = f"{CORE}/StructureDefinition/us-core-patient"
STATUS = f"{CORE}/ValueSet/us-core-observation-smoking-status-status"


async def issues(http: httpx.AsyncClient, resource: Resource, *severities: str) -> list[str]:
    """Where $validate finds something, and what."""
    answer = await http.post(f"/{resource['resourceType']}/$validate", json=resource)
    assert answer.status_code == 200, answer.text
    return [
        f"{one['expression'][0]}: {one['diagnostics']}"
        for one in answer.json()["issue"]
        if one["severity"] in severities
    ]


def changed(resource: Resource, **more: Any) -> Resource:
    """A copy; what is None is left out."""
    made = copy.deepcopy(resource) | more
    return {name: value for name, value in made.items() if value is not None}


async def announced(http: httpx.AsyncClient, profiles: list[str] | None) -> None:
    """Wait until these profiles of Patient are, which nobody asks the database for at each request."""
    deadline = time.monotonic() + ANNOUNCED_S_MAX
    while supported(await metadata(http)).get("Patient") != profiles:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def test_in_all_processes(command: Command, fresh: str, guides: Path) -> None:
    """One process installs; another one judges by it, refuses by it and announces it; a third removes."""
    archive = guides / "us_core_700.tgz"
    examples = package(archive).examples
    patient = examples["Patient-example"]
    async with (
        serving(fresh, package_registries="off") as one,
        serving(fresh, package_registries="off", validation='{"Patient": "claimed"}') as other,
    ):
        assert await issues(other, changed(patient, name=None), "error") == []
        assert any(PATIENT in text for text in await issues(other, patient, "warning"))
        answer = await one.post(
            "/$install-package?without-dependencies=true",
            content=archive.read_bytes(),
            headers={"Content-Type": "application/gzip"},
        )
        assert answer.status_code == 200, answer.text

        assert await issues(other, patient, "error") == []
        assert not any(PATIENT in text for text in await issues(other, patient, "warning"))
        nameless = await issues(other, changed(patient, name=None), "error")
        assert [text.partition(":")[0] for text in nameless] == ["Patient.name"]
        await judged_by_its_terms(other, examples["Observation-some-day-smoker"])

        refused = await other.post("/Patient", json=changed(patient, id=None, name=None))
        assert refused.status_code == 422, refused.text
        taken = await other.post("/Patient", json=changed(patient, id=None))
        assert taken.status_code == 201, taken.text

        await announced(other, [PATIENT])

        code, said = await asyncio.to_thread(command, "remove", "hl7.fhir.us.core")
        assert code == 0, said
        assert await issues(other, changed(patient, name=None), "error") == []
        assert any(PATIENT in text for text in await issues(other, patient, "warning"))
        await announced(other, None)


async def judged_by_its_terms(http: httpx.AsyncClient, smoking: Resource) -> None:
    """A required binding whose value set came with the package; and all of a code system."""
    assert await issues(http, smoking, "error") == []
    (found,) = await issues(http, changed(smoking, status="preliminary"), "error")
    assert found.startswith("Observation.status: ") and STATUS in found

    url = f"{CORE}/ValueSet/us-core-documentreference-category"
    system = f"{CORE}/CodeSystem/us-core-documentreference-category"
    for code, member in (("clinical-note", True), ("shopping-list", False)):
        answer = await http.get(
            "/ValueSet/$validate-code", params={"url": url, "system": system, "code": code}
        )
        values = {part["name"]: part for part in answer.json()["parameter"]}
        assert values["result"]["valueBoolean"] is member, answer.text
