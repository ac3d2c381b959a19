"""The codes that decide about consent: HL7's, as far as they are compared with one another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

_HL7: Final = "http://terminology.hl7.org/CodeSystem"
ACT_CODE: Final = f"{_HL7}/v3-ActCode"
ACT_REASON: Final = f"{_HL7}/v3-ActReason"
CONFIDENTIALITY: Final = f"{_HL7}/v3-Confidentiality"
CONSENT_ACTION: Final = f"{_HL7}/consentaction"
ACTIONS: Final = frozenset({"collect", "access", "use", "disclose", "correct"})
"""All of `CONSENT_ACTION`."""
CONSENT_SCOPE: Final = f"{_HL7}/consentscope"
RESOURCE_TYPES: Final = "http://hl7.org/fhir/resource-types"
MIME_TYPES: Final = "urn:ietf:bcp:13"
URIS: Final = "urn:ietf:rfc:3986"
_OIDS: Final = {
    "urn:oid:2.16.840.1.113883.5.4": ACT_CODE,
    "urn:oid:2.16.840.1.113883.5.8": ACT_REASON,
    "urn:oid:2.16.840.1.113883.5.25": CONFIDENTIALITY,
}
"""HL7 V3's systems as CDA writes them -> as FHIR does; the functions `consent_labels` and `consent_level` do
the same. https://hl7.org/fhir/R4/terminologies-systems.html"""

PRIVACY: Final = "patient-privacy"
OWN_SCOPE: Final = "urn:fhirserver:consent-scope"
POLICY: Final = "organization-policy"
"""The scope, in `OWN_SCOPE`, of a Consent that is the policy of the whole organisation and no patient's."""

BASES: Final[Mapping[str, bool]] = {
    "OPTIN": True,
    "OPTINR": True,
    "OPTOUT": False,
    "OPTOUTE": False,
    "EMRGONLY": False,
}
"""Consent.policyRule in `ACT_CODE` -> whether the consent permits what none of its provisions is about. The
restrictions of OPTINR and the exceptions of OPTOUTE are its provisions; in emergencies the glass is broken.
https://terminology.hl7.org/CodeSystem-v3-ActCode.html"""

LEVELS: Final = ("U", "L", "M", "N", "R", "V")
"""Confidentiality, from unrestricted to very restricted."""

TREAT: Final = "TREAT"
ROOT: Final = "PurposeOfUse"
"""What every purpose is a kind of."""
BREAK_GLASS: Final = "BTG"

AUTHORS: Final = frozenset({"AUT", "INF", "TRANS", "ENT"})
"""Roles of actors who made what the data says: the rule is about their data, whoever asks for it."""
CUSTODIANS: Final = frozenset({"CST"})
"""Roles of actors who keep the data."""

PURPOSES: Final[Mapping[str, str]] = {
    code: broader
    for broader, codes in {
        "PurposeOfUse": "HMARKT HOPERAT HPAYMT HRESCH PATRQT PUBHLTH TREAT",
        "HOPERAT": "CAREMGT DONAT FRAUD GOV HACCRED HCOMPL HDECD HDIRECT HDM HLEGAL HOUTCOMS HPRGRP HQUALIMP"
        " HSYSADMIN MEMADMIN MILCDM PATADMIN PATSFTY PERFMSR RECORDMGT SYSDEV TRAIN",
        "HSYSADMIN": "LABELING METAMGT",
        "SYSDEV": "HTEST",
        "HPAYMT": "CLMATTCH COVAUTH COVERAGE REMITADV",
        "COVERAGE": "ELIGDTRM ELIGVER ENROLLM MILDCRG",
        "HRESCH": "BIORCH CLINTRCH DSRCH POARCH TRANSRCH",
        "CLINTRCH": "CLINTRCHNPC CLINTRCHPC PRECLINTRCH",
        "PATRQT": "FAMRQT PWATRNY SUPNWK",
        "PUBHLTH": "DISASTER THREAT",
        "TREAT": "CLINTRL COC ETREAT POPHLTH",
        "ETREAT": "BTG ERTREAT",
    }.items()
    for code in codes.split()
}
"""Purpose of use -> the one that it is a kind of. https://terminology.hl7.org/CodeSystem-v3-ActReason.html"""

_SENSITIVE: Final[Mapping[str, tuple[str, ...]]] = {
    "_ActInformationSensitivityPolicy": (
        *("ETH", "GDIS", "HIV", "MST", "SCA", "SDV", "SEX", "SPI", "STD", "TBOO", "VIO", "SICKLE"),
    ),
    "SPI": ("BH", "MH", "PSY", "PSYTHPN", "SUD"),
    "BH": ("COGN", "DVD", "EMOTDIS"),
    "SUD": ("ETHUD", "OPIOIDUD"),
    "_EntitySensitivityPolicyType": ("DEMO", "DOB", "GENDER", "LIVARG", "MARST", "RACE", "REL"),
    "_RoleInformationSensitivityPolicy": ("B", "EMPL", "LOCIS", "SSP"),
}
"""Sensitivity in `ACT_CODE` -> the narrower ones."""


def canonical(system: str) -> str:
    """A system as FHIR writes it."""
    return _OIDS.get(system, system)


def is_purpose(system: str, code: str) -> bool:
    """Whether it is a purpose of use that is known, of which others are kinds or not."""
    return canonical(system) == ACT_REASON and (code in PURPOSES or code == ROOT)


def purposes_of(purpose: str) -> tuple[str, ...]:
    """A purpose of use and all that it is a kind of, as `system|code`."""
    found: list[str] = []
    code: str | None = purpose
    while code is not None:
        found.append(f"{ACT_REASON}|{code}")
        code = PURPOSES.get(code)
    return tuple(found)


def labels_under(system: str, code: str) -> Iterator[str]:
    """A security label and those that it subsumes, as `system|code`."""
    yield f"{system}|{code}"
    if system == ACT_CODE:
        for narrower in _SENSITIVE.get(code, ()):
            yield from labels_under(system, narrower)
