"""NamingSystems as declarations, and what resources claim by them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.errors import Unprocessable
from fhirserver.identity.unique import (
    CHECK,
    UNIQUE,
    Systems,
    declared,
    end_of,
    joined,
    key_of,
    plain,
    together,
)


def naming(*unique: str, check: str | None = None, **more: Any) -> dict[str, Any]:
    extension = [{"url": UNIQUE, "valueCode": one} for one in unique]
    extension += [{"url": CHECK, "valueCode": check}] if check else []
    return {
        "resourceType": "NamingSystem",
        "status": "active",
        "kind": "identifier",
        "extension": extension,
        "uniqueId": [{"type": "uri", "value": "urn:mrn"}],
        **more,
    }


def systems(*resources: dict[str, Any]) -> Systems:
    return Systems.of(together(resources).values())


def patient(*values: str, system: str = "urn:mrn", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "identifier": [{"system": system, "value": value} for value in values],
        **more,
    }


def test_what_is_not_active_or_has_no_extension_declares_nothing() -> None:
    assert declared(naming()) == []
    assert declared(naming("Patient", status="draft")) == []
    assert declared(naming("Patient", status="retired")) == []


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        (naming("Observation"), "NamingSystem.extension[0]"),
        (naming("Patient", check="guess"), "NamingSystem.extension[1]"),
        (naming("Patient", kind="codesystem"), "NamingSystem.kind"),
        (naming("Patient", uniqueId=[{"type": "other", "value": "x"}]), "NamingSystem.uniqueId"),
    ],
)
def test_what_cannot_be_meant_is_refused(resource: dict[str, Any], path: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        declared(resource)
    assert [issue.expression for issue in refused.value.issues] == [path]


def test_two_that_say_different_things_are_refused() -> None:
    with pytest.raises(Unprocessable):
        together([naming("Patient"), naming(check="luhn")])
    assert together([naming("Patient"), naming("Patient")]) == together([naming("Patient")])


def test_all_names_of_a_system_are_one() -> None:
    names = [
        {"type": "oid", "value": "1.2.3"},
        {"type": "uri", "value": "urn:mrn", "preferred": True},
        {"type": "uuid", "value": "urn:uuid:8a7b"},
    ]
    found = systems(naming("Patient", uniqueId=names))
    for system in ("urn:mrn", "urn:oid:1.2.3", "urn:uuid:8a7b"):
        claims = found.claims(patient("1", system=system))
        assert claims is not None
        assert [claim.key for claim in claims] == [key_of("urn:mrn", "1")]
        assert found.names[system] == ("urn:mrn", "urn:oid:1.2.3", "urn:uuid:8a7b")
    assert systems(naming("Patient")).names == {}, "a system of one name has no others"


def test_claims() -> None:
    found = systems(naming("Patient", "Location"))
    assert Systems().claims(patient("1")) is None
    assert found.claims({"resourceType": "Observation"}) is None
    assert found.claims({"resourceType": "Practitioner", "identifier": patient("1")["identifier"]}) == ()
    assert found.claims(patient("1", system="urn:other")) == ()
    assert {(one.value, one.path) for one in found.claims(patient("1", "2", "2")) or ()} == {
        ("1", "Patient.identifier[0]"),
        ("2", "Patient.identifier[2]"),
    }
    assert found.claims({"resourceType": "Patient", "identifier": [{"system": "urn:mrn"}]}) == ()


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ({"reference": "Patient/2"}, "2"),
        ({"reference": "http://elsewhere.example/fhir/Patient/2/_history/3"}, "2"),
        ({"reference": "Patient/1"}, None),
        ({"reference": "Patient/"}, None),
        ({"reference": "urn:uuid:8a7b"}, None),
        ({"reference": "RelatedPerson/2"}, None),
        ({"display": "somebody"}, None),
        ({"identifier": {"value": "2"}}, None),
    ],
)
def test_who_is_replaced_claims_beside_the_one_that_replaces_it(
    reference: dict[str, Any], expected: str | None
) -> None:
    link = [
        {"type": "seealso", "other": {"reference": "Patient/3"}},
        {"type": "replaced-by", "other": reference},
    ]
    claims = systems(naming("Patient")).claims(patient("1", id="1", link=link))
    assert [claim.replaced_by for claim in claims or ()] == [expected]


def test_what_pairs_join() -> None:
    group = joined([("a", "b"), ("c", "c"), ("b", "d"), ("x", "y"), ("y", "x"), ("e", "d")])
    found = {frozenset(name for name in group if group[name] == one) for one in group.values()}
    assert found == {frozenset(one) for one in ("abde", "c", "xy")}


def test_where_links_lead_to() -> None:
    known = {"a": "b", "b": "c", "c": None, "d": "gone", "x": "z", "y": "x", "z": "y", "w": "x"}
    ends = {id_: end_of(id_, known) for id_ in known}
    assert ends == dict.fromkeys("abc", "c") | {"d": "gone"} | dict.fromkeys("wxyz", "x")


@given(st.text("1A \t\n\u00a0\u200b\ufeff\u3000é", max_size=8))
def test_what_nobody_sees_makes_no_other_value(value: str) -> None:
    seen = " ".join(value.replace("\u200b", "").replace("\ufeff", "").split())
    assert plain(value) == seen and key_of("urn:mrn", value) == key_of("urn:mrn", seen)


def test_check_digits_of_every_type() -> None:
    found = systems(naming(check="nhs-number"))
    found.require_valid(patient("9434765919"))
    found.require_valid(patient("1", system="urn:other"))
    with pytest.raises(Unprocessable) as refused:
        found.require_valid(patient("9434765919", "9434765918"))
    assert [issue.expression for issue in refused.value.issues] == ["Patient.identifier[1].value"]
