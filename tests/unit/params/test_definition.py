"""SearchParameter resources as parameters: what is refused, where and with what advice; what repeats R4."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from fhirserver.errors import Issue, Unprocessable
from fhirserver.params.definition import is_active, read, restored, stored
from fhirserver.params.registry import SearchParam, published, r4
from tests.support.definitions import of_extension, search_parameter

R4 = "http://hl7.org/fhir/SearchParameter/"
GUIDES = ("us_core_311", "us_core_501", "us_core_610", "us_core_700")


def faults(resource: dict[str, Any], *others: SearchParam) -> list[Issue]:
    with pytest.raises(Unprocessable) as raised:
        read(resource, r4().with_params(others))
    return list(raised.value.issues)


def fault(resource: dict[str, Any], *others: SearchParam) -> tuple[str | None, str, str]:
    [issue] = faults(resource, *others)
    return issue.expression, issue.code, issue.diagnostics


def test_a_good_one_says_where_it_stands_and_what_it_finds() -> None:
    found = read(search_parameter("eye", "token", of_extension("urn:eye")), r4())
    assert found == SearchParam(
        "eye",
        "token",
        ("Patient",),
        of_extension("urn:eye"),
        "http://example.org/SearchParameter/eye",
        custom=True,
    )
    assert restored(json.loads(json.dumps(stored(found)))) == found


def test_only_active_ones_count() -> None:
    states = {status: is_active({"status": status}) for status in ("active", "draft", "retired", "unknown")}
    assert states == {"active": True, "draft": False, "retired": False, "unknown": False}


@pytest.mark.parametrize(
    ("resource", "element", "code", "words"),
    [
        (search_parameter("a b", "token", "Patient.gender"), "code", "value", "'a b'"),
        (search_parameter("_eye", "token", "Patient.gender"), "code", "value", "begin with _"),
        (search_parameter("name", "string", "Patient.name.family"), "code", "duplicate", "Patient-name"),
        (search_parameter("x", "token", "Pat.gender", "Pat"), "base[0]", "value", "no type"),
        (search_parameter("x", "token", "Patient.gender", "Patint"), "base[0]", "value", "alike: Patient"),
        (search_parameter("x", "token", None), "expression", "required", "FHIRPath"),
        (search_parameter("x", "token", "Patient.("), "expression", "not-supported", "at character"),
        (
            search_parameter("x", "token", "Patient.gendr"),
            "expression",
            "not-supported",
            "no element 'gendr'",
        ),
        (
            search_parameter("x", "string", "Patient.name.given.frist()"),
            "expression",
            "not-supported",
            "did you mean first()",
        ),
        (
            search_parameter("x", "token", "Patient.birthDate < today()"),
            "expression",
            "not-supported",
            "changes while the resource does not",
        ),
        (search_parameter("x", "token", "Observation.code"), "expression", "value", "begins with Patient"),
        (
            search_parameter("x", "token", "Patient.birthDate"),
            "expression",
            "value",
            "gives date; a token is",
        ),
        (search_parameter("x", "date", "Patient.gender"), "expression", "value", "Period"),
        (search_parameter("x", "quantity", "Patient.name"), "expression", "value", "Money"),
        (search_parameter("x", "number", "Patient.active"), "expression", "value", "decimal"),
        (search_parameter("x", "uri", "Patient.active"), "expression", "value", "canonical"),
        (search_parameter("x", "reference", "Patient.active"), "expression", "value", "Reference"),
        (search_parameter("x", "token", "Patient.contained"), "expression", "value", "ofType()"),
        (search_parameter("x", "token", "Patient.link.other.resolve()"), "expression", "value", "ofType()"),
        (search_parameter("x", "date", "Patient.meta.lastUpdated"), "expression", "value", "_lastUpdated"),
        (search_parameter("x", "special", "Patient.gender"), "type", "not-supported", "composite"),
        (search_parameter("x", "token", "Patient.gender", target=["Group"]), "target", "value", "reference"),
        (
            search_parameter("x", "reference", "Patient.link.other", target=["Grop"]),
            "target[0]",
            "value",
            "Group",
        ),
        (
            search_parameter(
                "x", "token", "Patient.gender", component=[{"definition": "a", "expression": "b"}]
            ),
            "component",
            "value",
            "only a composite",
        ),
    ],
)
def test_what_is_wrong_is_named_with_what_would_be_right(
    resource: dict[str, Any], element: str, code: str, words: str
) -> None:
    where, what, text = fault(resource)
    assert (where, what) == (f"SearchParameter.{element}", code)
    assert words in text


def test_everything_that_is_wrong_is_told_at_once() -> None:
    resource = search_parameter("a b", "token", "Patient.gender", "Patient", "Nobody", target=["Group"])
    assert [one.expression for one in faults(resource)] == [
        "SearchParameter.base[1]",
        "SearchParameter.code",
        "SearchParameter.target",
    ]


def test_each_base_must_have_what_the_expression_finds() -> None:
    both = "Patient.gender | Practitioner.gender"
    assert read(search_parameter("sex", "token", both, "Patient", "Practitioner"), r4())
    where, _, text = fault(search_parameter("sex", "token", both, "Patient", "Group"))
    assert where == "SearchParameter.expression"
    assert "finds nothing in Group" in text


def test_abstract_bases_stand_for_all_that_have_the_element() -> None:
    param = read(search_parameter("rules", "uri", "Resource.implicitRules", "Resource"), r4())
    assert param.base == ("Resource",)
    param = read(search_parameter("more", "uri", "DomainResource.extension.url", "DomainResource"), r4())
    assert param.base == ("DomainResource",)
    where, _, text = fault(search_parameter("more", "uri", "Resource.extension.url", "Resource"))
    assert where == "SearchParameter.expression"
    assert "no element 'extension'" in text


# -- URLs and codes that are taken


def test_a_url_is_one_active_parameter_s() -> None:
    other = read(search_parameter("eye", "token", "Patient.gender"), r4())
    again = search_parameter("hair", "token", "Patient.gender") | {"url": other.url}
    assert fault(again, other)[:2] == ("SearchParameter.url", "duplicate")


def test_a_code_is_one_parameter_s_on_each_type_that_either_stands_on() -> None:
    other = read(search_parameter("eye", "token", "DomainResource.language", "DomainResource"), r4())
    again = search_parameter("eye", "token", "Patient.gender") | {"url": "urn:other"}
    where, what, text = fault(again, other)
    assert (where, what) == ("SearchParameter.code", "duplicate")
    assert other.url in text


def test_r4_s_own_parameters_cannot_be_changed() -> None:
    changed = search_parameter("gender", "token", "Patient.communication.language")
    where, what, text = fault(changed | {"url": f"{R4}individual-gender"})
    assert (where, what) == ("SearchParameter.url", "business-rule")
    assert "cannot be changed" in text


def test_r4_s_own_definitions_may_be_stored() -> None:
    for url in (f"{R4}Patient-active", f"{R4}clinical-code", f"{R4}clinical-patient", f"{R4}Resource-id"):
        own = published(url)
        assert own is not None
        resource = search_parameter(own.code, own.type, own.expression, *own.base) | {"url": url}
        assert read(resource, r4()).base == (), url


def test_what_repeats_one_of_r4_s_is_answered_by_that_one() -> None:
    assert read(search_parameter("name", "string", "Patient.name"), r4()).base == ()
    assert read(search_parameter("name", "string", "(Patient.name)"), r4()).base == ()
    derived = search_parameter("name", "string", "Patient.name.text", derivedFrom=f"{R4}Patient-name|4.0.1")
    assert read(derived, r4()).base == ()
    partly = search_parameter("gender", "token", "Patient.gender | Group.code", "Patient", "Group")
    assert read(partly, r4()).base == ("Group",)


@pytest.mark.parametrize("guide", GUIDES)
def test_the_parameters_of_us_core_are_taken_as_they_are(shared_data: Path, guide: str) -> None:
    found = [read(resource, r4()) for resource in _of_guide(shared_data / "us-core-igs" / f"{guide}.tgz")]
    assert len(found) > 70
    own = {param.code for param in found if param.base}
    assert {"race", "ethnicity"} <= own
    assert guide in ("us_core_311",) or "asserted-date" in own


def _of_guide(path: Path) -> list[dict[str, Any]]:
    with tarfile.open(path) as package:
        files = [member for member in package.getmembers() if "SearchParameter-" in member.name]
        read_ = [json.load(opened) for member in files if (opened := package.extractfile(member)) is not None]
    return [one for one in read_ if one.get("resourceType") == "SearchParameter"]


def test_the_property_of_a_choice_is_read_as_its_type() -> None:
    found = read(search_parameter("x", "date", "Patient.extension.where(url = 'u').valueDateTime"), r4())
    assert found.expression == "Patient.extension.where(url = 'u').value.ofType(dateTime)"


# -- composites


def component(definition: str, expression: str) -> dict[str, str]:
    return {"definition": definition, "expression": expression}


def composite(expression: str, *components: dict[str, str], base: str = "Observation") -> dict[str, Any]:
    return search_parameter("both", "composite", expression, base, component=list(components))


CODE = component(f"{R4}clinical-code", "code")
QUANTITY = component(f"{R4}Observation-value-quantity", "value.ofType(Quantity)")


def test_a_composite_takes_types_and_codes_of_its_parts() -> None:
    found = read(composite("Observation.component", CODE, QUANTITY), r4())
    assert [(part.code, part.type) for part in found.components] == [
        ("code", "token"),
        ("value-quantity", "quantity"),
    ]


@pytest.mark.parametrize(
    ("resource", "element", "words"),
    [
        (composite("Observation.component", CODE), "component", "two components"),
        (
            composite("Observation.component", CODE, component("urn:no", "code")),
            "component[1].definition",
            "not known",
        ),
        (
            composite("Observation", CODE, component(f"{R4}Observation-code-value-quantity", "code")),
            "component[1].definition",
            "composite itself",
        ),
        (
            composite("Observation.component", CODE, component(f"{R4}Observation-value-quantity", "values")),
            "component[1].expression",
            "no element 'values'",
        ),
        (
            composite("Observation.component", CODE, component(f"{R4}Observation-value-quantity", "code")),
            "component[1].expression",
            "gives CodeableConcept",
        ),
        (
            composite(
                "Observation.component", CODE, component(f"{R4}clinical-date", "value.ofType(dateTime)")
            ),
            "component",
            "token, date cannot be searched together",
        ),
    ],
)
def test_what_is_wrong_with_a_composite(resource: dict[str, Any], element: str, words: str) -> None:
    where, _, text = fault(resource)
    assert where == f"SearchParameter.{element}"
    assert words in text


def test_parts_of_an_element_that_cannot_repeat_may_be_of_any_type() -> None:
    date = component(f"{R4}clinical-date", "effective")
    assert read(composite("Observation", CODE, date), r4()).components
    other = component(f"{R4}clinical-date", "issued")  # not what the parameter `date` finds
    assert "cannot be searched together" in fault(composite("Observation", CODE, other))[2]


def test_components_may_be_parameters_of_one_s_own() -> None:
    eye = read(search_parameter("eye", "token", of_extension("urn:eye")), r4())
    both = search_parameter(
        "both",
        "composite",
        "Patient",
        component=[
            component(eye.url, "extension.where(url = 'urn:eye').value.ofType(code)"),
            component(f"{R4}individual-gender", "gender"),
        ],
    )
    assert [part.code for part in read(both, r4().with_params([eye])).components] == ["eye", "gender"]
