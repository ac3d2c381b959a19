"""What is understood, what is refused, and how the refusal helps."""

from __future__ import annotations

import pytest

from fhirserver.errors import FhirError, Invalid, NotSupported, TooCostly
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.params.condition import UnsupportedModifier
from fhirserver.params.registry import r4
from fhirserver.search.clauses import UnknownParameter
from fhirserver.search.parse import Limits, parse
from fhirserver.search.query import Chain, Clause, Has, Ids, Missing, SearchQuery, Updated, Within

LIMITS = Limits(params_max=10, or_values_max=5, includes_max=2, chain_depth_max=3)


def search(resource_type: str | None, *params: str, handling: str = "strict", **more: object) -> SearchQuery:
    pairs = [(name, value) for name, _, value in (param.partition("=") for param in params)]
    return parse(r4(), LIMITS, resource_type, pairs, handling, **more)  # type: ignore[arg-type]


def test_each_kind_of_condition() -> None:
    found = search(
        "Observation",
        "code=a,b",
        "subject:Patient.name=x",
        "date:missing=true",
        "_id=1,2",
        "_lastUpdated=gt2020",
    )
    kinds = [type(condition) for condition in found.conditions["Observation"]]
    assert kinds == [Clause, Chain, Missing, Ids, Updated]
    (condition,) = search("Patient", "_has:Observation:patient:_has:Provenance:target:agent=1").conditions[
        "Patient"
    ]
    assert isinstance(condition, Has)
    assert isinstance(condition.inner, Has)


def test_results() -> None:
    found = search(
        "Patient",
        "_count=7",
        "_total=none",
        "_summary=count",
        "_elements=id,name",
        "_sort=-birthdate,_id",
        "_include=Patient:organization",
        "_revinclude=Observation:patient:Patient",
        "_format=json",
        "name=x",
    )
    assert (found.count, found.total, found.summary, found.elements) == (7, "none", "count", ("id", "name"))
    assert [(key.code, key.descending) for key in found.sort] == [("birthdate", True), ("_id", False)]
    assert [(one.source, one.target, one.reverse) for one in found.includes] == [
        ("Patient", None, False),
        ("Observation", "Patient", True),
    ]
    assert ("name", "x") in found.applied
    assert ("_format", "json") not in found.applied


def test_a_page_is_never_larger_than_allowed() -> None:
    assert search("Patient", "_count=100000").count == LIMITS.count_max
    assert search("Patient", "_count=" + "9" * 5_000).count == LIMITS.count_max
    assert search("Patient", "_count=007").count == 7
    assert search("Patient", "_count=0").counts_only
    assert search("Patient").count == LIMITS.count_default


def test_an_unknown_parameter_is_refused_with_its_neighbours() -> None:
    with pytest.raises(UnknownParameter) as caught:
        search("Patient", "brithdate=2020")
    assert "birthdate" in str(caught.value)
    assert (caught.value.status, caught.value.code) == (400, "not-supported")


def test_a_lenient_search_leaves_it_out_and_says_so() -> None:
    found = search("Patient", "brithdate=2020", "gender=male", "_sort=nothing", handling="lenient")
    assert len(found.conditions["Patient"]) == 1
    assert found.applied == (("gender", "male"),)
    assert len(found.warnings) == 2


@pytest.mark.parametrize(
    "param",
    [
        "identifier:in=http://vs",
        "code:of-type=a|b|c",
        "patient:below=1",
        "patient:Group=1",
        "code:exact=x",
        "date:exact=2020",
        "_id:exact=1",
        "_lastUpdated:not=2020",
        "value-quantity:not=5",
        "subject:Nothing=1",
        "code:=x",
        "_include:forever=Observation:subject",
        "subject:identifier.name=x",
        "subject:missing.name=x",
    ],
)
@pytest.mark.parametrize("handling", ["strict", "lenient"])
def test_a_modifier_that_is_not_there_is_always_refused(param: str, handling: str) -> None:
    with pytest.raises(UnsupportedModifier):
        search("Observation", param, handling=handling)


@pytest.mark.parametrize(
    ("param", "error"),
    [
        ("date=2020-13", Invalid),
        ("code=1,2,3,4,5,6", TooCostly),
        ("_count=-1", Invalid),
        ("_count=many", Invalid),
        ("_count=²", Invalid),
        ("_total=all", Invalid),
        ("_summary=yes", Invalid),
        ("_elements=a b", Invalid),
        ("_sort=nothing", UnknownParameter),
        ("subject:Patient.phonetic:exact=x", UnsupportedModifier),
        ("_include=Observation", Invalid),
        ("_include=Observation:code", Invalid),
        ("_include=Nothing:subject", UnknownParameter),
        ("_include=Observation:nothing", UnknownParameter),
        ("_include=*:subject", UnknownParameter),
        ("_include=Observation:subject:Practitioner", Invalid),
        ("code.text=x", Invalid),
        ("subject.nothing=x", UnknownParameter),
        ("subject.subject.subject.subject.subject=x", FhirError),
        ("_has:Observation=1", Invalid),
        ("_has:Nothing:a:b=1", UnknownParameter),
        ("_has:Observation:code:a=1", Invalid),
        ("date:missing=maybe", Invalid),
        ("_text=(x", Invalid),
        ("_text=not x", Invalid),
        ("_filter=x", Invalid),
        ("_id:missing=maybe", Invalid),
        ("code-value-quantity=a", Invalid),
        ("code-value-quantity=a$b", Invalid),
    ],
)
def test_what_cannot_be_understood(param: str, error: type[FhirError]) -> None:
    with pytest.raises(error):
        search("Observation", param)


def test_limits() -> None:
    with pytest.raises(TooCostly):
        search("Patient", *(f"name=x{index}" for index in range(11)))
    with pytest.raises(TooCostly):
        search("Patient", *["_include=Patient:organization"] * 3)
    with pytest.raises(TooCostly, match="links"):
        search("Observation", "_has:Observation:has-member:" * 4 + "code=1")
    with pytest.raises(TooCostly, match="links"):
        search("Provenance", "target.encounter.part-of.subject.name=1")


def test_a_chain_follows_every_type_that_has_the_parameter() -> None:
    (condition,) = search("Observation", "subject.name=x").conditions["Observation"]
    assert isinstance(condition, Chain)
    assert [type_ for type_, _ in condition.inner] == ["Location", "Patient"]
    (condition,) = search("Observation", "patient.identifier=x").conditions["Observation"]
    assert isinstance(condition, Chain)
    assert [type_ for type_, _ in condition.inner] == ["Patient"]
    (condition,) = search("Composition", "subject.identifier=x").conditions["Composition"]
    assert isinstance(condition, Chain)
    assert len(condition.inner) > 100


@pytest.mark.parametrize("resource_type", sorted(ENDPOINT_TYPES))
def test_the_patient_is_reached_from_every_type_that_has_one(resource_type: str) -> None:
    """`patient.identifier` is never ambiguous: microsoft/fhir-server#3839"""
    if "patient" not in r4().for_type(resource_type):
        return
    (condition,) = search(resource_type, "patient.identifier=http://mrn|1").conditions[resource_type]
    assert isinstance(condition, Chain)
    assert "Patient" in [type_ for type_, _ in condition.inner]


def test_a_chain_means_on_each_type_what_the_parameter_is_there() -> None:
    """A manufacturer is a name of a Device and a reference of a Medication; a modifier fits where it fits."""

    def kinds(param: str) -> dict[str, str]:
        (condition,) = search("Provenance", param).conditions["Provenance"]
        assert isinstance(condition, Chain)
        return {type_: inner.param.type for type_, inner in condition.inner if isinstance(inner, Clause)}

    found = kinds("target.manufacturer=acme")
    assert (found["Device"], found["Medication"]) == ("string", "reference")
    assert kinds("target.manufacturer:contains=acme") == {"Device": "string"}
    assert "Device" not in kinds("target.manufacturer:Organization=acme")
    with pytest.raises(UnsupportedModifier):
        search("Provenance", "target.manufacturer:not=acme")
    with pytest.raises(Invalid, match="date"):
        search("Provenance", "target.birthdate=x")


@pytest.mark.parametrize(
    ("resource_type", "param"),
    [
        ("Device", "_has:Observation:patient:code=x"),
        ("Observation", "subject:Practitioner.name=x"),
        ("Observation", "encounter:Patient.name=x"),
    ],
)
def test_a_hop_that_no_reference_can_make_is_refused(resource_type: str, param: str) -> None:
    with pytest.raises(Invalid, match="refers to"):
        search(resource_type, param)


def test_across_types() -> None:
    found = search(None, "_type=Patient,Observation", "_id=1", "_sort=-_lastUpdated")
    assert found.types == ("Observation", "Patient")
    for wrong in (["birthdate=2020"], ["_type=Nothing"], ["_type=Patient,Observation", "birthdate=2020"]):
        with pytest.raises(FhirError):
            search(None, *wrong)
    with pytest.raises(NotSupported):
        search(None, "_type=Patient,Observation", "_sort=code")


@pytest.mark.parametrize("param", ["_id=1", "_lastUpdated=gt2020", "_tag=a", "_profile=b", "_source=c", ""])
def test_all_types_have_what_is_common(param: str) -> None:
    assert set(search(None, param).types) == ENDPOINT_TYPES


def test_what_not_all_types_have_is_named() -> None:
    with pytest.raises(UnknownParameter, match="_type="):
        search(None, "birthdate=2020")
    with pytest.raises(UnknownParameter, match="across types"):
        search(None, "_id=1", "_sort=status")


@pytest.mark.parametrize(
    ("resource_type", "param", "error"),
    [
        ("Observation", "_sort=code-value-quantity", NotSupported),
        ("Observation", "_sort=_text", UnknownParameter),
        ("Observation", "_sort=date:missing", NotSupported),
        ("Observation", "_sort=code.text", Invalid),
        ("Observation", "_sort=subject.nothing", UnknownParameter),
        ("Observation", "_sort=subject:Practitioner.name", Invalid),
        ("Observation", "_sort=encounter.subject.name", NotSupported),
        ("Observation", "_sort=subject.", NotSupported),
        ("Observation", "_sort=-", NotSupported),
        ("Provenance", "_sort=target.manufacturer,-target.series", None),
        ("Provenance", "_sort=target.start", NotSupported),
        ("Patient", "_sort=deceased,-general-practitioner,link:Patient._lastUpdated", None),
        (None, "_type=Patient,Practitioner&_sort=family", None),
        (None, "_type=Patient,Observation&_sort=family", UnknownParameter),
        (None, "_sort=_tag,-_profile", None),
    ],
)
def test_what_can_be_sorted_by(resource_type: str | None, param: str, error: type[FhirError] | None) -> None:
    params = param.split("&")
    if error is None:
        assert search(resource_type, *params).sort
    else:
        with pytest.raises(error):
            search(resource_type, *params)


@pytest.mark.parametrize(
    "param", ["code=", "code=,", "nonsense=", "_sort=", "_count=", "_include=", "_type=", "_summary="]
)
def test_empty_parameters_are_left_out(param: str) -> None:
    """https://hl7.org/fhir/R4/search.html#errors"""
    found = search("Observation", param, "status=final")
    assert found.applied == (("status", "final"),)
    assert found.warnings == ()


def test_empty_values_are_left_out() -> None:
    assert search("Observation", "code=a,,b").conditions == search("Observation", "code=a,b").conditions
    assert search("Observation", "_sort=code,").sort == search("Observation", "_sort=code").sort


@pytest.mark.parametrize("handling", ["strict", "lenient"])
def test_an_unknown_query_is_always_refused(handling: str) -> None:
    """https://hl7.org/fhir/R4/search.html#query"""
    with pytest.raises(NotSupported, match="'nothing' is not a named query"):
        search("Patient", "_query=nothing", handling=handling)


def test_a_page_link_says_what_was_used() -> None:
    assert search("Patient", "_count=100000").applied == (("_count", str(LIMITS.count_max)),)
    assert search("Patient", "_count=7").applied == (("_count", "7"),)


@pytest.mark.parametrize("param", ["_count=1", "_count=10", "_sort=code"])
def test_what_counts_once_is_given_once(param: str) -> None:
    with pytest.raises(Invalid, match="may be given once"):
        search("Observation", param, param)


def test_text_alone_takes_nothing_along() -> None:
    """https://hl7.org/fhir/R4/search.html#summary"""
    for param in ("_include=Patient:organization", "_revinclude=Observation:patient"):
        with pytest.raises(Invalid, match="_summary"):
            search("Patient", "_summary=text", param)
        assert search("Patient", "_summary=data", param).includes


CANONICAL = "QuestionnaireResponse"


@pytest.mark.parametrize(
    ("resource_type", "param"),
    [
        ("Bundle", "_include=Bundle:composition"),
        ("Composition", "_revinclude=Bundle:composition"),
        ("Composition", "_has:Bundle:composition:_id=x"),
    ],
)
def test_what_would_find_nothing_is_refused(resource_type: str, param: str) -> None:
    with pytest.raises(UnknownParameter):
        search(resource_type, param)


def test_a_canonical_has_no_identifier() -> None:
    assert search(CANONICAL, "questionnaire=http://q|1")
    with pytest.raises(UnsupportedModifier, match="identifier"):
        search(CANONICAL, "questionnaire:identifier=x")


def test_in_a_compartment() -> None:
    found = search("Observation", "code=x", compartment=("Patient", "1"))
    assert found.conditions["Observation"][0] == Within("Patient", "1")
    everything = search(None, compartment=("Patient", "1"))
    assert {"Patient", "Observation", "Condition"} <= set(everything.types)
    assert "Organization" not in everything.types
    with pytest.raises(NotSupported):
        search("Organization", compartment=("Patient", "1"))
    with pytest.raises(NotSupported):
        search("Observation", compartment=("Organization", "1"))
