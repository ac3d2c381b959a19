"""SMART scopes: https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.policy.scopes import ACTIONS, UnknownScope, parse, parse_all

letters = st.sets(st.sampled_from(ACTIONS), min_size=1).map(
    lambda chosen: "".join(letter for letter in ACTIONS if letter in chosen)
)
contexts = st.sampled_from(["patient", "user", "system"])
types = st.sampled_from(["*", *sorted(ENDPOINT_TYPES)])


@given(contexts, types, letters)
def test_version_2(context: str, type_: str, actions: str) -> None:
    scope = parse(f"{context}/{type_}.{actions}")
    assert (scope.context, scope.type, scope.actions) == (context, type_, frozenset(actions))


@given(contexts, types, letters, st.permutations(ACTIONS))
def test_letters_out_of_order_are_no_scope(context: str, type_: str, actions: str, order: list[str]) -> None:
    shuffled = "".join(letter for letter in order if letter in actions)
    if shuffled != actions:
        with pytest.raises(UnknownScope):
            parse(f"{context}/{type_}.{shuffled}")


def test_version_1() -> None:
    assert parse("patient/Observation.read").actions == frozenset("rs")
    assert parse("user/*.write").actions == frozenset("cud")
    assert parse("system/*.*").actions == frozenset("cruds")
    assert parse("patient/Observation.read").text == "patient/Observation.read"


def test_parameters() -> None:
    text = "patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory"
    assert parse(text).params == (
        ("category", "http://terminology.hl7.org/CodeSystem/observation-category|laboratory"),
    )
    assert parse("user/Patient.r?gender=male&birthdate=gt2000").params == (
        ("gender", "male"),
        ("birthdate", "gt2000"),
    )


@pytest.mark.parametrize(
    "text",
    [
        *(
            "patient/Observation.",
            "patient/Observation",
            "patient/.rs",
            "Patient/Observation.rs",
            "patient/*",
        ),
        *("patient/Nothing.rs", "patient/observation.rs", "patient/Observation.rr", "patient/Observation.x"),
        *("patient/Observation.rs?", "patient/Observation.rs?category", "patient/Observation.rs?category="),
        *("patient/Observation.rs?category:not=x", "patient/Observation.rs?code:missing=true"),
        *(
            "patient/Observation.rs?subject.name=x",
            "patient/Observation.rs?_include=*",
            "patient/*.rs?_has:x=y",
        ),
        *("patient/Observation.read?category=x", "patient/Observation.rs?category=a,", "user/*.rs\n"),
        *(
            "patient/Observation.rs?category=%ff",
            "launch/patient",
            "openid",
            "",
            " patient/*.rs",
            "patient/*.*.rs",
        ),
    ],
)
def test_what_is_malformed_is_no_scope(text: str) -> None:
    with pytest.raises(UnknownScope):
        parse(text)


def test_others_say_nothing_about_rows() -> None:
    assert parse_all(["openid", "launch/patient", "offline_access"]) == ()
