"""A case for every line of the rules: consents, who asks for what, and what comes of it.

`python -m tests.db.consent.cases` writes them as the truth table of docs/explanation/consent.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.db.consent.literal import CONFIDENTIALITY, CONFIDENTIALITY_OID, HL7, Ask

Resource = dict[str, Any]
DOC = Path(__file__).parents[3] / "docs/explanation/consent.md"
BEGIN, END = "<!-- cases -->", "<!-- /cases -->"
NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)
LOINC = "http://loinc.org"


def concept(system: str, code: str) -> Resource:
    return {"coding": [{"system": system, "code": code}]}


def consent(rule: str | None = None, *, id_: str = "c", **more: Any) -> Resource:
    found: Resource = {
        "resourceType": "Consent",
        "id": id_,
        "status": "active",
        "scope": concept(HL7 + "consentscope", "patient-privacy"),
        "category": [concept(HL7 + "v3-ActCode", "IDSCL")],
        "patient": {"reference": "Patient/p0"},
    }
    found |= {"policyRule": concept(HL7 + "v3-ActCode", rule)} if rule else {"policy": [{"uri": "urn:p"}]}
    found |= more
    return {name: value for name, value in found.items() if value is not None}


def policy(rule: str, **more: Any) -> Resource:
    scope = concept("urn:fhirserver:consent-scope", "organization-policy")
    return consent(rule, id_="policy", scope=scope, patient=None, **more)


def actor(path: str, role: str = "IRCP") -> Resource:
    return {"role": concept(HL7 + "v3-ParticipationType", role), "reference": {"reference": path}}


def to(path: str, role: str = "IRCP", **more: Any) -> Resource:
    return {"actor": [actor(path, role)], **more}


def labels(*codes: str) -> list[Resource]:
    return [
        {"system": CONFIDENTIALITY if len(code) == 1 else HL7 + "v3-ActCode", "code": code} for code in codes
    ]


def purpose(code: str) -> list[Resource]:
    return [{"system": HL7 + "v3-ActReason", "code": code}]


def action(code: str) -> list[Resource]:
    return [concept(HL7 + "consentaction", code)]


def klass(system: str, code: str) -> Resource:
    return {"class": [{"system": system, "code": code}]}


def observation(**more: Any) -> Resource:
    found: Resource = {
        "resourceType": "Observation",
        "id": "o",
        "status": "final",
        "code": concept(LOINC, "1-8"),
        "subject": {"reference": "Patient/p0"},
        "performer": [{"reference": "Practitioner/d1"}],
        "effectiveDateTime": "2024-01-15",
        **more,
    }
    return {name: value for name, value in found.items() if value is not None}


def labelled(*codes: str) -> Resource:
    return observation(meta={"security": labels(*codes)})


@dataclass(frozen=True)
class Case:
    """`line` is that of the rules; Dr. d1 asks to read for treatment unless it says otherwise."""

    line: str
    name: str
    permitted: bool
    consents: list[Resource]
    resource: Resource = field(default_factory=observation)
    who: tuple[str, ...] = ("Practitioner/d1",)
    action: str = "access"
    purpose: str = "TREAT"
    others: tuple[Resource, ...] = ()

    @property
    def ask(self) -> Ask:
        default = self.purpose in ("TREAT", "ETREAT", "BTG")
        return Ask(frozenset(self.who), self.action, self.purpose, default, NOW)


D1, D2, O1 = "Practitioner/d1", "Practitioner/d2", "Organization/o1"
TYPES = "http://hl7.org/fhir/resource-types"
DENY, PERMIT = {"type": "deny"}, {"type": "permit"}
OF_2024 = {"dataPeriod": {"start": "2024-01-01", "end": "2024-12-31"}}
OF_NIGHT = {"dataPeriod": {"start": "2024-01-15T22:00:00Z"}}


def root(rule: str | None, **provision: Any) -> list[Resource]:
    return [consent(rule, provision=provision)]


def nested(rule: str, *provisions: Resource) -> list[Resource]:
    return [consent(rule, provision={"provision": list(provisions)})]


CONTAINING = observation(
    meta={"security": labels("N", "PSY"), "profile": ["urn:q"]},
    contained=[
        {
            "resourceType": "Specimen",
            "id": "s",
            "meta": {"security": labels("V", "ETH"), "profile": ["urn:p"]},
        }
    ],
    specimen={"reference": "#s"},
)

CASES = [
    Case("1", "a consent that is not active says nothing", True, [consent("OPTOUT", status="inactive")]),
    Case(
        "1",
        "nor one of another scope",
        True,
        [consent("OPTOUT", scope=concept(HL7 + "consentscope", "research"))],
    ),
    Case("1", "nor one of another patient", True, [consent("OPTOUT", patient={"reference": "Patient/p1"})]),
    Case("1", "nor one whose period is over", True, root("OPTOUT", period={"end": "2024-05-31"})),
    Case("1", "nor one whose period has not begun", True, root("OPTOUT", period={"start": "2024-06-02"})),
    Case(
        "1", "a period lasts to the end of its last day", False, root("OPTOUT", period={"end": "2024-06-01"})
    ),
    Case("1", "nor one of tomorrow", True, [consent("OPTOUT", dateTime="2024-06-02")]),
    Case("2", "a policy is about every patient", False, [policy("OPTOUT")]),
    Case(
        "2",
        "a policy that names a patient is none",
        True,
        [{**policy("OPTOUT"), "patient": {"reference": "Patient/p0"}}],
    ),
    Case("4", "OPTIN permits", True, [consent("OPTIN")], purpose="HRESCH"),
    Case("4", "OPTOUT denies", False, [consent("OPTOUT")]),
    Case("4", "OPTINR permits: with restrictions", True, [consent("OPTINR")], purpose="HRESCH"),
    Case("4", "OPTOUTE denies: with exceptions", False, [consent("OPTOUTE")]),
    Case("4", "which may permit", True, nested("OPTOUTE", {**PERMIT, **to(D1)})),
    Case("4", "EMRGONLY denies", False, [consent("EMRGONLY")]),
    Case("4", "but who breaks the glass", True, [consent("EMRGONLY")], purpose="BTG"),
    Case("4", "a typed root without criteria is the base", False, root(None, type="deny")),
    Case("4", "the same, permitting", True, root(None, type="permit"), purpose="HRESCH"),
    Case("4", "two bases that differ deny", False, root("OPTIN", type="deny")),
    Case("4", "in the other order as well", False, root("OPTOUT", type="permit")),
    Case("5", "a typed root with criteria: what it matches", False, root("OPTIN", **DENY, **to(D1))),
    Case(
        "5", "a typed root with criteria: the rest", True, root("OPTIN", **DENY, **to(D2)), purpose="HRESCH"
    ),
    Case("5", "a permitting root under OPTOUT", True, root("OPTOUT", **PERMIT, **to(D1))),
    Case("5", "without policyRule it speaks of its matches", False, root(None, **DENY, **to(D1))),
    Case("5", "and of nothing else", True, root(None, **DENY, **to(D2))),
    Case("5", "nor does it permit anything else", False, root(None, **PERMIT, **to(D2)), purpose="HRESCH"),
    Case("6", "an untyped root with criteria denies under OPTIN", False, root("OPTIN", **to(D1))),
    Case("6", "what it does not match is permitted", True, root("OPTIN", **to(D2)), purpose="HRESCH"),
    Case("6", "under OPTOUT it adds nothing", False, root("OPTOUT", **to(D1))),
    Case("6", "an exception within it may", True, root("OPTOUT", **to(D1), provision=[PERMIT])),
    Case("7", "neither policyRule nor type: not enforced", True, root(None, **to(D1))),
    Case("7", "nor does it permit", False, root(None, **to(D1)), purpose="HRESCH"),
    Case(
        "7",
        "a nested provision without type is left out",
        False,
        nested("OPTOUT", {**to(D1), "provision": [PERMIT]}),
    ),
    Case("8", "the deepest decides", True, nested("OPTOUT", {**PERMIT, **to(D1)})),
    Case(
        "8",
        "the deepest decides, again",
        False,
        nested("OPTOUT", {**PERMIT, **to(D1), "provision": [{**DENY, "action": action("access")}]}),
    ),
    Case(
        "8",
        "an exception to what does not match is none",
        False,
        nested("OPTOUT", {**PERMIT, **to(D2), "provision": [{**PERMIT, **to(D1)}]}),
    ),
    Case(
        "8",
        "a tie denies",
        False,
        nested("OPTOUT", {**PERMIT, **to(D1)}, {**DENY, "action": action("access")}),
    ),
    Case(
        "period",
        "a nested provision that is over",
        False,
        nested("OPTOUT", {**PERMIT, "period": {"end": "2024-01-01"}}),
    ),
    Case("actor", "somebody else is not meant", False, root("OPTOUT", **PERMIT, **to(D2))),
    Case("actor", "what the asker belongs to is", True, root("OPTOUT", **PERMIT, **to(O1)), who=(D1, O1)),
    Case("actor", "one of several suffices", True, root("OPTOUT", **PERMIT, actor=[actor(D2), actor(D1)])),
    Case("actor", "an author is not who asks", False, root("OPTIN", **DENY, **to(D1, "AUT")), who=(D2,)),
    Case("actor", "nor is who asks the author", True, root("OPTIN", **DENY, **to(D2, "AUT")), who=(D2,)),
    Case(
        "actor",
        "recipient and author are two conditions",
        True,
        root("OPTIN", **DENY, actor=[actor(D2), actor(D1, "AUT")]),
    ),
    Case(
        "actor",
        "a custodian keeps the data",
        False,
        root("OPTIN", **DENY, **to(O1, "CST")),
        {"resourceType": "Patient", "id": "p0", "managingOrganization": {"reference": O1}},
    ),
    Case(
        "action",
        "what is not named is not meant",
        True,
        root("OPTIN", **DENY, action=action("correct")),
        purpose="HRESCH",
    ),
    Case(
        "action",
        "creating is collect",
        False,
        root("OPTIN", **DENY, action=action("collect")),
        action="collect",
    ),
    Case(
        "action",
        "to deny disclosure is to deny reading",
        False,
        root("OPTIN", **DENY, action=action("disclose")),
    ),
    Case(
        "action",
        "to permit disclosure is not to permit reading",
        False,
        root("OPTOUT", **PERMIT, action=action("disclose")),
    ),
    Case(
        "purpose", "another purpose is not meant", False, root("OPTOUT", **PERMIT, purpose=purpose("HRESCH"))
    ),
    Case(
        "purpose",
        "a kind of it is",
        True,
        root("OPTOUT", **PERMIT, purpose=purpose("TREAT")),
        purpose="ETREAT",
    ),
    Case(
        "purpose", "what it is a kind of is not", False, root("OPTOUT", **PERMIT, purpose=purpose("ETREAT"))
    ),
    Case(
        "securityLabel",
        "a permission reaches up to its mark",
        True,
        root("OPTOUT", **PERMIT, securityLabel=labels("R")),
        labelled("N"),
    ),
    Case(
        "securityLabel",
        "and not beyond",
        False,
        root("OPTOUT", **PERMIT, securityLabel=labels("N")),
        labelled("R"),
    ),
    Case(
        "securityLabel",
        "a denial begins at its mark",
        False,
        root("OPTIN", **DENY, securityLabel=labels("R")),
        labelled("V"),
    ),
    Case(
        "securityLabel",
        "and not before",
        True,
        root("OPTIN", **DENY, securityLabel=labels("R")),
        labelled("N"),
    ),
    Case(
        "securityLabel",
        "a mark counts as CDA writes it, too",
        False,
        root("OPTIN", **DENY, securityLabel=labels("R")),
        observation(meta={"security": [*labels("N"), {"system": CONFIDENTIALITY_OID, "code": "R"}]}),
    ),
    Case(
        "securityLabel",
        "the highest of the data's marks counts",
        False,
        root("OPTIN", **DENY, securityLabel=labels("R")),
        labelled("N", "R"),
    ),
    Case(
        "securityLabel",
        "a label means those under it",
        False,
        root("OPTIN", **DENY, securityLabel=labels("SPI")),
        labelled("ETHUD"),
    ),
    Case(
        "securityLabel",
        "and not those above",
        True,
        root("OPTIN", **DENY, securityLabel=labels("ETHUD")),
        labelled("SPI"),
    ),
    Case(
        "securityLabel",
        "mark and label are two conditions",
        False,
        root("OPTOUT", **PERMIT, securityLabel=labels("N", "ETH")),
        labelled("N"),
    ),
    Case("class", "another type is not meant", False, root("OPTOUT", **PERMIT, **klass(TYPES, "Condition"))),
    Case("class", "a type", True, root("OPTOUT", **PERMIT, **klass(TYPES, "Observation"))),
    Case(
        "class",
        "a profile, whatever its version",
        True,
        root("OPTOUT", **PERMIT, **klass("urn:ietf:rfc:3986", "urn:p")),
        observation(meta={"profile": ["urn:p|2"]}),
    ),
    Case("class", "a code, elsewhere", True, root("OPTOUT", **PERMIT, **klass(LOINC, "1-8"))),
    *(
        Case("within", f"{name}, in what the data contain", permitted, root(rule, **provision), CONTAINING)
        for name, permitted, rule, provision in (
            ("a type that is denied", False, "OPTIN", {**DENY, **klass(TYPES, "Specimen")}),
            ("another type", True, "OPTIN", {**DENY, **klass(TYPES, "Condition")}),
            ("a type that is permitted", False, "OPTOUT", {**PERMIT, **klass(TYPES, "Specimen")}),
            ("a profile", False, "OPTIN", {**DENY, **klass("urn:ietf:rfc:3986", "urn:p")}),
            ("a mark", False, "OPTIN", {**DENY, "securityLabel": labels("R")}),
            ("a label", False, "OPTIN", {**DENY, "securityLabel": labels("ETH")}),
            ("none of its labels", True, "OPTIN", {**DENY, "securityLabel": labels("SUD")}),
        )
    ),
    Case("code", "a code that is found", False, root("OPTIN", **DENY, code=[concept(LOINC, "1-8")])),
    Case("code", "of another system", True, root("OPTIN", **DENY, code=[concept("urn:s", "1-8")])),
    Case(
        "code",
        "anywhere",
        False,
        root("OPTIN", **DENY, code=[concept(LOINC, "2-6")]),
        observation(bodySite=concept(LOINC, "2-6")),
    ),
    Case("dataPeriod", "data from within", False, root("OPTIN", **DENY, **OF_2024)),
    Case(
        "dataPeriod",
        "and from before",
        True,
        root("OPTIN", **DENY, **OF_2024),
        observation(effectiveDateTime="2023-12-31"),
    ),
    Case("dataPeriod", "within in part: perhaps", False, root("OPTIN", **DENY, **OF_NIGHT)),
    Case("dataPeriod", "within in part: not for sure", False, root("OPTOUT", **PERMIT, **OF_NIGHT)),
    *(
        Case(
            "data",
            f"{meaning}: {name}",
            permitted,
            root("OPTIN", **DENY, data=[{"meaning": meaning, "reference": {"reference": path}}]),
            resource,
            others=(observation(id="head", hasMember=[{"reference": "Observation/o"}]),),
        )
        for meaning, name, permitted, path, resource in (
            ("instance", "itself", False, "Observation/o", observation()),
            ("instance", "not what refers to it", True, "Observation/head", observation()),
            ("related", "what it refers to", False, "Observation/head", observation()),
            (
                "related",
                "not what refers to it",
                True,
                "Observation/x",
                observation(hasMember=[{"reference": "Observation/x"}]),
            ),
            (
                "dependents",
                "what refers to it",
                False,
                "Observation/x",
                observation(hasMember=[{"reference": "Observation/x"}]),
            ),
            ("dependents", "not what it refers to", True, "Observation/head", observation()),
            ("authoredby", "what it made", False, D1, observation()),
            ("authoredby", "not what is about it", True, "Patient/p0", observation()),
        )
    ),
    *(
        case
        for name, criterion, bare in (
            ("labels", {"securityLabel": labels("ETH")}, observation()),
            ("a mark", {"securityLabel": labels("R")}, labelled("ETH")),
            ("codes", {"code": [concept(LOINC, "1-8")]}, observation(code={"text": "x"})),
            ("a date", OF_2024, observation(effectiveDateTime=None)),
            ("an author", to(D1, "AUT"), observation(performer=None)),
            ("a profile", klass("urn:ietf:rfc:3986", "urn:p"), observation()),
        )
        for case in (
            Case("9", f"{name}: missing matches a denial", False, root("OPTIN", **DENY, **criterion), bare),
            Case(
                "9",
                f"{name}: missing matches no permission",
                False,
                root("OPTOUT", **PERMIT, **criterion),
                bare,
            ),
        )
    ),
    Case(
        "9",
        "a denial in what perhaps matches",
        False,
        nested("OPTIN", {**PERMIT, **OF_2024, "provision": [{**DENY, **to(D1)}]}),
        observation(effectiveDateTime=None),
    ),
    Case(
        "9",
        "a permission in what perhaps matches",
        False,
        nested("OPTIN", {**DENY, **OF_2024, "provision": [{**PERMIT, **to(D1)}]}),
        observation(effectiveDateTime=None),
    ),
    Case(
        "9",
        "an actor that nobody knows",
        False,
        root("OPTIN", **DENY, actor=[{**actor(D2), "reference": {"display": "she"}}]),
    ),
    Case(
        "9",
        "an action that nobody knows",
        False,
        root("OPTIN", **DENY, action=[concept("urn:x", "access")]),
    ),
    Case("9", "nor its system's", False, root("OPTIN", **DENY, action=action("peek"))),
    Case(
        "9",
        "such an action permits nothing",
        False,
        root("OPTOUT", **PERMIT, action=[concept("urn:x", "access")]),
    ),
    Case("9", "a purpose that nobody knows", False, root("OPTIN", **DENY, purpose=purpose("NOPE"))),
    Case(
        "9",
        "such a purpose permits nothing",
        False,
        root("OPTOUT", **PERMIT, purpose=[{"system": "urn:x", "code": "TREAT"}]),
    ),
    Case("9", "a code in words", False, root("OPTIN", **DENY, code=[{"text": "anything"}])),
    Case(
        "9",
        "a modifier extension",
        False,
        root("OPTOUT", **PERMIT, **to(D1), modifierExtension=[{"url": "urn:m", "valueBoolean": True}]),
    ),
    Case("10", "any denial decides", False, [consent("OPTIN"), consent("OPTOUT", id_="d")]),
    Case("10", "a permission permits what is not by default", True, [consent("OPTIN")], purpose="HRESCH"),
    Case("10", "any denial, of a policy too", False, [consent("OPTIN"), policy("OPTOUT")]),
    Case("10", "a policy permits", True, [policy("OPTIN")], purpose="HRESCH"),
    Case(
        "10",
        "both patients have to permit",
        False,
        [consent("OPTIN")],
        observation(performer=[{"reference": "Patient/p1"}]),
        purpose="HRESCH",
    ),
    Case(
        "10",
        "when they do",
        True,
        [consent("OPTIN"), consent("OPTIN", id_="d", patient={"reference": "Patient/p1"})],
        observation(performer=[{"reference": "Patient/p1"}]),
        purpose="HRESCH",
    ),
    Case(
        "10",
        "either may deny",
        False,
        [consent("OPTOUT", patient={"reference": "Patient/p1"})],
        observation(performer=[{"reference": "Patient/p1"}]),
    ),
    Case("11", "treatment is permitted", True, []),
    Case("11", "research is not", False, [], purpose="HRESCH"),
    Case("BTG", "a denial is lifted", True, [consent("OPTOUT")], purpose="BTG"),
    Case(
        "BTG",
        "unless it names the purpose",
        False,
        root("OPTIN", **DENY, purpose=purpose("BTG")),
        purpose="BTG",
    ),
    Case(
        "BTG",
        "naming treatment is not enough",
        True,
        root("OPTIN", **DENY, purpose=purpose("TREAT")),
        purpose="BTG",
    ),
]


def table() -> str:
    lines = ["| rule | case | |", "|---|---|---|"]
    lines += [f"| {one.line} | {one.name} | {'permit' if one.permitted else 'deny'} |" for one in CASES]
    return "\n".join(lines)


def written(text: str) -> str:
    """The page with the table as it is now."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    DOC.write_text(written(DOC.read_text()))
