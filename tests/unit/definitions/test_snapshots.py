"""The snapshots of R4's definitions: all there, all usable, and in agreement with the other tables."""

from __future__ import annotations

import pytest

from fhirserver.fhir.profile.definition import PREFIX, of_r4, urls_of_r4
from fhirserver.fhir.profile.library import R4
from fhirserver.fhir.profile.model import Rule
from fhirserver.fhir.structure import STRUCTURES

TYPES = [name for name, found in STRUCTURES.items() if found.kind != "backbone"]


def test_every_definition_can_be_judged_by() -> None:
    urls = urls_of_r4()
    assert len(urls) == 648
    for url in urls:
        plan = R4.plan(url)
        assert plan is not None, url
        assert plan.primitive or plan.nested.structure.name == plan.type


@pytest.mark.parametrize("name", TYPES)
def test_types_agree_with_the_structures(name: str) -> None:
    profile = R4.profile(PREFIX + name)
    assert profile is not None
    if STRUCTURES[name].kind != "primitive":
        agree(profile.root, name)


def agree(rule: Rule, name: str) -> None:
    elements = STRUCTURES[name].elements
    assert [child.name for child in rule.children] == list(elements)
    for child in rule.children:
        element = elements[child.name]
        assert (child.min, child.max, child.modifier) == (element.min, element.max, element.modifier)
        if child.children:
            agree(child, element.types[0])
        if element.binding is not None:
            assert child.binding is not None
            assert child.binding.strength == "required"
            assert (child.binding.value_set or "").partition("|")[0] == element.binding


def test_extensions_say_where_they_stand() -> None:
    extensions = [found for url in urls_of_r4() if (found := of_r4(url)) and found.is_profile]
    extensions = [found for found in extensions if found.type == "Extension"]
    assert len(extensions) == 393
    assert all(found.context for found in extensions)


def test_what_is_not_of_r4() -> None:
    assert of_r4("urn:x") is None
    assert R4.find(PREFIX + "Patient|5.0.0") is None
    assert R4.find(PREFIX + "Patient|4.0.1") is not None
