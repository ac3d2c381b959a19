"""Random consents, askers and data, small enough that they meet."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from typing import Any

from fhirserver.policy.consent.vocabulary import purposes_of
from tests.db.consent.literal import CONFIDENTIALITY_OID, HL7, Ask

Resource = dict[str, Any]
NOW = datetime(2024, 6, 1, 12, 0, 0, tzinfo=UTC)
PURPOSES = ("TREAT", "ETREAT", "BTG", "HRESCH", "CLINTRCH", "CAREMGT")
ACTIONS = ("access", "collect", "correct")
PEOPLE = (
    "Practitioner/d1",
    "Practitioner/d2",
    "Organization/o1",
    "Organization/o2",
    "CareTeam/t1",
    "Device/app",
)
DATES = ("2023-01-01", "2024-01-01", "2024-06-01", "2025-01-01")
CODES = (("http://loinc.org", "1-8"), ("http://loinc.org", "2-6"), ("urn:local", "x"))
LABELS = (
    *((HL7 + "v3-Confidentiality", one) for one in "LNRV"),
    (CONFIDENTIALITY_OID, "R"),
    *((HL7 + "v3-ActCode", one) for one in ("SPI", "SUD", "ETH")),
)
PROFILES = ("http://example.org/p1", "http://example.org/p2")
NAMED = ("Observation/r0", "Observation/r1", "Condition/r2", "DocumentReference/r3")


def coding(pair: tuple[str, str]) -> Resource:
    return {"system": pair[0], "code": pair[1]}


def concept(pair: tuple[str, str]) -> Resource:
    return {"coding": [coding(pair)]}


def some(pick: Random, values: Any) -> list[Any]:
    return pick.sample(values, pick.choice((1, 1, 2)))


def period(pick: Random) -> Resource:
    lo, hi = sorted(pick.sample(DATES, 2))
    return pick.choice(({"start": lo}, {"end": hi}, {"start": lo, "end": hi}))


def actor(pick: Random) -> Resource:
    role = concept((HL7 + "v3-ParticipationType", pick.choice(("IRCP", "IRCP", "PRCP", "AUT", "CST"))))
    if pick.random() < 0.05:
        return {"role": role, "reference": {"display": "somebody"}}
    return {"role": role, "reference": {"reference": pick.choice(PEOPLE)}}


def klass(pick: Random) -> Resource:
    return coding(
        pick.choice(
            (
                *(
                    (("http://hl7.org/fhir/resource-types"), one)
                    for one in ("Observation", "Condition", "Patient")
                ),
                *(("urn:ietf:rfc:3986", one) for one in PROFILES),
                ("urn:ietf:bcp:13", "text/plain"),
                CODES[0],
            )
        )
    )


def criteria(pick: Random) -> Resource:
    makers = {
        "actor": lambda: [actor(pick) for _ in range(pick.choice((1, 1, 2)))],
        "action": lambda: [
            concept((HL7 + "consentaction", one)) for one in some(pick, (*ACTIONS, "disclose", "use", "peek"))
        ],
        "securityLabel": lambda: [coding(one) for one in some(pick, LABELS)],
        "purpose": lambda: [coding((HL7 + "v3-ActReason", one)) for one in some(pick, (*PURPOSES, "NOPE"))],
        "class": lambda: [klass(pick) for _ in range(pick.choice((1, 1, 2)))],
        "code": lambda: [
            {"text": "something"} if pick.random() < 0.1 else concept(one) for one in some(pick, CODES)
        ],
        "dataPeriod": lambda: period(pick),
        "data": lambda: [
            {
                "meaning": pick.choice(("instance", "related", "dependents", "authoredby")),
                "reference": {"reference": pick.choice((*NAMED, *PEOPLE[:2], "Patient/p0"))},
            }
            for _ in range(pick.choice((1, 1, 2)))
        ],
    }
    names = pick.sample(sorted(makers), pick.choice((0, 1, 1, 1, 2, 2, 3)))
    found = {name: makers[name]() for name in names}
    if pick.random() < 0.03:
        found["modifierExtension"] = [{"url": "urn:changes-everything", "valueBoolean": True}]
    return found


def provision(pick: Random, depth: int) -> Resource:
    found = criteria(pick)
    if pick.random() < (0.92 if depth else 0.5):
        found["type"] = pick.choice(("permit", "deny"))
    if pick.random() < 0.2:
        found["period"] = period(pick)
    if depth < 3 and pick.random() < 0.5:
        found["provision"] = [provision(pick, depth + 1) for _ in range(pick.choice((1, 2, 3)))]
    return found


def consent(pick: Random, number: int) -> Resource:
    found: Resource = {
        "resourceType": "Consent",
        "id": f"c{number}",
        "status": "active" if pick.random() < 0.9 else pick.choice(("inactive", "proposed", "rejected")),
        "category": [concept(("http://loinc.org", "59284-0"))],
        "scope": concept((HL7 + "consentscope", "patient-privacy")),
        "patient": {"reference": pick.choice(("Patient/p0", "Patient/p0", "Patient/p1"))},
    }
    if pick.random() < 0.12:
        del found["patient"]
        found["scope"] = concept(("urn:fhirserver:consent-scope", "organization-policy"))
    elif pick.random() < 0.05:
        found["scope"] = concept((HL7 + "consentscope", "research"))
    if pick.random() < 0.8:
        found["policyRule"] = concept((HL7 + "v3-ActCode", pick.choice(("OPTIN", "OPTOUT"))))
    else:
        found["policy"] = [{"uri": "urn:policy"}]
    if pick.random() < 0.3:
        found["dateTime"] = pick.choice(DATES)
    if pick.random() < 0.9:
        found["provision"] = provision(pick, 0)
    if not found.get("provision", True):
        del found["provision"]
    return found


def data(pick: Random) -> list[Resource]:
    found: list[Resource] = [
        {"resourceType": "Patient", "id": "p0", "managingOrganization": {"reference": "Organization/o1"}},
        {"resourceType": "Patient", "id": "p1", "maritalStatus": concept(CODES[2])},
    ]
    for number, type_ in enumerate(("Observation", "Observation", "Condition", "DocumentReference")):
        found.append(datum(pick, type_, f"r{number}"))
    for one in found:
        meta: Resource = {}
        if pick.random() < 0.7:
            meta["security"] = [coding(label) for label in some(pick, LABELS)]
        if pick.random() < 0.5:
            meta["profile"] = some(pick, (*PROFILES, PROFILES[0] + "|1.0"))
        if meta:
            one["meta"] = meta
    return found


def datum(pick: Random, type_: str, id_: str) -> Resource:
    who = "performer" if type_ == "Observation" else "recorder" if type_ == "Condition" else "author"
    date = {"Observation": "effectiveDateTime", "Condition": "recordedDate", "DocumentReference": "date"}[
        type_
    ]
    found: Resource = {
        "resourceType": type_,
        "id": id_,
        "subject": {"reference": pick.choice(("Patient/p0", "Patient/p1"))},
    }
    if type_ == "DocumentReference":
        found |= {
            "status": "current",
            "content": [{"attachment": {"contentType": pick.choice(("text/plain", "application/pdf"))}}],
        }
        if pick.random() < 0.5:
            found["custodian"] = {"reference": pick.choice(PEOPLE[2:4])}
    elif type_ == "Observation":
        found["status"] = "final"
    if pick.random() < 0.7:
        day = pick.choice((*DATES, "2023-07-01"))
        found[date] = f"{day}T10:00:00Z" if type_ == "DocumentReference" else day
    if pick.random() < 0.7:
        name = "type" if type_ == "DocumentReference" else "code"
        found[name] = concept(pick.choice(CODES))
    elif type_ == "Observation":
        found["code"] = {"text": "unknown"}
    if pick.random() < 0.6:
        reference = {"reference": pick.choice((*PEOPLE[:2], "Patient/p1"))}
        found[who] = reference if who == "recorder" else [reference]
    if type_ == "Observation" and pick.random() < 0.4:
        found["hasMember"] = [{"reference": pick.choice(NAMED[:2])}]
    return found


def asks(pick: Random) -> list[Ask]:
    found: list[Ask] = []
    for _ in range(6):
        purpose = pick.choice(PURPOSES)
        who = frozenset(pick.sample(PEOPLE, pick.choice((0, 1, 2, 3))))
        default = any(one.endswith("|TREAT") for one in purposes_of(purpose)) and pick.random() < 0.9
        found.append(Ask(who, pick.choice(("access", "access", *ACTIONS)), purpose, default, NOW))
    return found
