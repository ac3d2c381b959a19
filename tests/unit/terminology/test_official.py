"""R4's own value sets from its own resources, against the table that is derived from its definitions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fhirserver.errors import FhirError
from fhirserver.fhir.structure import value_sets
from fhirserver.terminology.cache import Cache
from fhirserver.terminology.codesystem import CodeSystem
from fhirserver.terminology.service import Terminology
from tests.conftest import SHARED
from tests.unit.terminology.library import Shelf

EXAMPLES = SHARED / "r4-examples-json"


@pytest.fixture(scope="module")
def examples() -> dict[str, list[dict[str, Any]]]:
    if not EXAMPLES.is_dir():
        pytest.skip("the R4 examples are not at ../shared/data")
    found: dict[str, list[dict[str, Any]]] = {"CodeSystem": [], "ValueSet": []}
    for path in EXAMPLES.glob("*.json"):
        resource = json.loads(path.read_text())
        if resource["resourceType"] in found and "url" in resource:
            found[resource["resourceType"]].append(resource)
    return found


def is_abstract(system: CodeSystem, code: str) -> bool:
    """Codes that no resource may carry, but by which others are found; the table leaves them out."""
    return "true" in (*system.values(code, "abstract"), *system.values(code, "notSelectable"))


async def test_required_value_sets(examples: dict[str, list[dict[str, Any]]]) -> None:
    shelf = Shelf([*examples["CodeSystem"], *examples["ValueSet"]])
    service = Terminology(shelf, Cache(), 100_000)
    compared = 0
    for url, expected in value_sets().items():
        if expected is None or url not in shelf.sets:
            continue
        found = await service.codes_of(await service.value_set(url))
        for system in expected.keys() | found.codes.keys():
            held = shelf.systems.get(system)
            abstract = {code for code in found.of(system) if held is not None and is_abstract(held, code)}
            assert set(found.of(system)) - abstract == expected.get(system, frozenset()) - abstract, (
                url,
                system,
            )
            compared += 1
    assert compared > 200


async def test_every_value_set_has_codes_or_says_why_not(examples: dict[str, list[dict[str, Any]]]) -> None:
    shelf = Shelf([*examples["CodeSystem"], *examples["ValueSet"]])
    service = Terminology(shelf, Cache(), 100_000)
    known = refused = 0
    for one in shelf.sets.values():
        try:
            assert (await service.codes_of(one)).total > 0, one.url
            known += 1
        except FhirError as error:
            assert error.status == 400 and "'" in str(error)
            refused += 1
    assert known > 500, (known, refused)
