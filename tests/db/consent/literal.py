"""What consents mean, read off the resources as they stand: slow, and sharing nothing with the server.

https://hl7.org/fhir/R4/consent.html, docs/explanation/consent.md. True, False, None: yes, no, nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

Resource = dict[str, Any]
Truth = bool | None
HL7 = "http://terminology.hl7.org/CodeSystem/"
CONFIDENTIALITY = HL7 + "v3-Confidentiality"
CONFIDENTIALITY_OID = "urn:oid:2.16.840.1.113883.5.25"
ACTIONS = {"collect", "access", "use", "disclose", "correct"}
MARKS = "ULMNRV"
CLINICAL = {"Observation": "effectiveDateTime", "Condition": "recordedDate", "DocumentReference": "date"}
"""Of the types in these tests, the element with the date of the data."""
KINDS_OF_SPI = {"SPI", "BH", "MH", "PSY", "PSYTHPN", "SUD", "COGN", "DVD", "EMOTDIS", "ETHUD", "OPIOIDUD"}
BROADER = {
    "BTG": "ETREAT",
    "ERTREAT": "ETREAT",
    "ETREAT": "TREAT",
    "CAREMGT": "HOPERAT",
    "CLINTRCH": "HRESCH",
    "TREAT": "PurposeOfUse",
    "HRESCH": "PurposeOfUse",
    "HOPERAT": "PurposeOfUse",
}


@dataclass(frozen=True)
class Ask:
    """`who` is everything that the asker is or belongs to, as Type/id."""

    who: frozenset[str]
    action: str
    purpose: str
    default: bool
    now: datetime


def is_permitted(
    consents: list[Resource], ask: Ask, resource: Resource, patients: list[str], world: dict[str, Resource]
) -> bool:
    """Any denial wins; who is not denied by default is permitted; else each patient, or a policy, permits."""
    said: dict[str | None, list[bool]] = {}
    for consent in consents:
        whose = consent.get("patient", {}).get("reference")
        if whose in (None, *patients):
            verdict = says(consent, ask, resource, world)
            if verdict is not None:
                said.setdefault(whose, []).append(verdict)
    if any(False in verdicts for verdicts in said.values()):
        return False
    if ask.default or said.get(None):
        return True
    known = [patient for patient in patients if patient in world]
    return bool(known) and all(said.get(patient) for patient in known)


def says(consent: Resource, ask: Ask, resource: Resource, world: dict[str, Resource]) -> Truth:
    """What one consent says of one resource; None where it says nothing."""
    scopes = {(one["system"], one["code"]) for one in consent["scope"]["coding"]}
    privacy = (HL7 + "consentscope", "patient-privacy") in scopes and "patient" in consent
    policy = ("urn:fhirserver:consent-scope", "organization-policy") in scopes and "patient" not in consent
    if consent["status"] != "active" or not (privacy or policy):
        return None
    root: Resource = consent.get("provision", {})
    if "dateTime" in consent and ask.now < span(consent["dateTime"])[0]:
        return None
    if not holds(root.get("period"), ask.now):
        return None
    rule = {one["code"] for one in consent.get("policyRule", {}).get("coding", ())}
    bases = [True] * bool(rule & {"OPTIN", "OPTINR"}) + [False] * bool(
        rule & {"OPTOUT", "OPTOUTE", "EMRGONLY"}
    )
    narrow = bool(root.keys() - {"type", "period", "provision", "modifierExtension"})
    if "type" in root and not narrow:
        bases.append(root["type"] == "permit")
    if not bases and "type" not in root:
        return None
    base = None if not bases else False not in bases
    found: list[tuple[int, bool]] = []
    sure: Truth = None if "modifierExtension" in consent or "modifierExtension" in root else True
    reach(found, ask, root, 0, base, sure)
    depth = 0
    if narrow:
        depth = 1
        permits = (root["type"] == "permit") if "type" in root else (False if base else None)
        sure = every([sure, *criteria(root, permits, ask, resource, world)])
        reach(found, ask, root, 1, permits, sure)
    below(found, root, depth, sure, ask, resource, world)
    if not found:
        return None
    deepest = max(depth for depth, _ in found)
    return all(permits for depth, permits in found if depth == deepest)


def reach(
    found: list[tuple[int, bool]], ask: Ask, provision: Resource, depth: int, permits: Truth, sure: Truth
) -> None:
    """Who breaks the glass is kept out by no denial but those that name it."""
    if permits is True and sure is True:
        found.append((depth, True))
    if permits is False and sure is not False:
        names_it = any(one.get("code") == "BTG" for one in provision.get("purpose", ())) and depth > 0
        if ask.purpose != "BTG" or names_it:
            found.append((depth, False))


def below(
    found: list[tuple[int, bool]],
    provision: Resource,
    depth: int,
    sure: Truth,
    ask: Ask,
    resource: Resource,
    world: dict[str, Resource],
) -> None:
    for nested in provision.get("provision", ()):
        if "type" not in nested:
            continue
        permits = nested["type"] == "permit"
        parts = criteria(nested, permits, ask, resource, world)
        here = every([sure, holds(nested.get("period"), ask.now), *parts])
        reach(found, ask, nested, depth + 1, permits, here)
        below(found, nested, depth + 1, here, ask, resource, world)


# -- who asks


def belonging(user: str, world: dict[str, Resource], now: datetime) -> frozenset[str]:
    """The user, and all that they belong to now, as Type/id: roles, houses, teams and groups."""
    found = {user}
    houses: list[str] = []
    for path, one in world.items():
        is_role = one["resourceType"] == "PractitionerRole" and one["practitioner"]["reference"] == user
        if is_role and one.get("active", True) and holds(one.get("period"), now):
            found.add(path)
            houses += refs(one.get("organization"))
    while houses:
        house = houses.pop()
        if house in world and house not in found:
            found.add(house)
            houses += refs(world[house].get("partOf"))
    they = frozenset(found)
    for path, one in world.items():
        members = one.get("participant" if one["resourceType"] == "CareTeam" else "member", ())
        is_there = (
            one.get("status", "active") == "active" and one.get("active", True) and one.get("actual", True)
        )
        if is_there and holds(one.get("period"), now):
            for member in members:
                named = refs(member.get("member", member.get("entity")))
                counts = not member.get("inactive", False) and holds(member.get("period"), now)
                if counts and they & set(named):
                    found.add(path)
    return frozenset(found)


# -- what a provision demands


def criteria(
    provision: Resource, permits: Truth, ask: Ask, resource: Resource, world: dict[str, Resource]
) -> Iterator[Truth]:
    inside = [one for one in parts(resource) if "resourceType" in one and one is not resource]
    inside = inside if permits is False else []
    if "modifierExtension" in provision:
        yield None
    if "actor" in provision:
        yield from actors(provision["actor"], ask, resource)
    if "action" in provision:
        yield any_of([action(one["coding"][0], ask.action) for one in provision["action"]])
    if "purpose" in provision:
        kinds, kind = {ask.purpose}, ask.purpose
        while kind in BROADER:
            kind = BROADER[kind]
            kinds.add(kind)
        yield any_of([is_purpose(one, kinds) for one in provision["purpose"]])
    if "securityLabel" in provision:
        found = [list(labels(provision["securityLabel"], permits, one)) for one in (resource, *inside)]
        for number, outside in enumerate(found[0]):
            yield any_of([outside, *(one[number] is True for one in found[1:])])
    if "class" in provision:
        deeper = [is_of_class(one, part) is True for one in provision["class"] for part in inside]
        yield any_of([*(is_of_class(one, resource) for one in provision["class"]), *deeper])
    if "code" in provision:
        sought = {
            (one["system"], one["code"]) for concept in provision["code"] for one in concept.get("coding", ())
        }
        there = codes(resource)
        unclear = any("coding" not in concept for concept in provision["code"])
        yield any_of([bool(sought & there) if there else None, None if unclear else False])
    if "dataPeriod" in provision:
        yield within(provision["dataPeriod"], resource)
    if "data" in provision:
        yield any_of([leads_to(one, resource, world) for one in provision["data"]])


def actors(actors: list[Resource], ask: Ask, resource: Resource) -> Iterator[Truth]:
    """Who receives, who wrote and who keeps the data are different questions; one of each has to do."""
    made: set[str] = {
        one for name in ("performer", "recorder", "author", "asserter") for one in refs(resource.get(name))
    }
    kept = {one for name in ("custodian", "managingOrganization") for one in refs(resource.get(name))}
    asked: dict[str, list[Truth]] = {}
    for one in actors:
        code = one["role"]["coding"][0]["code"]
        kind = {"AUT": "made", "CST": "kept"}.get(code, "who")
        name = one["reference"].get("reference")
        if name is None:
            asked.setdefault(kind, []).append(None)
            continue
        there = {"made": made, "kept": kept, "who": ask.who}[kind]
        asked.setdefault(kind, []).append(None if kind != "who" and not there else name in there)
    for answers in asked.values():
        yield any_of(answers)


def action(named: Resource, does: str) -> Truth:
    if named["system"] != HL7 + "consentaction" or named["code"] not in ACTIONS:
        return None
    if does == named["code"]:
        return True
    return None if does == "access" and named["code"] in {"use", "disclose"} else False


def is_purpose(named: Resource, kinds: set[str]) -> Truth:
    if named["system"] != HL7 + "v3-ActReason" or named["code"] == "NOPE":
        return None
    return named["code"] in kinds


def labels(demanded: list[Resource], permits: Truth, resource: Resource) -> Iterator[Truth]:
    security: list[Resource] | None = resource.get("meta", {}).get("security")
    marks = [MARKS.index(one["code"]) for one in demanded if is_mark(one)]
    others = [one["code"] for one in demanded if not is_mark(one)]
    own = [MARKS.index(one["code"]) for one in security or () if is_mark(one)]
    if marks:
        if not own:
            yield None
        else:
            yield max(own) >= min(marks) if permits is False else max(own) <= max(marks)
    if others:
        carried = {one["code"] for one in security or () if not is_mark(one)}
        meant = {code for one in others for code in (KINDS_OF_SPI if one == "SPI" else {one})}
        yield None if security is None else bool(carried & meant)


def is_mark(label: Resource) -> bool:
    return label["system"] in (CONFIDENTIALITY, CONFIDENTIALITY_OID)


def is_of_class(coding: Resource, resource: Resource) -> Truth:
    system, code = coding["system"], coding["code"]
    if system.endswith("resource-types"):
        return resource["resourceType"] == code
    if system == "urn:ietf:rfc:3986":
        profiles = resource.get("meta", {}).get("profile")
        return None if profiles is None else any(one.split("|")[0] == code for one in profiles)
    if system == "urn:ietf:bcp:13":
        formats = [part["contentType"] for part in parts(resource) if "contentType" in part]
        return code in formats if formats else None
    there = codes(resource)
    return (system, code) in there if there else None


def within(period: Resource, resource: Resource) -> Truth:
    written = resource.get(CLINICAL.get(resource["resourceType"], ""))
    if written is None:
        return None
    lo, hi = span(written)
    start = span(period["start"])[0] if "start" in period else datetime.min.replace(tzinfo=UTC)
    end = span(period["end"])[1] if "end" in period else datetime.max.replace(tzinfo=UTC)
    if start <= lo and hi <= end:
        return True
    return None if lo < end and start < hi else False


def leads_to(data: Resource, resource: Resource, world: dict[str, Resource]) -> Truth:
    named, here = data["reference"]["reference"], f"{resource['resourceType']}/{resource['id']}"
    match data["meaning"]:
        case "instance":
            return named == here
        case "related":
            return named == here or (named in world and here in every_ref(world[named]))
        case "dependents":
            return named == here or named in every_ref(resource)
        case _:
            made = {
                one
                for name in ("performer", "recorder", "author", "asserter")
                for one in refs(resource.get(name))
            }
            return named in made if made else None


# -- what a resource holds


def parts(value: Any) -> Iterator[Resource]:
    if isinstance(value, dict):
        yield value
        for name, inner in value.items():
            if not (name == "meta" and "resourceType" in value):
                yield from parts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from parts(inner)


def codes(resource: Resource) -> set[tuple[str, str]]:
    return {
        (p["system"], p["code"])
        for p in parts(resource)
        if "system" in p and "code" in p and "value" not in p
    }


def refs(value: Any) -> list[str]:
    holders = value if isinstance(value, list) else [] if value is None else [value]
    return [one["reference"].split("/_history/")[0] for one in holders if "reference" in one]


def every_ref(resource: Resource) -> set[str]:
    return {
        p["reference"].split("/_history/")[0] for p in parts(resource) if isinstance(p.get("reference"), str)
    }


# -- time, and three truths


def span(text: str) -> tuple[datetime, datetime]:
    """A year, a month, a day, or a second."""
    if len(text) < 10:
        lo = datetime.fromisoformat((text + "-01-01")[:10]).replace(tzinfo=UTC)
        hi = lo.replace(year=lo.year + 1) if len(text) == 4 else (lo + timedelta(days=31)).replace(day=1)
        return lo, hi
    if len(text) == 10:
        lo = datetime.fromisoformat(text).replace(tzinfo=UTC)
        return lo, lo + timedelta(days=1)
    lo = datetime.fromisoformat(text)
    return lo, lo + timedelta(seconds=1)


def holds(period: Resource | None, now: datetime) -> bool:
    period = period or {}
    begun = "start" not in period or span(period["start"])[0] <= now
    return begun and ("end" not in period or now < span(period["end"])[1])


def every(truths: Iterable[Truth]) -> Truth:
    truths = list(truths)
    return False if False in truths else None if None in truths else True


def any_of(truths: Iterable[Truth]) -> Truth:
    truths = list(truths)
    return True if True in truths else None if None in truths else False
