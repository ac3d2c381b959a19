"""Requests that a client can make, drawn from what the CapabilityStatement announces and from the data.

Values are taken from every row, those that the caller may not see before all: that is what one would
ask for who wants to know about them. A parameter, include or operation that the server learns is drawn
as soon as it is announced; modifiers and control parameters are lists here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from random import Random
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from tests.equivalence import paths
from tests.equivalence.hospital import CATEGORIES, CODES, NAMES, TYPE, VALUE_SETS
from tests.equivalence.predicate import Row

Pairs = list[tuple[str, str]]
FORM = ("content-type", "application/x-www-form-urlencoded")


@dataclass(frozen=True)
class Request:
    """`action` and `type` (None: any) are what it needs; `view` which rows answer it: `s` those that may be
    searched for, `now` the latest versions among them, `r` those that may be read, `head` the latest of
    these."""

    view: str
    action: str
    type: str | None
    method: str
    target: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        shown = f" {self.body.decode()}" if self.body else ""
        return f"{self.method} {self.target}{shown}" + (f" {dict(self.headers)}" if self.headers else "")

    @property
    def instant(self) -> datetime | None:
        """`_asOf`: what was current then is asked for."""
        form = self.body.decode() if self.target.endswith("/_search") else ""
        given = dict(parse_qsl(f"{self.target.partition('?')[2]}&{form}")).get("_asOf")
        return datetime.fromisoformat(given) if given else None


MODIFIERS = {
    "token": ("not", "not", "text", "in", "in", "not-in", "above", "below", "of-type", "missing"),
    "string": ("exact", "contains", "text", "missing"),
    "reference": ("identifier", "missing", "above", "below", "text", "code-text"),
    "uri": ("above", "below", "missing"),
    "date": ("missing",),
    "number": ("missing",),
    "quantity": ("missing",),
    "composite": ("missing",),
}
PREFIXES = ("", "", "", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
INSTANT = re.compile("_total=estimate|_asOf=")
"""What a request can ask for, but one entry among several not by itself."""

NUMERIC = re.compile(r"-?\d+(\.\d+)?")


class Draw:
    """`statement` is the CapabilityStatement, `rows` everything that is stored."""

    def __init__(self, pick: Random, statement: dict[str, Any], rows: Sequence[Row]) -> None:
        self.pick = pick
        rest = statement["rest"][0]
        self.resources = {one["type"]: one for one in rest["resource"]}
        self.common = {one["name"]: one["type"] for one in rest["searchParam"]}
        self.operations = rest.get("operation", [])
        self.rows = list(rows)
        self._values: dict[tuple[str, str], list[str]] = {}

    @cached_property
    def types(self) -> list[str]:
        return sorted({row.type for row in self.rows})

    def chance(self, of: float) -> bool:
        return self.pick.random() < of

    def type(self) -> str:
        """A type of which there is something, the more of it the likelier; seldom any other."""
        if self.chance(0.03):
            return self.pick.choice(sorted(self.resources))
        return self.pick.choice(self.rows).type if self.chance(0.6) else self.pick.choice(self.types)

    def id(self, type_: str) -> str:
        ids = [row.id for row in self.rows if row.type == type_]
        return self.pick.choice([*ids, "unknown"]) if ids else "unknown"

    # -- requests

    def request(self, allowed: Callable[[Request], bool]) -> Request:
        """Mostly one that is not refused for its type."""
        found = self.any()
        for _ in range(5):
            if allowed(found) or self.chance(0.1):
                break
            found = self.any()
        return found

    def any(self) -> Request:
        kinds: list[tuple[int, Callable[[], Request]]] = [
            (46, self.search),
            (8, self.seldom),
            (8, self.compartment),
            (3, self.system),
            (12, self.read),
            (6, self.vread),
            (7, self.history),
            (4, self.batch),
            (2, self.operation),
            (1, self.documents),
            (6, self.record),
        ]
        return self.pick.choices([made for _, made in kinds], [weight for weight, _ in kinds])[0]()

    def search(self) -> Request:
        type_ = self.type()
        return self._searched(type_, type_, self.query(type_))

    def seldom(self) -> Request:
        """A search of a form that chance would hardly ask for, of a type that has something to find."""
        coded = self.pick.choice(("Observation", "Condition", "AllergyIntolerance", "DiagnosticReport"))
        any_ = self.type()
        type_, clause = self.pick.choice(
            (
                (coded, ("code:in", self.value_set())),
                (coded, ("code:not-in", self.value_set())),
                (coded, (f"code:{self.pick.choice(('above', 'below'))}", self.concept())),
                (coded, ("code:text", self.pick.choice(NAMES))),
                (coded, ("_text", self.words())),
                (coded, ("_content", self.words())),
                (coded, ("_filter", f"code in {self.value_set()}")),
                (coded, ("_filter", self.along(coded))),
                ("Patient", ("identifier:of-type", self.typed())),
                ("QuestionnaireResponse", self.answering(0)),
                (any_, ("_list", f"List/{self.id('List')}")),
                (any_, ("_list", "$current-problems")),
            )
        )
        return self._searched(type_, type_, [clause, *self.results(type_)])

    def compartment(self) -> Request:
        of = self.pick.choice(
            ("Patient", "Patient", "Patient", "Encounter", "Practitioner", "RelatedPerson", "Device")
        )
        if self.chance(0.25):
            return self._searched(None, f"{of}/{self.id(of)}/*", self.results(None))
        type_ = self.type()
        return self._searched(type_, f"{of}/{self.id(of)}/{type_}", self.query(type_))

    def system(self) -> Request:
        """Across types; without `_type` it is all of them."""
        types = sorted({self.type() for _ in range(self.pick.randint(1, 4))})
        query: Pairs = [("_type", ",".join(types))] if self.chance(0.85) else []
        name = self.pick.choice(("_id", "_lastUpdated", "_tag", "_security", "none", "none"))
        if name != "none":
            query.append((name, self.value(types[0], name, self.common.get(name, "token"))))
        return self._searched(None, "", query + self.results(None))

    def _searched(self, type_: str | None, path: str, query: Pairs) -> Request:
        """By GET or by form; the order of parameters is the client's."""
        self.pick.shuffle(query)
        text = urlencode(query, quote_via=quote, safe=":,|$*/")
        lenient = (("prefer", "handling=lenient"),) if self.chance(0.1) else ()
        if self.chance(0.1) and not path.endswith("*"):
            return Request(
                "s",
                "s",
                type_,
                "POST",
                f"/{path}/_search".replace("//", "/"),
                text.encode(),
                (FORM, *lenient),
            )
        method = "HEAD" if self.chance(0.02) else "GET"
        return Request("s", "s", type_, method, f"/{path}?{text}" if text else f"/{path}", b"", lenient)

    def read(self) -> Request:
        type_ = self.type()
        headers: list[tuple[str, str]] = []
        if self.chance(0.15):
            headers.append(("if-none-match", f'W/"{self.pick.randint(1, 3)}"'))
        if self.chance(0.1):
            headers.append(("accept", "application/fhir+xml"))
        if self.chance(0.1):
            target = f"/{type_}/{self.id(type_)}?{urlencode({'_asOf': self.instant()})}"
            return Request("r", "r", type_, "GET", target)
        query = self.pick.choice(
            ("", "", "", "", "?_summary=true", "?_elements=id", "?_pretty=true", "?_format=xml")
        )
        method = "HEAD" if self.chance(0.1) else "GET"
        return Request("head", "r", type_, method, f"/{type_}/{self.id(type_)}{query}", b"", tuple(headers))

    def vread(self) -> Request:
        type_ = self.type()
        version = self.pick.choice((1, 1, 2, 2, 3, 4, "x"))
        return Request("r", "r", type_, "GET", f"/{type_}/{self.id(type_)}/_history/{version}")

    def history(self) -> Request:
        type_ = self.type()
        query: Pairs = [("_count", str(self.pick.choice((1, 2, 3, 7, 1000))))]
        if self.chance(0.35):
            query.append((self.pick.choice(("_since", "_at")), self.instant()))
        if self.chance(0.1):
            query.append(("_list", self.pick.choice((self.id("List"), "$current-problems"))))
        level = self.pick.random()
        if level < 0.5:
            return Request("r", "r", type_, "GET", f"/{type_}/{self.id(type_)}/_history?{urlencode(query)}")
        if level < 0.8:
            return Request("s", "s", type_, "GET", f"/{type_}/_history?{urlencode(query)}")
        if self.chance(0.5):
            query.append(("_type", ",".join(sorted({self.type(), self.type()}))))
        return Request("s", "s", None, "GET", f"/_history?{urlencode(query)}")

    def batch(self) -> Request:
        """Several searches in one request; each is looked at for itself."""
        urls = []
        while len(urls) < 3:
            one = self.search()
            if one.method == "GET" and not one.headers and not INSTANT.search(one.target):
                urls.append(one.target.removeprefix("/"))
        entries = [{"request": {"method": "GET", "url": url}} for url in urls]
        bundle = {"resourceType": "Bundle", "type": "batch", "entry": entries}
        text = paths.json.dumps(bundle).encode()
        return Request("s", "s", None, "POST", "/", text, (("content-type", "application/fhir+json"),))

    def operation(self) -> Request:
        """One of those that are announced, by GET, at one of the levels where it may stand."""
        type_ = self.type()
        offered = [*self.operations, *self.resources[type_].get("operation", [])]
        if not offered:
            return self.search()
        name = self.pick.choice(offered)["name"]
        place = self.pick.choice((f"/{type_}/{self.id(type_)}", f"/{type_}", "")) if self.chance(0.9) else ""
        query = self.query(type_) if self.chance(0.5) else []
        text = urlencode(query, quote_via=quote, safe=":,|$*/")
        view = "now" if name in ("everything", "timeline") else "s"
        return Request(view, "s", type_ if place else None, "GET", f"{place}/${name}?{text}")

    def documents(self) -> Request:
        """`$docref`."""
        query: Pairs = [("patient", self.id("Patient"))]
        query += [
            (name, self.pick.choice(("2019-06", "2020-02-29", "2021")))
            for name in ("start", "end")
            if self.chance(0.25)
        ]
        if self.chance(0.3):
            query.append(("type", self.pick.choice(("x1", "urn:local|x2", "http://loinc.org|718-7"))))
        target = f"/DocumentReference/$docref?{urlencode(query)}"
        return Request("s", "s", "DocumentReference", "GET", target)

    def record(self) -> Request:
        """`$everything` and `$timeline`, the one of whoever it is about among them."""
        of = self.pick.choice(("Patient", "Patient", "Patient", "Encounter"))
        name = self.pick.choice(("everything", "timeline")) if of == "Patient" else "everything"
        query: Pairs = []
        if self.chance(0.7):
            query.append(("_count", str(self.pick.choice((4, 9, 5, 20)))))
        if self.chance(0.2):
            query.append(("_type", ",".join(sorted({self.type() for _ in range(2)}))))
        if of == "Patient" and self.chance(0.3):
            query.append((self.pick.choice(("start", "end")), self.pick.choice(("2019-06", "2020-02-29"))))
        if name == "everything" and self.chance(0.2):
            query.append(("_since", self.instant()))
        if name == "timeline" and self.chance(0.4):
            query.append(("category", self.pick.choice((*CATEGORIES, "urn:local|x1"))))
        if name == "timeline" and self.chance(0.3):
            query.append(("_sort", "date"))
        anybody = of == "Patient" and name == "everything" and self.chance(0.1)
        place = of if anybody else f"{of}/{self.id(of)}"
        return Request("now", "s", of, "GET", f"/{place}/${name}?{urlencode(query)}")

    # -- the parameters of a search

    def query(self, type_: str) -> Pairs:
        found: Pairs = []
        for _ in range(self.pick.choice((0, 0, 1, 1, 1, 2))):
            found.append(self.clause(type_))
        return found + self.results(type_)

    def parameters(self, type_: str) -> dict[str, str]:
        return {
            **self.common,
            **{one["name"]: one["type"] for one in self.resources[type_].get("searchParam", ())},
        }

    def parameter(self, type_: str) -> tuple[str, str]:
        """One that the type has, with its type: mostly one for which there is a value."""
        offered = {name: kind for name, kind in self.parameters(type_).items() if name not in CONTROLS}
        filled = [name for name in offered if self.values(type_, name)]
        name = self.pick.choice(filled if filled and self.chance(0.85) else sorted(offered))
        return name, offered[name]

    def clause(self, type_: str, depth: int = 0) -> tuple[str, str]:
        """A parameter with its value, a chain, `_has`, or one of the special ones."""
        if type_ == "QuestionnaireResponse" and depth < 2 and self.chance(0.3):
            return self.answering(depth)
        way = self.pick.random()
        if depth < 2 and way < 0.2 and (chained := self.chain(type_, depth)):
            return chained
        if depth < 2 and way < 0.32 and (has := self.has(type_, depth)):
            return has
        if way < (0.42 if depth == 0 else 0.35):
            return self.special(type_)
        name, kind = self.parameter(type_)
        if self.chance(0.3):
            return self.modified(type_, name, kind)
        return name, ",".join(self.value(type_, name, kind) for _ in range(self.pick.choice((1, 1, 1, 2))))

    def modified(self, type_: str, name: str, kind: str) -> tuple[str, str]:
        modifier = self.pick.choice(MODIFIERS.get(kind, ("missing",)))
        if kind == "reference" and self.chance(0.5):
            return f"{name}:{self.pick.choice(('Patient', *self.targets(type_, name)))}", self.pick.choice(
                self.ids
            )
        if modifier == "missing":
            return f"{name}:missing", self.pick.choice(("true", "false"))
        if modifier == "identifier":
            return f"{name}:identifier", f"urn:mrn|{self.pick.choice(self.ids)}"
        if modifier in ("text", "code-text"):
            return f"{name}:{modifier}", self.pick.choice(NAMES)
        if modifier in ("in", "not-in"):
            return f"{name}:{modifier}", self.value_set()
        if modifier == "of-type":
            return f"{name}:of-type", self.typed()
        if kind == "token" and modifier in ("above", "below"):
            return f"{name}:{modifier}", self.concept()
        return f"{name}:{modifier}", self.value(type_, name, kind)

    def concept(self) -> str:
        """One of those that have a hierarchy."""
        return f"urn:local|{self.pick.choice(('x1', 'x2'))}"

    def typed(self) -> str:
        return f"{TYPE['system']}|{TYPE['code']}|{self.pick.choice(self.ids)}"

    def answering(self, depth: int) -> tuple[str, str]:
        """Along a canonical URL."""
        inner, value = self.clause("Questionnaire", depth + 1)
        return f"questionnaire{self.pick.choice(('', ':Questionnaire'))}.{inner}", value

    def value_set(self) -> str:
        """By its URL, with a version or without, or by where it is."""
        url = self.pick.choice(VALUE_SETS)
        return self.pick.choice(
            (url, url, f"{url}|{self.pick.randint(1, 9)}", f"ValueSet/{self.id('ValueSet')}")
        )

    def chain(self, type_: str, depth: int) -> tuple[str, str] | None:
        code = self.reference(type_)
        to = self.targets(type_, code) if code else []
        if code is None or not to:
            return None
        target = self.pick.choice(to)
        inner, value = self.clause(target, depth + 1)
        return (f"{code}:{target}.{inner}" if self.chance(0.6) else f"{code}.{inner}"), value

    def has(self, type_: str, depth: int) -> tuple[str, str] | None:
        """From a resource that refers to one of the type."""
        sources = [
            (row.type, code)
            for row in self.pick.sample(self.rows, min(12, len(self.rows)))
            for code in self.references(row.type)
            if type_ in self.targets(row.type, code)
        ]
        if not sources:
            return None
        source, code = self.pick.choice(sources)
        inner, value = self.clause(source, depth + 1)
        return f"_has:{source}:{code}:{inner}", value

    def special(self, type_: str) -> tuple[str, str]:
        """Those whose values have a grammar of their own; a server that has none of them refuses."""
        offered = (
            ("_filter", self.filter(type_)),
            ("_filter", f"{self.filter(type_)} {self.pick.choice(('and', 'or'))} not ({self.filter(type_)})"),
            ("_filter", f"{self.filter(type_)} and {self.filter(type_)}"),
            ("_list", self.pick.choice((self.id("List"), f"List/{self.id('List')}", "$current-problems"))),
            ("_text", self.words()),
            ("_content", self.words()),
            ("_contained", self.pick.choice(("true", "true", "both", "false"))),
            ("_query", "unknown"),
            ("_id:not", self.pick.choice(self.ids)),
        )
        known = [pair for pair in offered if pair[0].partition(":")[0] in self.common]
        return self.pick.choice(known if self.chance(0.9) else offered)

    def words(self) -> str:
        """A word, some of them, or all but one."""
        one, other = self.pick.choice(NAMES), self.pick.choice((*NAMES, "final", "x1"))
        return self.pick.choice((one, one, f"{one} OR {other}", f"{one} NOT {other}", f"{one} AND {other}"))

    def filter(self, type_: str) -> str:
        """One condition of `_filter`, perhaps along a reference."""
        return self.along(type_) if self.chance(0.3) else self.condition(type_)

    def along(self, type_: str) -> str:
        """One that asks something of what the type refers to."""
        code = self.reference(type_)
        to = self.targets(type_, code) if code else []
        if not to:
            return self.condition(type_)
        of = self.pick.choice(to)
        path = f"{code}." if len(to) == 1 or self.chance(0.3) else f"{code}:{of}."
        return self.condition(of, path)

    def condition(self, of: str, path: str = "") -> str:
        """A parameter of a type, its operator and a value."""
        name, kind = self.parameter(of)
        value = self.value(of, name, kind).replace('"', "")
        if kind in ("date", "number", "quantity"):
            value = re.sub("^[a-z]+", "", value)
        match kind:
            case "token" if self.chance(0.4):
                return f"{path}{name} in {self.value_set()}"
            case "token" if self.chance(0.2):
                return f"{path}{name} {self.pick.choice(('ss', 'sb'))} urn:local|x1"
            case "reference":
                return f"{path}{name} re {value}"
            case "string":
                return f'{path}{name} {self.pick.choice(("eq", "co", "sw", "ew"))} "{value}"'
            case "date" | "number" | "quantity":
                operator = self.pick.choice(("eq", "ne", "gt", "lt", "ge", "le", "ap", "po"))
                return f"{path}{name} {operator} {value}"
        if self.chance(0.2):
            return f"{path}{name} pr {self.pick.choice(('true', 'false'))}"
        return f'{path}{name} {self.pick.choice(("eq", "eq", "ne"))} "{value}"'

    def results(self, type_: str | None) -> Pairs:
        """How the results are given."""
        found: Pairs = []
        if self.chance(0.75):
            found.append(("_count", str(self.pick.choice((0, 1, 1, 2, 3, 5, 10, 50)))))
        if self.chance(0.3):
            found.append(("_sort", self.sort(type_)))
        if self.chance(0.3):
            found.append(("_total", self.pick.choice(("accurate", "none", "estimate"))))
        if self.chance(0.12):
            found.append(("_summary", self.pick.choice(("count", "true", "text", "data", "false"))))
        if self.chance(0.05):
            found.append(("_elements", self.pick.choice(("id", "meta", "subject", "id,status"))))
        if self.chance(0.06 if "_asOf" in self.common else 0.002):
            found.append(("_asOf", self.instant()))
        if self.chance(0.01):
            found.append(("_cursor", "AAAA"))
        if self.chance(0.04):
            found.append(("_contained", self.pick.choice(("true", "true", "both"))))
        if self.chance(0.04):
            found.append(("_containedType", self.pick.choice(("contained", "container"))))
        if type_ is not None:
            found += [self.include(type_) for _ in range(self.pick.choice((0, 0, 0, 1, 2)))]
        return [pair for pair in found if pair[1]]

    def sort(self, type_: str | None) -> str:
        if type_ is None:
            return self.pick.choice(("_id", "-_id", "_lastUpdated", "-_lastUpdated"))
        known = sorted(self.parameters(type_).keys() - CONTROLS)
        keys = [self.pick.choice(known) for _ in range(self.pick.choice((1, 1, 2)))]
        if (code := self.reference(type_)) and (to := self.targets(type_, code)) and self.chance(0.2):
            target = self.pick.choice(to)
            keys[0] = (
                f"{code}:{target}.{self.parameter(target)[0]}"
                if self.chance(0.5)
                else f"{code}.{self.parameter(target)[0]}"
            )
        return ",".join(self.pick.choice(("", "-")) + key for key in keys)

    def include(self, type_: str) -> tuple[str, str]:
        offered, way = self.resources[type_], self.pick.random()
        iterate = ":iterate" if self.chance(0.2) else ""
        if self.chance(0.12):
            return self.pick.choice(
                (
                    (f"_include{iterate}", "*"),
                    (f"_include{iterate}", f"{type_}:*"),
                    (f"_revinclude{iterate}", "*"),
                    (f"_revinclude{iterate}", f"{self.pick.choice(self.types)}:*"),
                )
            )
        if way < 0.5 and (forward := offered.get("searchInclude")):
            return f"_include{iterate}", self.pick.choice(forward) + (":Patient" if self.chance(0.1) else "")
        backward = [one for one in offered.get("searchRevInclude", ()) if one.partition(":")[0] in self.types]
        if backward and way < 0.9:
            return f"_revinclude{iterate}", self.pick.choice(backward)
        source = self.pick.choice(self.types)
        forward = self.resources[source].get("searchInclude", ["*"])
        return "_include:iterate", self.pick.choice(forward)

    # -- values

    @cached_property
    def ids(self) -> list[str]:
        return sorted({row.id for row in self.rows})

    def instant(self) -> str:
        """A moment at which something was written."""
        text = self.pick.choice(self.rows).resource["meta"]["lastUpdated"]
        return text if self.chance(0.7) else text[:19] + "Z"

    def references(self, type_: str) -> list[str]:
        return [
            name
            for name, kind in self.parameters(type_).items()
            if kind == "reference" and self.targets(type_, name)
        ]

    def reference(self, type_: str) -> str | None:
        found = self.references(type_)
        return self.pick.choice(found) if found else None

    def targets(self, type_: str, code: str) -> list[str]:
        """The types that references of the parameter name in the data."""
        named = {
            value.partition("/")[0] for value in self.values(type_, code) if "/" in value and ":" not in value
        }
        named |= {"Questionnaire" for value in self.values(type_, code) if value.startswith("urn:q:")}
        return sorted(named & set(self.types))

    def values(self, type_: str, name: str) -> list[str]:
        """What the parameter finds in all rows of the type, as a search would write it."""
        found = self._values.get((type_, name))
        if found is None:
            kind = self.parameters(type_).get(name, "token")
            nodes = [
                node
                for row in self.rows
                if row.type == type_
                for node in paths.values(row.resource, name) or ()
            ]
            found = self._values[type_, name] = sorted(
                {text for node in nodes for text in _written(kind, node)}
            )
        return found

    def value(self, type_: str, name: str, kind: str) -> str:
        known = self.values(type_, name)
        text = self.pick.choice(known) if known else self.fallback(kind)
        match kind:
            case "reference" if "/" in text and ":" not in text:
                head, _, id_ = text.partition("/")
                return self.pick.choice(
                    (text, text, id_, f"{paths.BASE}/{text}", f"{head}/{self.pick.choice(self.ids)}")
                )
            case "date":
                return self.pick.choice(PREFIXES) + text[: self.pick.choice((4, 7, 10, 40))].rstrip("T")
            case "number" | "quantity":
                return self.pick.choice(PREFIXES) + text
            case "token" if "|" in text and self.chance(0.4):
                return text.partition("|")[2] or text
            case "string":
                return text[: self.pick.choice((1, 3, 30))]
        return text

    def fallback(self, kind: str) -> str:
        match kind:
            case "date":
                return "2020"
            case "number" | "quantity":
                return "5"
            case "reference":
                return f"Patient/{self.pick.choice(self.ids)}"
            case "composite":
                code = self.pick.choice(CODES)[1]
                return f"{code}${self.pick.choice(('gt3', '5', 'le7', code))}"
            case "special":
                return "1|1"
            case _:
                return self.pick.choice(("x1", "true", "active", "Lund"))


CONTROLS = {
    *("_count", "_elements", "_format", "_has", "_include", "_pretty", "_revinclude", "_sort", "_summary"),
    *("_total", "_type", "_filter", "_list", "_query", "_contained", "_containedType", "_asOf", "_text"),
    *("_content", "_graph", "_cursor"),
}
"""Drawn by themselves, or about how results are given."""


def _written(kind: str, node: Any) -> list[str]:
    match kind, node:
        case "reference", {"reference": str(text)}:
            return [text]
        case "reference", str(canonical):
            return [canonical]
        case "token", {"coding": codings}:
            return [
                f"{c['system']}|{c['code']}" if "system" in c else c["code"] for c in codings if "code" in c
            ]
        case "token", {"system": str(system), "value": str(value)}:
            return [f"{system}|{value}"]
        case "token", {"code": str(code)}:
            return [f"{node['system']}|{code}" if "system" in node else code]
        case "token", bool():
            return [str(node).lower()]
        case (("token" | "string" | "uri" | "date"), str()):
            return [node.replace("|", "\\|").replace(",", "\\,")]
        case "date", {"start": str(start)}:
            return [start]
        case "string", dict():
            return [
                text
                for value in node.values()
                for text in (value if isinstance(value, list) else [value])
                if isinstance(text, str)
            ]
        case "quantity", {"value": value}:
            return [str(value), f"{value}|http://unitsofmeasure.org|g"]
    return []
