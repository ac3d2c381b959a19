"""The setting `consent`: purposes, defaults, and that nothing changes where it is off."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fhirserver.db.sql import TRUE
from fhirserver.errors import Forbidden, Invalid
from fhirserver.fhir.keys import Keys
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.params.registry import r4
from fhirserver.policy.consent.enforcement import code_of, enforcement_of
from fhirserver.policy.consent.vocabulary import PURPOSES, purposes_of
from fhirserver.policy.principal import OPEN, Principal, Role
from fhirserver.policy.restriction import EVERYTHING, Permit, Permits, is_narrow
from fhirserver.search.context import Context
from fhirserver.search.restrict import permitted

DOCTOR = Principal("d", user=("Practitioner", "d"), roles=(Role("practitioner", ()),), client="app")


def asking(setting: str, purpose: str | None = None, who: Principal = DOCTOR):
    enforcement = enforcement_of(setting)
    assert enforcement is not None
    return enforcement.asking(who, purpose, "urn:clients")


def test_off_is_off() -> None:
    assert enforcement_of("off") is None
    context = Context(r4(), Keys(b"0" * 32, 1), 0)
    assert all(permitted(context, type_) is TRUE for type_ in [None, *sorted(ENDPOINT_TYPES)])
    assert not is_narrow(EVERYTHING, "Observation")


def test_who_asks() -> None:
    found = asking("{}")
    assert (found.actors, found.app, found.purpose) == (
        (("Practitioner", "d"),),
        ("urn:clients", "app"),
        "TREAT",
    )
    assert found.default
    assert not found.administers
    assert asking("{}", who=OPEN).administers
    assert asking('{"administrators": ["practitioner"]}').administers


@pytest.mark.parametrize("purpose", sorted(PURPOSES))
def test_only_treatment_is_permitted_by_default(purpose: str) -> None:
    setting = f'{{"purposes": {{"practitioner": ["{purpose}"]}}}}'
    kinds = purposes_of(purpose)
    assert asking(setting).default == any(one.endswith("|TREAT") for one in kinds)
    assert kinds[-1].endswith("|PurposeOfUse")
    assert len(set(kinds)) == len(kinds)


def test_defaults_hold_for_kinds_and_tenants() -> None:
    setting = (
        '{"defaults": {"HRESCH": "permit", "CLINTRCH": "deny"}, "tenants": {"2": {"TREAT": "deny"}},'
        ' "purposes": {"practitioner": ["DSRCH", "CLINTRCHPC", "ETREAT"]}}'
    )
    assert asking(setting, "DSRCH").default
    assert not asking(setting, "CLINTRCHPC").default
    assert asking(setting, "ETREAT").default
    other = enforcement_of(setting, 2)
    assert other is not None
    assert not other.asking(DOCTOR, "ETREAT", "").default


def test_purposes_are_of_roles() -> None:
    setting = '{"purposes": {"practitioner": ["ETREAT", "BTG"], "*": ["HOPERAT"]}}'
    assert asking(setting).purpose == "ETREAT"
    with pytest.raises(Forbidden, match="ETREAT, BTG"):
        asking(setting, "TREAT")
    assert asking(setting, who=Principal("s", client="backend")).purpose == "HOPERAT"
    broken = asking(setting, "BTG")
    assert broken.breaks_glass
    assert broken.glass == (), "nothing is open by claiming it"
    assert asking("{}", "HRESCH", who=OPEN).purpose == "HRESCH"


def test_purposes_of_a_token_are_all_that_it_serves() -> None:
    setting = '{"purposes": {"practitioner": ["TREAT", "ETREAT"]}}'
    token = replace(DOCTOR, purposes=("ETREAT", "HRESCH"))
    assert asking(setting, who=token).purpose == "ETREAT"
    with pytest.raises(Forbidden, match="another purpose of use: ETREAT, HRESCH"):
        asking(setting, "TREAT", who=token)
    with pytest.raises(Forbidden, match="not one that you may claim"):
        asking(setting, "HRESCH", who=token)


def test_a_purpose_as_it_is_written() -> None:
    assert code_of("http://terminology.hl7.org/CodeSystem/v3-ActReason|TREAT") == "TREAT"
    assert code_of("urn:oid:2.16.840.1.113883.5.8|HRESCH") == "HRESCH"
    for wrong in ("", "treat", "urn:x|TREAT", "|TREAT", "TREAT,BTG"):
        with pytest.raises(Invalid):
            code_of(wrong)


@pytest.mark.parametrize(
    "setting",
    ["on", "[]", '{"default": {}}', '{"defaults": {"FUN": "permit"}}', '{"defaults": {"TREAT": "yes"}}'],
)
def test_what_is_no_setting(setting: str) -> None:
    with pytest.raises(ValueError, match=r"off|purpose of use|permit"):
        enforcement_of(setting)


def test_who_may_have_hidden_rows_chooses_no_ids() -> None:
    whole = Permits((Permit(ENDPOINT_TYPES, frozenset("cruds")),), asking=asking("{}"))
    assert is_narrow(whole, "Observation")
    assert is_narrow(whole, "Device")
    assert not is_narrow(whole, "Organization")
