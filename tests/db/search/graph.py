"""A graph of resources, and what chains, `_has`, includes and sorts find in it, word by word and slowly.

https://hl7.org/fhir/R4/search.html#chaining, #has, #revinclude, #sort. Independent of the code under test:
references are read from the resources by the tables below and followed one by one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fhirserver.params.registry import r4
from tests.db.search import oracle

Resource = dict[str, Any]
Getter = Callable[[Resource], list[Any]]

BASE = "http://localhost/fhir"
NAMES = ["Anna", "Annika", "Bo", "Åse", "bob", "Clara", "Zoë"]
VALUES = ["1", "2", "3", "A", "a"]
STATUSES = ["final", "amended", "active", "draft", "completed"]
DATES = ["2019-01-01", "2020-01", "2020", "2020-02-29", "2023-11-14"]
URLS = ["http://q/a", "http://q/b", f"{BASE}/Questionnaire/q1"]
VERSIONS = ["1", "2"]


# -- what the parameters are of each type


def _names(resource: Resource) -> list[str]:
    name = resource.get("name", [])
    return [name] if isinstance(name, str) else [part["family"] for part in name]


def _identifiers(resource: Resource) -> list[str]:
    found = resource.get("identifier", [])
    return [one["value"] for one in (found if isinstance(found, list) else [found])]


def _codes(resource: Resource) -> list[str]:
    return [one["code"] for one in resource.get("code", {}).get("coding", [])]


def _at(key: str) -> Getter:
    return lambda resource: [resource[key]] if key in resource else []


def _all(key: str) -> Getter:
    return lambda resource: list(resource.get(key, []))


def _in(key: str, inner: str) -> Getter:
    return lambda resource: [one[inner] for one in resource.get(key, []) if inner in one]


NAMED = ("Patient", "Practitioner", "Organization", "Location")
IDENTIFIED = ("Device", "Group", "Observation", "Encounter", "Questionnaire", "QuestionnaireResponse", "List")
STATUS = ("Observation", "Encounter", "Questionnaire", "QuestionnaireResponse", "List", "Task")
LEAVES: dict[tuple[str, str], tuple[str, Getter]] = {
    **{(type_, "name"): ("string", _names) for type_ in NAMED},
    **{(type_, "identifier"): ("identifier", _identifiers) for type_ in (*NAMED, *IDENTIFIED, "Task")},
    **{(type_, "status"): ("token", _at("status")) for type_ in STATUS},
    **{(type_, "code"): ("token", _codes) for type_ in ("Observation", "List", "Task")},
    ("Patient", "gender"): ("token", _at("gender")),
    ("Patient", "birthdate"): ("date", _at("birthDate")),
    ("Observation", "date"): ("date", _at("effectiveDateTime")),
    ("Provenance", "recorded"): ("date", _at("recorded")),
    ("Questionnaire", "title"): ("string", _at("title")),
    ("Questionnaire", "url"): ("uri", _at("url")),
    ("Questionnaire", "version"): ("token", _at("version")),
}
"""Parameters that are no references: their type and where their values are."""

REFERENCES: dict[tuple[str, str], tuple[Getter, frozenset[str] | None]] = {
    ("Patient", "general-practitioner"): (
        _all("generalPractitioner"),
        frozenset({"Practitioner", "Organization", "PractitionerRole"}),
    ),
    ("Patient", "organization"): (_at("managingOrganization"), frozenset({"Organization"})),
    ("Patient", "link"): (_in("link", "other"), frozenset({"Patient", "RelatedPerson"})),
    ("Location", "organization"): (_at("managingOrganization"), frozenset({"Organization"})),
    ("Location", "partof"): (_at("partOf"), frozenset({"Location"})),
    ("Observation", "subject"): (_at("subject"), frozenset({"Patient", "Group", "Device", "Location"})),
    ("Observation", "patient"): (_at("subject"), frozenset({"Patient"})),
    ("Observation", "encounter"): (_at("encounter"), frozenset({"Encounter"})),
    ("Observation", "focus"): (_all("focus"), None),
    ("Observation", "has-member"): (
        _all("hasMember"),
        frozenset({"Observation", "QuestionnaireResponse", "MolecularSequence"}),
    ),
    ("Encounter", "subject"): (_at("subject"), frozenset({"Patient", "Group"})),
    ("Encounter", "patient"): (_at("subject"), frozenset({"Patient"})),
    ("Encounter", "part-of"): (_at("partOf"), frozenset({"Encounter"})),
    ("Provenance", "target"): (_all("target"), None),
    ("Provenance", "patient"): (_all("target"), frozenset({"Patient"})),
    ("Provenance", "agent"): (
        _in("agent", "who"),
        frozenset({"Practitioner", "PractitionerRole", "RelatedPerson", "Patient", "Device", "Organization"}),
    ),
    ("List", "item"): (_in("entry", "item"), None),
    ("List", "subject"): (_at("subject"), frozenset({"Patient", "Group", "Device", "Location"})),
    ("List", "patient"): (_at("subject"), frozenset({"Patient"})),
    ("Task", "focus"): (_at("focus"), None),
    ("Task", "patient"): (_at("for"), frozenset({"Patient"})),
    ("Task", "subject"): (_at("for"), None),
    ("QuestionnaireResponse", "questionnaire"): (_at("questionnaire"), frozenset({"Questionnaire"})),
    ("QuestionnaireResponse", "subject"): (_at("subject"), None),
    ("QuestionnaireResponse", "patient"): (_at("subject"), frozenset({"Patient"})),
}
"""Reference parameters: where their values are and the types that they may point at, None for any."""

COUNTS = {
    "Patient": 30,
    "Practitioner": 6,
    "Organization": 5,
    "Location": 8,
    "Device": 4,
    "Group": 4,
    "Encounter": 20,
    "Observation": 60,
    "Provenance": 40,
    "List": 15,
    "Task": 20,
    "Questionnaire": 8,
    "QuestionnaireResponse": 25,
}


# -- the graph

Name = tuple[str, str, int]
"""Type, id and version."""


@dataclass(frozen=True)
class Include:
    """`source` and `code` may be `*`."""

    reverse: bool
    iterate: bool
    source: str
    code: str
    target: str | None

    def text(self) -> str:
        """As a client writes it."""
        kind = ("_revinclude" if self.reverse else "_include") + (":iterate" if self.iterate else "")
        if self.source == "*":
            return f"{kind}=*"
        return f"{kind}={self.source}:{self.code}" + (f":{self.target}" if self.target else "")


class Graph:
    """`current` by type and id; `versions` are all that have been written, by type, id and number."""

    def __init__(self) -> None:
        self.current: dict[tuple[str, str], Resource] = {}
        self.versions: dict[Name, Resource] = {}
        self.number: dict[tuple[str, str], int] = {}

    def seen_by(self, may_see: Callable[[Resource], bool]) -> Graph:
        """What is left for someone who may see some of it."""
        found = Graph()
        found.current = {key: one for key, one in self.current.items() if may_see(one)}
        found.versions = {key: one for key, one in self.versions.items() if may_see(one)}
        found.number = self.number
        return found

    def put(self, resource: Resource) -> int:
        key = resource["resourceType"], resource["id"]
        number = self.number[key] = self.number.get(key, 0) + 1
        self.current[key] = self.versions[(*key, number)] = resource
        return number

    def delete(self, key: tuple[str, str]) -> int:
        """The version that is deleted."""
        del self.current[key]
        self.number[key] += 1
        return self.number[key] - 1

    def of(self, type_: str) -> Iterator[Resource]:
        return (resource for (of, _), resource in self.current.items() if of == type_)

    # -- where references lead

    def literals(self, resource: Resource, code: str) -> list[Any]:
        _, allowed = REFERENCES.get((resource["resourceType"], code), (_nothing, None))
        found = self._values(resource, code)
        return [
            one for one in found if allowed is None or not isinstance(one, dict) or self._type(one) in allowed
        ]

    def _type(self, one: dict[str, Any]) -> str:
        parts = one.get("reference", "").removeprefix(f"{BASE}/").split("/")
        return parts[0]

    def targets(self, resource: Resource, code: str) -> list[Resource]:
        """The current resources that are referred to, whatever version the reference names."""
        found: list[Resource] = []
        for one in self.literals(resource, code):
            found += self._resolved(one)
        return found

    def _resolved(self, one: Any) -> list[Resource]:
        if isinstance(one, str):
            url, _, version = one.partition("|")
            by_url = [q for q in self.of("Questionnaire") if q.get("url") == url]
            named = [q for q in by_url if not version or q.get("version") == version]
            literal = (
                {"reference": one.removeprefix(f"{BASE}/")} if one.startswith(BASE) and not version else {}
            )
            return named + [q for q in self._resolved(literal) if q not in named]
        parts = one.get("reference", "").removeprefix(f"{BASE}/").split("/")
        if len(parts) not in (2, 4):
            return []
        found = self.current.get((parts[0], parts[1]))
        return [found] if found else []

    # -- what holds

    def matches(self, type_: str, name: str, value: str) -> set[str]:
        return {resource["id"] for resource in self.of(type_) if self.holds(resource, name, value)}

    def holds(self, resource: Resource, name: str, value: str) -> bool:
        type_ = resource["resourceType"]
        if name.startswith("_has:"):
            _, source, code, rest = name.split(":", 3)
            return any(
                resource in self.targets(other, code) and self.holds(other, rest, value)
                for other in self.of(source)
            )
        head, dot, rest = name.partition(".")
        code, _, modifier = head.partition(":")
        if dot:
            return any(
                modifier in ("", target["resourceType"]) and self.holds(target, rest, value)
                for target in self.targets(resource, code)
                if known(target["resourceType"], rest)
            )
        return self._leaf(resource, type_, code, modifier, value)

    def _leaf(self, resource: Resource, type_: str, code: str, modifier: str, value: str) -> bool:
        if code == "_id":
            return resource["id"] in value.split(",")
        param = r4().get(type_, code)
        assert param is not None
        if param.type == "reference":
            assert modifier == "missing"
            return (not self._values(resource, code)) is (value == "true")
        kind, getter = LEAVES.get((type_, code), (param.type, _nothing))
        found = getter(resource)
        if modifier == "missing":
            return (not found) is (value == "true")
        matched = any(_equal(kind, modifier, one, asked) for one in found for asked in value.split(","))
        return matched is not (modifier == "not")

    # -- includes

    def included(self, matches: list[Resource], includes: list[Include], rounds: int) -> set[Name]:
        """The versions that a page with these matches includes."""
        page: set[Name] = {self.name(resource) for resource in matches}
        current = {name[:2] for name in page}
        found: set[Name] = set()
        start = page
        for number in range(rounds):
            asked = [one for one in includes if one.iterate or not number]
            new: set[tuple[Name, bool]] = set()
            for name in start:
                for one in asked:
                    new |= self._reverse(name, one) if one.reverse else self._forward(name, one)
            start = {
                name
                for name, is_named in new
                if name not in page | found and (is_named or name[:2] not in current)
            }
            found |= start
            current |= {name[:2] for name, is_named in new if not is_named}
        return found

    def name(self, resource: Resource) -> Name:
        key = resource["resourceType"], resource["id"]
        return (*key, self.number[key])

    def _forward(self, name: Name, include: Include) -> set[tuple[Name, bool]]:
        """What a version refers to, with whether the reference names the version."""
        resource, found = self.versions[name], set[tuple[Name, bool]]()
        if include.source not in ("*", name[0]):
            return found
        for type_, code in REFERENCES:
            if type_ != name[0] or include.code not in ("*", code):
                continue
            for one in self.literals(resource, code):
                found |= {pair for pair in self._named(one) if include.target in (None, pair[0][0])}
        return found

    def _named(self, one: Any) -> set[tuple[Name, bool]]:
        parts = [] if isinstance(one, str) else one.get("reference", "").removeprefix(f"{BASE}/").split("/")
        if len(parts) == 4:
            name = parts[0], parts[1], int(parts[3])
            return {(name, True)} if name in self.versions else set()
        return {(self.name(target), False) for target in self._resolved(one)}

    def _reverse(self, name: Name, include: Include) -> set[tuple[Name, bool]]:
        """The current resources that refer to that of which this is a version."""
        if include.target not in (None, name[0]):
            return set()
        return {
            (self.name(other), False)
            for type_, code in REFERENCES
            if include.source in ("*", type_) and include.code in ("*", code)
            for other in self.of(type_)
            if self._leads(other, code, name)
        }

    def _leads(self, other: Resource, code: str, name: Name) -> bool:
        for one in self.literals(other, code):
            if isinstance(one, str):
                url, _, version = one.partition("|")
                resource = self.versions[name]
                if resource.get("url") == url and version in ("", resource.get("version")):
                    return True
                one = {"reference": one}
            parts = one.get("reference", "").removeprefix(f"{BASE}/").split("/")
            if len(parts) in (2, 4) and (parts[0], parts[1]) == name[:2]:
                return True
        return False

    # -- order

    def sort_value(self, resource: Resource, key: str, descending: bool) -> Any:
        """None where there is none; of several the first in the direction."""
        head, dot, rest = key.partition(".")
        code, _, type_ = head.partition(":")
        if dot:
            found = [
                self.sort_value(target, rest, descending)
                for target in self.targets(resource, code)
                if type_ in ("", target["resourceType"]) and known(target["resourceType"], rest)
            ]
            found = [value for value in found if value is not None]
        elif code == "_id":
            found = [resource["id"]]
        elif (resource["resourceType"], code) in REFERENCES:
            found = [_written(one) for one in self._values(resource, code)]
        else:
            kind, getter = LEAVES.get((resource["resourceType"], code), ("", _nothing))
            found = [_sorted_as(kind, value) for value in getter(resource)]
        return (max(found) if descending else min(found)) if found else None

    def _values(self, resource: Resource, code: str) -> list[Any]:
        """The values of a reference parameter, wherever they lead."""
        getter, _ = REFERENCES.get((resource["resourceType"], code), (_nothing, None))
        found = getter(resource)
        if code == "patient":
            found = [one for one in found if "Patient/" in one.get("reference", "")]
        return found


def _nothing(_: Resource) -> list[Any]:
    """Of parameters whose elements no resource here has."""
    return []


def known(type_: str, name: str) -> bool:
    """Whether a type has the parameter that a chain goes on with."""
    if name.startswith("_has:"):
        _, source, code, _ = name.split(":", 3)
        allowed = REFERENCES[source, code][1]
        return allowed is None or type_ in allowed
    return r4().get(type_, name.partition(".")[0].partition(":")[0]) is not None


def _written(one: Any) -> str:
    if isinstance(one, str):
        return one
    return one["reference"] if "reference" in one else one["identifier"]["value"]


def _equal(kind: str, modifier: str, value: str, asked: str) -> bool:
    match kind:
        case "string":
            return oracle.string_holds(modifier, asked, value)
        case "token":
            return value.casefold() == asked.casefold()
        case "date":
            return oracle.date_range(value).lo >= oracle.date_range(asked).lo and (
                oracle.date_range(value).hi <= oracle.date_range(asked).hi
            )
        case _:
            return value == asked


def _sorted_as(kind: str, value: str) -> Any:
    match kind:
        case "string":
            return oracle.bare(value)
        case "date":
            return oracle.date_range(value).lo
        case _:
            return value


# -- what there is


class Maker:
    """Makes resources that refer to each other, to what is deleted, and to what never was."""

    def __init__(self, seed: int) -> None:
        self.pick = random.Random(seed)

    def reference(self, allowed: frozenset[str] | None) -> dict[str, Any]:
        types = [type_ for type_ in COUNTS if allowed is None or type_ in allowed]
        type_ = self.pick.choice(types)
        name = f"{type_}/{type_[0].lower()}{self.pick.randrange(COUNTS[type_] + 2)}"
        return self.pick.choices(
            [
                {"reference": name},
                {"reference": f"{BASE}/{name}"},
                {"reference": f"{name}/_history/{self.pick.randint(1, 3)}"},
                {"reference": f"http://elsewhere/fhir/{name}"},
                {"identifier": {"value": self.pick.choice(VALUES)}},
                {"reference": "#inside"},
            ],
            [70, 8, 10, 4, 4, 4],
        )[0]

    def maybe(self, chance: float) -> bool:
        return self.pick.random() < chance

    def resource(self, type_: str, id_: str) -> Resource:
        pick = self.pick
        found: Resource = {"resourceType": type_, "id": id_}
        if (type_, "identifier") in LEAVES and self.maybe(0.8):
            one = {"value": pick.choice(VALUES)}
            found["identifier"] = one if type_ == "QuestionnaireResponse" else [one]
        if (type_, "status") in LEAVES:
            found["status"] = pick.choice(STATUSES)
        if (type_, "code") in LEAVES and self.maybe(0.8):
            found["code"] = {"coding": [{"code": pick.choice(VALUES)} for _ in range(pick.randint(1, 2))]}
        if type_ in ("Patient", "Practitioner") and self.maybe(0.8):
            found["name"] = [{"family": pick.choice(NAMES)} for _ in range(pick.randint(1, 2))]
        if type_ in ("Organization", "Location"):
            found["name"] = pick.choice(NAMES)
        if type_ == "Patient":
            found |= {"gender": pick.choice(["male", "female"])} if self.maybe(0.7) else {}
            found |= {"birthDate": pick.choice(DATES)} if self.maybe(0.7) else {}
        if type_ == "Observation" and self.maybe(0.7):
            found["effectiveDateTime"] = pick.choice(DATES)
        if type_ == "Provenance":
            found["recorded"] = f"{pick.choice(DATES[3:])}T00:00:00Z"
        if type_ == "Questionnaire":
            found |= {"title": pick.choice(NAMES)} if self.maybe(0.8) else {}
            found |= {"url": pick.choice(URLS)} if self.maybe(0.8) else {}
            found |= {"version": pick.choice(VERSIONS)} if self.maybe(0.6) else {}
        if type_ == "QuestionnaireResponse" and self.maybe(0.9):
            found["questionnaire"] = pick.choice(URLS) + pick.choice(["", "|1", "|2"])
        self._refer(found)
        return found

    def _refer(self, found: Resource) -> None:
        one = {
            "Patient": ["managingOrganization"],
            "Location": ["managingOrganization", "partOf"],
            "Observation": ["subject", "encounter"],
            "Encounter": ["subject", "partOf"],
            "List": ["subject"],
            "Task": ["focus", "for"],
            "QuestionnaireResponse": ["subject"],
        }
        many = {
            "Patient": [("generalPractitioner", None), ("link", "other")],
            "Observation": [("focus", None), ("hasMember", None)],
            "Provenance": [("target", None), ("agent", "who")],
            "List": [("entry", "item")],
        }
        type_ = found["resourceType"]
        for key in one.get(type_, []):
            if self.maybe(0.75):
                found[key] = self.reference(_allowed(type_, key))
        for key, inner in many.get(type_, []):
            links = [self.reference(_allowed(type_, key)) for _ in range(self.pick.randint(0, 2))]
            if links:
                found[key] = [{inner: link} for link in links] if inner else links


def _allowed(type_: str, key: str) -> frozenset[str] | None:
    """The types that the element under a key may refer to."""
    codes = {
        "managingOrganization": "organization",
        "generalPractitioner": "general-practitioner",
        "partOf": "part-of" if type_ == "Encounter" else "partof",
        "hasMember": "has-member",
        "entry": "item",
        "for": "subject",
    }
    return REFERENCES[type_, codes.get(key, key)][1]


def graph(seed: int) -> Graph:
    """A graph some of whose resources have been updated and some deleted."""
    maker, found = Maker(seed), Graph()
    names = [
        (type_, f"{type_[0].lower()}{index}") for type_, count in COUNTS.items() for index in range(count)
    ]
    for name in [*names, *maker.pick.choices(names, k=len(names) // 3)]:
        found.put(maker.resource(*name))
    for name in maker.pick.sample(names, len(names) // 12):
        found.delete(name)
    return found
