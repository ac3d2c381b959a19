"""What every server knows, against R4's own resources and the table that its required bindings go by."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from fhirserver.errors import FhirError
from fhirserver.fhir.structure import value_sets
from fhirserver.terminology import official
from fhirserver.terminology.builtin import WithBuiltIn
from fhirserver.terminology.cache import Cache
from fhirserver.terminology.codesystem import CodeSystem
from fhirserver.terminology.service import Terminology
from fhirserver.terminology.valueset import ValueSet
from tests.conftest import SHARED
from tests.unit.terminology.library import Shelf, terminology

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


async def test_code_systems_are_those_of_the_resources(examples: dict[str, list[dict[str, Any]]]) -> None:
    """Codes in their order, displays, what stands below what, and how each may be used."""
    compared = 0
    for resource in examples["CodeSystem"]:
        known = official.code_system(resource["url"], None)
        if known is None:
            continue
        assert isinstance(known, CodeSystem)
        expected = CodeSystem(resource)
        assert facts(known) == facts(expected), resource["url"]
        compared += 1
    assert compared > 450, compared


def facts(system: CodeSystem) -> Any:
    return (
        system.url,
        system.content,
        system.case_sensitive,
        [
            (
                one.code,
                one.display,
                set(system.structure.parents(one.code)),
                system.is_abstract(one.code),
                system.is_inactive(one.code),
            )
            for one in system.concepts.values()
        ],
    )


async def test_value_sets_are_those_of_the_resources(examples: dict[str, list[dict[str, Any]]]) -> None:
    compared = 0
    for resource in examples["ValueSet"]:
        known = official.value_set(resource["url"], None)
        if known is None or "compose" not in resource:
            continue
        assert list(parts(known)) == list(parts(ValueSet.of(resource))), resource["url"]
        compared += 1
    assert compared > 600, compared


def parts(value_set: ValueSet) -> Iterator[Any]:
    """Without the versions of R4's own code systems, which come with it, and texts in other languages."""
    for side, found in (("+", value_set.includes), ("-", value_set.excludes)):
        for part in found:
            version = None if part.system and official.code_system(part.system, None) else part.version
            listed = (
                None if part.concepts is None else {code: one.display for code, one in part.concepts.items()}
            )
            yield side, part.system, version, listed, part.filters, part.value_sets


async def test_every_value_set_has_codes_or_says_why_not() -> None:
    service = terminology(codes_max=1_000_000)
    refused: dict[str, str] = {}
    known = 0
    for url in official.value_set_urls():
        try:
            assert (await service.codes_of(await service.value_set(url))).total > 0, url
            known += 1
        except FhirError as error:
            assert error.status == 400 and "'" in str(error)
            refused[url] = str(error)
    assert (known, len(refused)) == (1222, 95), refused


async def test_what_comes_without_its_codes_hides_nothing_and_is_hidden_by_nothing() -> None:
    """A stored stub of a system whose codes are known here, and the stub of SNOMED CT among R4's own."""
    currencies = "urn:iso:std:iso:4217"
    stub = {"resourceType": "CodeSystem", "url": currencies, "status": "active", "content": "not-present"}
    library = WithBuiltIn(Shelf([stub]))
    found = await library.code_system(currencies, None)
    assert found is not None and found.find("EUR") == "EUR"
    assert await library.code_system("http://snomed.info/sct", None) is None


@pytest.mark.parametrize("version", [None, "4.0.1", "2018-08-12"])
def test_versions(version: str | None) -> None:
    """Under their own version, and under that of R4, as its bindings name them."""
    assert official.code_system("http://terminology.hl7.org/CodeSystem/v3-ActCode", version) is not None
    assert official.code_system("http://terminology.hl7.org/CodeSystem/v3-ActCode", "1999") is None
