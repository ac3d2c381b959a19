"""The decision, compared with the sentence of the design: scope with its own context, and role."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.errors import Forbidden
from fhirserver.fhir.structure import COMPARTMENTS, ENDPOINT_TYPES
from fhirserver.interactions.run import HANDLERS
from fhirserver.policy.access import ACTION, FREE, decide, restriction_of
from fhirserver.policy.principal import OPEN, Principal, Role
from fhirserver.policy.restriction import (
    DEFINING,
    EVERYTHING,
    OWNED,
    SHARED,
    CareTeams,
    Compartment,
    Permits,
    Unowned,
    is_narrow,
)
from fhirserver.policy.roles import DEFAULTS, roles
from fhirserver.policy.scopes import ACTIONS, parse_all

PHYSICIAN = Role("practitioner", parse_all(["user/*.cruds"]))
PATIENT = Role("patient", parse_all(["patient/*.rs", "patient/Observation.cu"]))
TEAM = Role("nurse", parse_all(["patient/*.rs"]), care_team=True)
TYPES = ["Patient", "Observation", "Organization", "Device", "Basic", "Group", "Practitioner"]
texts = st.lists(
    st.builds(
        "{}/{}.{}".format,
        st.sampled_from(["patient", "user", "system"]),
        st.sampled_from(["*", *TYPES]),
        st.sampled_from(["r", "s", "rs", "cud", "cruds", "read", "*"]),
    ),
    max_size=4,
)


def allowed(principal: Principal, type_: str, action: str) -> bool:
    try:
        decide(principal, type_, action)
    except Forbidden:
        return False
    return True


def test_every_interaction_has_an_action_or_is_free() -> None:
    assert {*ACTION, *FREE, "operation"} == HANDLERS.keys()


def test_without_sign_in_everything_is_open() -> None:
    assert decide(OPEN, "Patient", "d") is EVERYTHING


@given(texts)
def test_system_scopes_are_for_those_without_a_user(scopes: list[str]) -> None:
    backend = Principal("b", parse_all(scopes))
    for type_, action in product(TYPES, ACTIONS):
        covered = any(
            scope.context == "system" and scope.covers(type_) and action in scope.actions
            for scope in backend.scopes
        )
        assert allowed(backend, type_, action) is covered


@given(texts)
def test_a_user_may_never_do_more_than_the_roles(scopes: list[str]) -> None:
    user = Principal("u", parse_all(scopes), user=("Patient", "p"), patient="q", own=("p",), roles=(PATIENT,))
    for permit in restriction_of(user).permits:
        for type_ in permit.types:
            place = Compartment("Patient", "p")
            if type_ in SHARED:
                assert permit.actions <= frozenset("rs")
            else:
                assert place in permit.places or (type_ in OWNED and Unowned() in permit.places)
                assert permit.actions <= frozenset("rscu" if type_ == "Observation" else "rs")
                assert type_ in COMPARTMENTS["Patient"] or type_ in OWNED
    assert restriction_of(Principal("n", parse_all(scopes), user=("Patient", "p"))).permits == ()


def test_a_patient_scope_is_about_the_patient_in_context_alone() -> None:
    app = Principal(
        "a", parse_all(["patient/*.rs"]), user=("Practitioner", "d"), patient="p", roles=(PHYSICIAN,)
    )
    found = decide(app, "Observation", "r")
    assert isinstance(found, Permits)
    assert {one.places for one in found.of("Observation", "r")} == {(Compartment("Patient", "p"),)}
    assert {one.places for one in found.of("Organization", "s")} == {()}
    assert (
        not allowed(app, "Group", "r")
        and not allowed(app, "Binary", "r")
        and not allowed(app, "Patient", "u")
    )
    nobody = Principal("a", parse_all(["patient/*.rs"]), user=("Practitioner", "d"), roles=(PHYSICIAN,))
    assert not allowed(nobody, "Observation", "r")


def test_a_scope_keeps_its_own_parameters_and_context() -> None:
    both = ["patient/Observation.rs?category=laboratory", "user/Condition.rs"]
    app = Principal("a", parse_all(both), user=("Practitioner", "d"), patient="p", roles=(PHYSICIAN,))
    (one,) = restriction_of(app).of("Observation", "r")
    assert one.places == (Compartment("Patient", "p"),) and one.criteria == (("category", "laboratory"),)
    (other,) = restriction_of(app).of("Condition", "r")
    assert other.places == () and other.criteria == ()


def test_care_teams() -> None:
    nurse = Principal("n", parse_all(["user/*.rs"]), user=("Practitioner", "d"), roles=(TEAM,))
    (one,) = restriction_of(nurse).of("Observation", "r")
    assert one.places == (CareTeams(("Practitioner", "d")),)


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_only_administrators_write_what_the_server_goes_by(name: str) -> None:
    scopes = parse_all(["user/*.cruds", "patient/*.cruds", "user/SearchParameter.cruds"])
    who = ("Patient", "p") if name == "patient" else ("Practitioner", "d")
    caller = Principal("c", scopes, user=who, patient="p", own=("p",), roles=(roles()[name],))
    for type_, action in product(sorted(DEFINING), "cud"):
        assert allowed(caller, type_, action) is (name == "administrator"), (type_, action)
    if name in ("administrator", "practitioner"):
        assert all(allowed(caller, type_, letter) for type_ in TYPES for letter in "crus")
        assert all(allowed(caller, type_, letter) for type_ in DEFINING for letter in "rs")


def test_a_role_may_name_what_the_server_goes_by() -> None:
    terminologist = Role("terminologist", parse_all(["user/*.crus", "user/ValueSet.cruds"]))
    caller = Principal("t", parse_all(["user/*.cruds"]), user=("Practitioner", "d"), roles=(terminologist,))
    assert all(allowed(caller, "ValueSet", letter) for letter in ACTIONS)
    assert not allowed(caller, "SearchParameter", "c") and not allowed(caller, "Patient", "d")


def test_who_may_choose_ids() -> None:
    doctor = Principal("d", parse_all(["user/*.cruds"]), user=("Practitioner", "d"), roles=(PHYSICIAN,))
    assert not is_narrow(decide(doctor, "Patient", "u"), "Patient")
    app = Principal(
        "a", parse_all(["patient/*.cruds"]), user=("Practitioner", "d"), patient="p", roles=(PHYSICIAN,)
    )
    assert is_narrow(decide(app, "Observation", "u"), "Observation")
    assert not is_narrow(EVERYTHING, "Patient")


@pytest.mark.parametrize("type_", sorted(SHARED | OWNED))
def test_what_is_shared_is_a_type_outside_the_compartment(type_: str) -> None:
    assert type_ in ENDPOINT_TYPES and type_ not in COMPARTMENTS["Patient"]
