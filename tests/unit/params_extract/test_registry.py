"""The registry: https://hl7.org/fhir/R4/searchparameter-registry.html"""

import json

import pytest

from fhirserver.fhir.fhirpath import compile_expression
from fhirserver.fhir.structure import RESOURCE_TYPES, supertypes
from fhirserver.params.registry import SearchParam, compartment_params, concrete_types, r4
from fhirserver.settings import data_path

REGISTRY = r4()
CUSTOM = SearchParam(
    "eye-colour", "token", ("Patient",), "Patient.extension('x').value", "http://x.example/eye"
)


def test_the_official_numbers():
    assert len(REGISTRY.params) == 1_375
    assert REGISTRY.pairs() == 1_706
    assert len({param.url for param in REGISTRY.params}) == 1_375


def test_every_pair_compiles():
    compiled = 0
    for param in REGISTRY.params:
        for base in param.base:
            if param.expression is not None:
                found = compile_expression(param.expression, base)
                assert found.types is None or found.types, (param.url, base)
            compiled += 1
    assert compiled == 1_706


def test_every_component_is_a_parameter_and_compiles_on_its_base():
    composites = [param for param in REGISTRY.params if param.type == "composite"]
    assert len(composites) == 46
    for param in composites:
        assert len(param.components) >= 2
        for base in param.base:
            types = compile_expression(param.expression or "", base).types
            assert types
            for part in param.components:
                assert part.type not in ("composite", "special")
                assert any(compile_expression(part.expression, t, base).types for t in types), (
                    param.url,
                    part,
                )


def test_only_composites_have_components():
    assert all(not param.components for param in REGISTRY.params if param.type != "composite")


def test_parameters_of_all_resources():
    for type_ in RESOURCE_TYPES:
        codes = REGISTRY.for_type(type_)
        assert {
            "_id",
            "_lastUpdated",
            "_tag",
            "_profile",
            "_security",
            "_source",
            "_content",
            "_query",
        } <= codes.keys()
        assert ("_text" in codes) is ("DomainResource" in supertypes(type_))
        assert list(codes) == sorted(codes)
        assert all(codes[code].code == code for code in codes)


def test_get():
    code = REGISTRY.get("Observation", "code")
    assert code is not None
    assert (code.type, code.url) == ("token", "http://hl7.org/fhir/SearchParameter/clinical-code")
    subject = REGISTRY.get("Observation", "patient")
    assert subject is not None
    assert subject.targets == ("Patient", "Group")
    assert REGISTRY.get("Observation", "nothing") is None
    for wrong in ("Nothing", "Quantity", "Observation.component"):
        with pytest.raises(KeyError):
            REGISTRY.get(wrong, "code")


def test_parameters_over_all_types():
    codes = set(REGISTRY.for_type("Resource"))
    assert codes == {"_id", "_lastUpdated", "_tag", "_profile", "_security", "_source", "_content", "_query"}


def test_corrections_are_applied_and_say_why():
    corrections = json.loads((data_path("search_params") / "corrections.json").read_text())
    assert corrections
    for correction in corrections:
        assert correction["reason"]
        param = REGISTRY.by_url(correction["url"])
        assert param is not None
        if "expression" in correction:
            assert param.expression == correction["expression"]
        if "target" in correction:
            assert list(param.targets) == correction["target"]
        for part, wanted in zip(param.components, correction.get("component", param.components), strict=True):
            assert wanted is part or part.expression == wanted["expression"]


def test_with_params_is_another_registry():
    more = REGISTRY.with_params([CUSTOM])
    assert more.get("Patient", "eye-colour") is CUSTOM
    assert REGISTRY.get("Patient", "eye-colour") is None
    assert more.pairs() == REGISTRY.pairs() + 1
    changed = SearchParam("eye-color", "token", ("Patient",), CUSTOM.expression, CUSTOM.url)
    replaced = more.with_params([changed])
    assert replaced.get("Patient", "eye-color") is changed
    assert replaced.get("Patient", "eye-colour") is None


def test_a_parameter_of_all_types_reaches_all():
    everywhere = SearchParam("_has-note", "token", ("Resource",), "Resource.language", "http://x.example/all")
    more = REGISTRY.with_params([everywhere])
    assert all(more.get(type_, "_has-note") is everywhere for type_ in RESOURCE_TYPES)
    assert concrete_types(everywhere) == RESOURCE_TYPES
    assert concrete_types(CUSTOM) == {"Patient"}


def test_compartments_name_parameters_that_exist():
    assert compartment_params("Patient", "Observation") == ("subject", "performer")
    assert compartment_params("Patient", "Medication") == ()
    for compartment in ("Patient", "Encounter", "Practitioner", "RelatedPerson", "Device"):
        for type_ in RESOURCE_TYPES:
            for code in compartment_params(compartment, type_):
                assert code == "{def}" or REGISTRY.get(type_, code) is not None, (compartment, type_, code)
    with pytest.raises(KeyError):
        compartment_params("Group", "Patient")
