"""`fhirserver load` of real data into a running server: nothing is refused and nothing is lost."""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhirserver.fhir import json
from fhirserver.fhir.links import holders
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.policy.restriction import RECORDED
from tests.support.server import process

Resource = dict[str, Any]


@pytest.fixture(scope="module")
def folders(shared_data: Path) -> list[Path]:
    return [shared_data / "synthea-r4", shared_data / "us-core-patients"]


@pytest.fixture(scope="module")
def base(database: str) -> Iterator[str]:
    with process(environment={"DATABASE_URL": database, "FHIRSERVER_DEVELOPMENT": "true"}) as server:
        yield server.url


@pytest.fixture(scope="module")
def loaded(base: str, folders: list[Path]) -> str:
    """What the command said."""
    done = subprocess.run(
        [sys.executable, "-m", "fhirserver", "load", "--no-progress", "--url", base, *map(str, folders)],
        env=os.environ | {"NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def entries(folders: list[Path]) -> list[Resource]:
    """Every entry of the Bundles, and what stands alone as an update of itself."""
    found: list[Resource] = []
    for file in sorted(file for folder in folders for file in folder.glob("*.json")):
        resource = json.loads(file.read_bytes())
        url = f"{resource['resourceType']}/{resource.get('id')}"
        method = "PUT"
        if resource["resourceType"] in RECORDED:
            method, url = "POST", resource["resourceType"]
        alone = [{"resource": resource, "request": {"method": method, "url": url}}]
        found += resource["entry"] if resource["resourceType"] == "Bundle" else alone
    return found


def distinct(entries: list[Resource]) -> Counter[str]:
    """How many resources of each type the entries make: one for each create and for each id."""
    creates = [entry["request"]["url"] for entry in entries if entry["request"]["method"] == "POST"]
    ids = {entry["request"]["url"] for entry in entries if entry["request"]["method"] == "PUT"}
    assert len(creates) + sum(entry["request"]["method"] == "PUT" for entry in entries) == len(entries)
    return Counter([*creates, *(url.partition("/")[0] for url in ids)])


def test_everything_is_stored(loaded: str, entries: list[Resource]) -> None:
    said = re.search(r"([\d,]+) resources in [\d.]+ s", loaded)
    assert said is not None, loaded
    assert int(said[1].replace(",", "")) == len(entries)


def test_the_counts_are_those_of_the_files(base: str, loaded: str, entries: list[Resource]) -> None:
    with httpx.Client(base_url=base, timeout=60) as http:
        params = {"_summary": "count", "_total": "accurate"}
        totals = {
            resource_type: http.get(f"/{resource_type}", params=params).json()["total"]
            for resource_type in sorted(ENDPOINT_TYPES)
        }
    assert +Counter(totals) == distinct(entries)


def test_pages_show_each_once_and_references_lead_to_it(
    base: str, loaded: str, entries: list[Resource]
) -> None:
    """What entries called each other by has become the path of a stored resource."""
    temporary = {entry["fullUrl"] for entry in entries if "fullUrl" in entry}
    stored: set[str] = set()
    targets: set[str] = set()
    with httpx.Client(base_url=base, timeout=60) as http:
        for resource_type, count in distinct(entries).items():
            found = list(paged(http, f"/{resource_type}?_count=300"))
            paths = {f"{resource_type}/{resource['id']}" for resource in found}
            assert len(found) == len(paths) == count
            stored |= paths
            targets |= {holder["reference"] for resource in found for holder in holders(resource)}
    assert len(temporary) > 3000 and not targets & temporary
    relative = {target for target in targets if target.partition("/")[0] in ENDPOINT_TYPES}
    assert len(relative) > 1000
    written = {holder["reference"] for entry in entries for holder in holders(entry["resource"])}
    assert relative - stored <= written  # two that the files themselves leave open


def test_what_is_derived_can_be_derived_again(database: str, loaded: str) -> None:
    """Entries that are made of what is stored are those that were made of what was sent."""
    done = subprocess.run(
        [sys.executable, "-m", "fhirserver", "reindex", "--verify"],
        env=os.environ | {"NO_COLOR": "1", "COLUMNS": "200", "DATABASE_URL": database},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    verified = re.fullmatch(
        r"verified ([\d,]+) versions in [\d.]+ s: 0 are not as they should be\n", done.stdout
    )
    assert verified is not None, done.stdout
    assert int(verified[1].replace(",", "")) > 4_000


def paged(http: httpx.Client, url: str | None) -> Iterator[Resource]:
    """The resources of all pages."""
    while url is not None:
        bundle = json.loads(http.get(url).content)
        yield from (entry["resource"] for entry in bundle.get("entry", []))
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
