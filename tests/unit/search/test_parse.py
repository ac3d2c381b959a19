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
        "code:in=http://vs",
        "code:exact=x",
        "date:exact=2020",
        "_id:exact=1",
        "_lastUpdated:not=2020",
        "value-quantity:not=5",
        "subject:Nothing=1",
        "code:=x",
        "_include:iterate=Observation:subject",
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
        ("_total=all", Invalid),
        ("_summary=yes", Invalid),
        ("_elements=a b", Invalid),
        ("_sort=nothing", UnknownParameter),
        ("_sort=code-value-quantity", NotSupported),
        ("_include=Observation", Invalid),
        ("_include=Observation:code", Invalid),
        ("_include=Nothing:subject", UnknownParameter),
        ("_include=Observation:nothing", UnknownParameter),
        ("_revinclude=*", Invalid),
        ("code.text=x", Invalid),
        ("subject.nothing=x", UnknownParameter),
        ("subject.subject.subject.subject.subject=x", FhirError),
        ("_has:Observation=1", Invalid),
        ("_has:Nothing:a:b=1", UnknownParameter),
        ("_has:Observation:code:a=1", Invalid),
        ("date:missing=maybe", Invalid),
        ("_text=(x", Invalid),
        ("_text=not x", Invalid),
        ("_filter=x", UnknownParameter),
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
        search(
            "Patient",
            "general-practitioner:Practitioner._has:" + "PractitionerRole:practitioner:_has:" * 3 + "x=1",
        )
    with pytest.raises(TooCostly, match="say which"):
        search("Composition", "subject.identifier=x")
    assert search("Composition", "subject:Patient.identifier=x")


def test_a_chain_follows_every_type_that_has_the_parameter() -> None:
    (condition,) = search("Observation", "subject.name=x").conditions["Observation"]
    assert isinstance(condition, Chain)
    assert [type_ for type_, _ in condition.inner] == ["Location", "Patient"]
    (condition,) = search("Observation", "patient.identifier=x").conditions["Observation"]
    assert isinstance(condition, Chain)
    assert [type_ for type_, _ in condition.inner] == ["Patient"]


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
    with pytest.raises(NotSupported, match="across types"):
        search(None, "_id=1", "_sort=status")


@pytest.mark.parametrize(
    "param", ["code=", "code=,", "nonsense=", "_sort=", "_count=", "_include=", "_type="]
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
    with pytest.raises(UnknownParameter):
        search("Patient", "_query=nothing", handling=handling)


def test_a_page_link_says_what_was_used() -> None:
    assert search("Patient", "_count=100000").applied == (("_count", str(LIMITS.count_max)),)
    assert search("Patient", "_count=7").applied == (("_count", "7"),)


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
        (CANONICAL, "questionnaire.title=x"),
        (CANONICAL, "_include=QuestionnaireResponse:questionnaire"),
        ("Questionnaire", "_revinclude=QuestionnaireResponse:questionnaire"),
        ("Questionnaire", "_has:QuestionnaireResponse:questionnaire:status=completed"),
        ("Bundle", "composition=x"),
        ("Bundle", "composition.title=x"),
        ("Bundle", "message:missing=true"),
        ("Bundle", "_include=Bundle:composition"),
        ("Composition", "_revinclude=Bundle:composition"),
        ("Composition", "_has:Bundle:composition:_id=x"),
        ("Patient", "phonetic=x"),
        ("Patient", "_sort=phonetic"),
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
