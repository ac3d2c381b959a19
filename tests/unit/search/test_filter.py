"""What the names and operators of a `_filter` mean, and what is refused and how.

https://hl7.org/fhir/R4/search_filter.html
"""

from __future__ import annotations

import pytest

from fhirserver.errors import FhirError, Invalid, NotSupported, TooCostly
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.params.condition import UnsupportedModifier
from fhirserver.params.kinds import CompositeValue
from fhirserver.params.registry import r4
from fhirserver.params.token import TokenValue
from fhirserver.search.clauses import UnknownParameter
from fhirserver.search.parse import Limits, parse
from fhirserver.search.query import And, Chain, Clause, Condition, Ids, Missing, Not, Or, Updated

LIMITS = Limits(chain_depth_max=3)


def conditions(resource_type: str | None, *filters: str, handling: str = "strict") -> tuple[Condition, ...]:
    pairs = [("_filter", text) for text in filters]
    found = parse(r4(), LIMITS, resource_type, pairs, handling)  # type: ignore[arg-type]
    assert found.applied == tuple(pairs)
    return found.conditions[resource_type or "Patient"]


def one(resource_type: str, text: str) -> Condition:
    (found,) = conditions(resource_type, text)
    return found


def clause(resource_type: str, text: str) -> Clause:
    found = one(resource_type, text)
    assert isinstance(found, Clause)
    return found


def test_a_filter_is_a_condition_and_several_are_several() -> None:
    both = conditions("Patient", "name eq a or gender eq male", "not (birthdate pr false)")
    assert isinstance(both[0], Or)
    assert isinstance(both[1], Not)
    assert isinstance(both[1].condition, Not)
    assert both[1].condition.condition == Missing(both[1].condition.condition.param, False)  # type: ignore[union-attr]


def test_parameters_without_an_element_of_their_own() -> None:
    assert one("Patient", "_id eq x") == Ids(("x",))
    assert one("Patient", "_id ne x") == Ids(("x",), True)
    found = one("Patient", "_lastUpdated ge 2020")
    assert isinstance(found, Updated)
    assert found.values[0].prefix == "ge"
    assert isinstance(one("Patient", "_lastUpdated pr true"), Missing)


def test_all_types_have_the_common_parameters() -> None:
    assert conditions(None, "_id eq x") == (Ids(("x",)),)
    with pytest.raises(NotSupported, match="has no search parameter 'code'"):
        conditions(None, "code eq x")


def test_short_names_of_systems() -> None:
    assert clause("Observation", "code eq loinc|1234-5").values == (TokenValue("http://loinc.org", "1234-5"),)
    assert clause("Observation", "code eq snomed|").values == (TokenValue("http://snomed.info/sct", None),)
    assert clause("Observation", "code eq loinc").values == (TokenValue(None, "loinc"),)
    quantity = clause("Observation", "value-quantity gt 5|ucum|mg").values[0]
    assert quantity.system == "http://unitsofmeasure.org"  # type: ignore[union-attr]
    (composite,) = clause("Observation", "code-value-quantity eq loinc|12907-2$ge150|ucum|mmol/L").values
    assert isinstance(composite, CompositeValue)
    assert composite.parts[0] == TokenValue("http://loinc.org", "12907-2")
    assert composite.parts[1].number.prefix == "ge"  # type: ignore[union-attr]


def test_a_string_is_taken_as_it_is() -> None:
    """Commas, bars and backslashes separate and escape nothing in a string."""
    value = clause("Patient", r'name eq "a\\b, c|d$e"').values[0]
    assert value.text == r"a\b, c|d$e"  # type: ignore[union-attr]
    assert clause("Patient", r'identifier eq "x\\|y"').values == (TokenValue(None, "x|y"),)
    assert clause("Patient", 'identifier eq "urn:a|x y,z"').values == (TokenValue("urn:a", "x y,z"),)


def test_chains_hold_filters_for_the_same_resource() -> None:
    found = one("Observation", 'patient[gender eq female].organization.name co "x"')
    assert isinstance(found, Chain)
    ((target, inner),) = found.inner
    assert target == "Patient"
    assert isinstance(inner, And)
    assert isinstance(inner.conditions[0], Clause)
    assert isinstance(inner.conditions[1], Chain)


def test_an_empty_set_at_the_end_of_a_chain() -> None:
    """`pr false` is that there is no such value, not that there is a patient without one."""
    found = one("Observation", "patient.name pr false")
    assert isinstance(found, Not)
    assert isinstance(found.condition, Chain)


def test_a_chain_goes_where_the_rest_of_it_can_go() -> None:
    """Locations have names, but none that sounds like anything."""
    found = one("Encounter", "participant.gender eq male")
    assert isinstance(found, Chain)
    assert {target for target, _ in found.inner} == {"Practitioner", "RelatedPerson"}
    typed = one("Encounter", "participant:Practitioner.gender eq male")
    assert isinstance(typed, Chain)
    assert [target for target, _ in typed.inner] == ["Practitioner"]


def test_values_of_one_element() -> None:
    """https://hl7.org/fhir/R4/search_filter.html#params"""
    both = clause("Group", "characteristic[code eq a].value eq b")
    assert both.param.code == "characteristic-value"
    assert both.values == (CompositeValue((TokenValue(None, "a"), TokenValue(None, "b"))),)
    other_way = clause("Group", "characteristic[value eq b].code eq a")
    assert other_way == both
    there = clause("DocumentReference", "relatesTo[code eq replaces].target pr true")
    assert (there.param.code, there.values) == ("relation", (TokenValue(None, "replaces"),))
    gone = one("DocumentReference", "relatesTo[code eq replaces].target pr false")
    assert gone == Not(there)
    either = one("DocumentReference", "relatesTo[code eq a or code eq b].target re DocumentReference/1")
    assert isinstance(either, Or)
    assert [c.param.code for c in either.conditions if isinstance(c, Clause)] == ["relationship"] * 2
    whole = one("Group", "characteristic[code eq a and value eq b].value pr true")
    assert whole == both
    # The element's own parameter has the same name.
    assert clause("Group", "characteristic eq a").param.code == "characteristic"


REFUSED = [
    ("Patient", "gendr eq male", NotSupported, 1, "Patient has no search parameter 'gendr'; alike: gender"),
    ("Patient", "name eq x and (gendr eq male)", NotSupported, 16, "'gendr'"),
    ("Observation", "patient.nme eq x", NotSupported, 9, "alike: name"),
    ("Observation", "patient[nme eq x].name eq y", NotSupported, 9, "alike: name"),
    ("Observation", "code.name eq x", Invalid, 1, "'code' is no reference"),
    ("Observation", "code[name eq x].y eq x", Invalid, 1, "'code' is no reference"),
    (
        "Observation",
        "code co x",
        NotSupported,
        6,
        "'co' is not defined for 'code', a token parameter; it has eq",
    ),
    ("Observation", "patient eq Patient/1", NotSupported, 9, "it has re, pr"),
    ("Observation", "value-quantity co 5", NotSupported, 16, "'co' is not defined"),
    ("Observation", "code-value-quantity ne a$5", NotSupported, 21, "it has eq, pr"),
    ("Patient", "name ap x", NotSupported, 6, "it has eq, ne, co, sw, ew"),
    ("Patient", "birthdate sw 2020", NotSupported, 11, "it has eq, ne, co, gt"),
    ("Location", "near eq 1|2", NotSupported, 6, "it has pr"),
    ("ValueSet", "url co http", NotSupported, 5, "it has eq, ne, pr"),
    ("Patient", "_id co x", NotSupported, 5, "it has eq, ne, pr"),
    ("Patient", "birthdate eq 2020-13", Invalid, 14, "is not a date"),
    ("Patient", "birthdate eq ge2020", Invalid, 14, "is not a date"),
    ("RiskAssessment", "probability gt x", Invalid, 16, "is not a number"),
    ("Patient", "name pr maybe", Invalid, 9, "'pr' takes true or false, not 'maybe'"),
    ("Observation", "code eq |", Invalid, 9, "is not code, system|code"),
    ("Patient", "_filter eq x", NotSupported, 1, "no search parameter '_filter'"),
    ("Patient", "_text eq x", NotSupported, 1, "is not supported"),
    ("Observation", "patient:Patiet.name eq x", UnsupportedModifier, 1, "'Patiet' is not a resource type"),
    ("Observation", "related[type eq has-component].target pr false", NotSupported, 1, "related-target"),
    ("ServiceRequest", "item[code eq x].site eq y", NotSupported, 1, "which R4 does not define"),
    ("Group", "characteristic.value eq x", Invalid, 1, "characteristic[...].value"),
    ("Group", "characteristic[code eq a].valu eq x", Invalid, 27, "expected one of value, found 'valu'"),
    ("Group", "characteristic[cod eq a].value eq x", Invalid, 16, "expected one of code, found 'cod'"),
    (
        "Group",
        "characteristic[code ne a].value eq x",
        Invalid,
        21,
        "'ne' is not defined for 'code' here; eq is",
    ),
    ("Group", "characteristic[code eq a].value ne x", Invalid, 33, "eq is"),
    ("Group", "characteristic[not (code eq a)].value eq x", Invalid, 16, "negate the whole test"),
    ("Group", "characteristic[code eq a].value.b eq x", Invalid, 27, "is followed by one of code, value"),
    ("Group", "characteristic[code eq a and code eq b].value eq x", Invalid, 38, "asked for twice"),
    ("Group", "characteristic[code.x eq a].value eq x", Invalid, 16, "expected one of code, value alone"),
    ("DocumentReference", "relatesTo[code eq a].target eq b", Invalid, 29, "re is"),
    ("Observation", "subject.a.b.c.d eq x", NotSupported, 9, "has a search parameter 'a'"),
    ("Patient", "link.link.link.link.name eq x", TooCostly, 16, "a chain has at most 3 links"),
]


@pytest.mark.parametrize(("resource_type", "text", "error", "place", "what"), REFUSED)
@pytest.mark.parametrize("handling", ["strict", "lenient"])
def test_refused(
    resource_type: str, text: str, error: type[FhirError], place: int, what: str, handling: str
) -> None:
    """Lenient callers, too: a filter without one of its parts would be another filter."""
    with pytest.raises(error) as caught:
        conditions(resource_type, text, handling=handling)
    assert not isinstance(caught.value, UnknownParameter)
    assert str(caught.value).startswith(f"_filter, character {place}: ")
    assert str(caught.value).count("_filter, character") == 1
    assert what in str(caught.value)


@pytest.mark.parametrize("operator", ["in", "ni", "ss", "sb"])
def test_operators_over_terminologies_are_those_of_modifiers(operator: str) -> None:
    """A value set or hierarchy says what modifiers say; no other type has them."""
    with pytest.raises(NotSupported):
        one("Patient", f"birthdate {operator} 2020")


def test_every_type_can_be_filtered() -> None:
    for resource_type in sorted(ENDPOINT_TYPES):
        assert conditions(resource_type, "_id eq x") == (Ids(("x",)),)
