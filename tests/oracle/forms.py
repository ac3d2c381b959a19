"""Values to search for: those that the population has, and such as lie beside them, in every form of a type."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.oracle import definitions as d
from tests.oracle import folding, values
from tests.oracle.byhand import SETS
from tests.oracle.datatypes import NUMBERS, TREE, TREE_CODES, UCUM, UNITS, WORDS
from tests.oracle.evaluate import HIERARCHIES
from tests.oracle.expressions import Node, children, evaluate
from tests.oracle.ranges import PREFIXES
from tests.oracle.references import link, literal
from tests.oracle.terms import MIME_TYPES
from tests.oracle.world import Subject, World

ORDERED = ("number", "date", "quantity")
VALUE_SETS = tuple(
    f"{SETS}/{name}"
    for name in ("all", "below-a", "under-a", "listed", "joined", "without-a1", "both", "codes")
)
MODIFIERS: dict[str, tuple[str, ...]] = {
    "number": ("missing",),
    "date": ("missing",),
    "quantity": ("missing",),
    "string": ("exact", "contains", "missing"),
    "token": ("not", "text", "above", "below", "in", "not-in", "of-type", "missing"),
    "reference": ("identifier", "[type]", "above", "below", "missing"),
    "uri": ("above", "below", "missing"),
    "composite": (),
}
"""https://hl7.org/fhir/R4/search.html#modifiers; `missing` is for all but composites."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """`name=value`, and in the words of the matrix what of the parameter's type it uses."""

    name: str
    value: str
    form: str


class Forms:
    """Draws criteria for one parameter of one type from what is there, or what some `subjects` have."""

    def __init__(
        self,
        world: World,
        type_: str,
        parameter: d.Parameter,
        pick: Random,
        subjects: Iterable[Subject] | None = None,
    ) -> None:
        self.world = world
        self.type = type_
        self.parameter = parameter
        self.pick = pick
        self.nodes: list[tuple[Subject, Node]] = [
            (subject, node)
            for subject in (world.subjects(type_) if subjects is None else subjects)
            for node in world.nodes(subject, parameter)
        ]

    def node(self) -> Node | None:
        return self.pick.choice(self.nodes)[1] if self.nodes else None

    def all(self) -> Iterator[Criterion]:
        """One criterion for each form at least."""
        for prefix in ("", *PREFIXES) if self.parameter.type in ORDERED else ("",):
            if (text := self.text(self.parameter, self.node(), prefix)) is not None:
                yield Criterion(self.parameter.code, text, prefix or "plain")
        yield from self.further()
        for modifier in MODIFIERS[self.parameter.type]:
            yield from self.modified(modifier)

    def any(self) -> Criterion | None:
        """One of them, or several values of it."""
        made = [one for one in self.all() if one.value]
        return self.pick.choice(made) if made else None

    # -- plain values

    def text(self, part: d.Parameter | d.Part, node: Node | None, prefix: str = "") -> str | None:
        """A value in its simplest form, near that of `node`; None where nothing can be asked."""
        match part.type:
            case "number":
                return prefix + self.number(node.value if node else None)
            case "date":
                return prefix + self.date(node, prefix)
            case "quantity":
                return prefix + self.quantity(node)
            case "string":
                return self.words(node)
            case "token":
                return self.token(node, 0)
            case "reference":
                return self.reference(part, node)
            case "uri":
                return values.escape(self.uri(node)) if node else "http://uri.example/fhir"
            case "composite" if isinstance(part, d.Parameter) and node is not None:
                return self.composite(part, node)
        return None

    def number(self, value: Any) -> str:
        """The number as it is, with a digit more or less, half a step away, or in scientific notation."""
        text = str(value) if value is not None else self.pick.choice(NUMBERS)
        if re.search("[eE]", text):
            return text
        whole, dot, digits = text.partition(".")
        match self.pick.randrange(7):
            case 0:
                return f"{text}{dot or '.'}0" if not dot else f"{text}0"
            case 1 if digits:
                return f"{whole}.{digits[:-1]}" if digits[:-1] else whole
            case 2:
                return f"{text}5" if dot else f"{text}.5"
            case 3:
                return f"{text}e0"
            case 4:
                return self.pick.choice(("1e2", "1e0", "5.40e-3", "-3", "0", *NUMBERS))
        return text

    def date(self, node: Node | None, prefix: str) -> str:
        text = self.pick.choice(_dates(node.value) or ["2020"]) if node else "2020-02-29"
        if self.parameter.code == "_lastUpdated" and prefix == "ap":
            return text[:10]  # a tenth of the time since then changes while the test runs
        cuts = [length for length in (4, 7, 10, 16, 19) if length < len(text)]
        match self.pick.randrange(5):
            case 0 | 1 if cuts:
                cut = self.pick.choice(cuts)
                zone = re.search(r"(Z|[+-]\d\d:\d\d)$", text) if cut > 10 else None
                return text[:cut] + (zone[0] if zone else "")
            case 2 if len(text) == 10:
                return text + self.pick.choice(("T00:00:00Z", "T00:00:00-05:00", "T12:00", "T23:59:59"))
            case 3:
                return str(int(text[:4]) + self.pick.choice((-1, 1))).zfill(4) + text[4:10].replace(
                    "02-29", "02-28"
                )
        return text

    def quantity(self, node: Node | None) -> str:
        found = values.quantities(node) if node else []
        value = node.value.get("value") if node and isinstance(node.value, dict) else None
        if value is None and found:
            value = node.value.get("low", node.value.get("high", {})).get("value") if node else None
        return self.number(value)

    def measure(self, node: Node) -> dict[str, Any]:
        found = values.quantities(node)
        return found[0][1] if found else {}

    def words(self, node: Node | None) -> str | None:
        """A text, its beginning, another case, without accents, or something else."""
        found = [text for text, _ in values.texts(node)] if node else []
        text = self.pick.choice(found) if found else self.pick.choice(WORDS)
        text = text[:100].strip()
        match self.pick.randrange(6):
            case 0:
                text = text[: self.pick.randint(1, 6)]
            case 1:
                text = text.upper()
            case 2:
                text = folding.folded(text)
            case 3:
                text = text.split()[-1] if text.split() else text
            case 4:
                text = self.pick.choice(WORDS)[:100]
        return values.escape(text) if folding.folded(text) else None

    def token(self, node: Node | None, form: int) -> str | None:
        """0 `code`, 1 `system|code`, 2 `|code`, 3 `system|`; the simpler one where there is no system."""
        found = [one for one in values.tokens(node) if one[1] is not None] if node else []
        if not found:
            return "nothing" if form == 0 else None
        systems, code, _ = self.pick.choice(found)
        code = values.escape(code or "")
        system = values.escape(self.pick.choice(sorted(one or "" for one in systems)))
        if node is not None and node.type not in ("Coding", "CodeableConcept", "Identifier", "code"):
            return code if form == 0 else None
        match form:
            case 0:
                return self.pick.choice((code, code, code.upper(), code.lower()))
            case 1:
                return f"{system or 'http://oracle.example/other'}|{code}"
            case 2:
                return f"|{code}" if node is None or node.type != "code" else None
        return f"{system}|" if system else None

    def reference(self, part: d.Parameter | d.Part, node: Node | None) -> str | None:
        """`[type]/[id]`, or the URL of what is not on the server."""
        text = literal(node) if node else None
        if text is None:
            return f"{self._target(part)}/g1"
        if node is not None and node.type == "canonical" and not re.search("[:/]", text):
            return None  # it looks like the id of a resource, and is none
        return values.escape(text.partition("#")[0]).replace(r"\|", "|") or None

    def _target(self, part: d.Parameter | d.Part) -> str:
        return self.pick.choice([one for one in part.targets if one in d.TYPES] or ["Patient"])

    def uri(self, node: Node) -> str:
        return self.pick.choice(
            (node.value, node.value, node.value.lower(), node.value + "/x", node.value[:-1])
        )

    def composite(self, parameter: d.Parameter, node: Node, token: int | None = None) -> str | None:
        """Every part from the same element; `token` is the form of its tokens, any but 3 if None."""
        subject = next(subject for subject, one in self.nodes if one is node)
        pieces: list[str] = []
        for part in parameter.parts:
            found = evaluate(part.expression, node, subject.resource)
            prefix = self.pick.choice(("", "", *PREFIXES)) if part.type in ORDERED else ""
            one = self.pick.choice(found) if found else None
            if part.type == "token":
                piece = self.token(one, self.pick.randrange(3) if token is None else token)
            else:
                piece = self.text(part, one, prefix)
            if piece is None:
                return None
            pieces.append(piece)
        return "$".join(pieces)

    # -- further forms

    def further(self) -> Iterator[Criterion]:
        code, node = self.parameter.code, self.node()
        if node is None:
            return
        made: list[tuple[str, str | None]] = []
        match self.parameter.type:
            case "token":
                made = [
                    (form, self.token(self.node(), number))
                    for number, form in ((1, "system|code"), (2, "|code"), (3, "system|"))
                ]
            case "quantity":
                made = list(self._units(node))
            case "reference":
                made = list(self._spellings(node))
            case "uri":
                made = [("url|version", f"{values.escape(node.value.partition('|')[0])}|1.0")]
            case "composite":
                made = [("with system|", self.composite(self.parameter, node, 3))]
        for form, text in made:
            if text:
                yield Criterion(code, text, form)
        plain = [self.text(self.parameter, self.node()) for _ in range(3)]
        if None not in plain:
            yield Criterion(code, ",".join(text for text in plain if text), "or")

    def _units(self, node: Node) -> Iterator[tuple[str, str]]:
        """With its own unit, and with one that it can be converted to."""
        measure = self.measure(node)
        number = self.quantity(node)
        prefix = self.pick.choice(("", "ge", "lt", "ne", "ap"))
        if named := measure.get("unit") or measure.get("code"):
            yield "||unit", f"{prefix}{number}||{values.escape(named)}"
        if measure.get("system") and measure.get("code"):
            unit = f"{values.escape(measure['system'])}|{values.escape(measure['code'])}"
            for chosen in {"", self.pick.choice(PREFIXES)}:
                yield "system|code", f"{chosen}{number}|{unit}"
        yield "system|code", f"{prefix}{self.number(None)}|{UCUM}|{self.pick.choice(UNITS)}"

    def _spellings(self, node: Node) -> Iterator[tuple[str, str]]:
        """https://hl7.org/fhir/R4/search.html#reference"""
        text = literal(node)
        if text is None:
            return
        target = link(text, self.world.base)
        if node.type != "Reference" or target.type is None:
            url = values.escape(text.partition("#")[0].partition("|")[0])
            if node.type != "Reference":
                if re.search("[:/]", url):
                    yield "canonical", url
                if ":" in url:
                    yield "canonical|version", f"{url}|{self.pick.choice(('1.0', '2', '1.1'))}"
            return
        path = f"{target.type}/{target.id}"
        if self.parameter.targets:
            yield "[id]", target.id
        yield "[type]/[id]", path
        yield "[url]", f"{target.base or self.world.base}/{path}"
        yield "[type]/[id]/_history/[vid]", f"{path}/_history/{target.version or 1}"

    # -- modifiers

    def modified(self, modifier: str) -> Iterator[Criterion]:
        name, form = f"{self.parameter.code}:{modifier}", f":{modifier}"
        if not self._applies(modifier):
            return
        match modifier:
            case "missing":
                yield Criterion(name, "true", form)
                yield Criterion(name, "false", form)
                return
            case "[type]":
                yield from self._typed()
                return
            case "in" | "not-in":
                yield Criterion(name, values.escape(self.pick.choice((*VALUE_SETS, *self._bound()))), form)
                return
        node = self.node()
        if node is None:
            return
        if (text := self._modified_value(modifier, node)) is not None:
            yield Criterion(name, text, form)

    def _applies(self, modifier: str) -> bool:
        """Whether the values that the parameter has are such that the modifier means something."""
        kinds = {node.type for _, node in self.nodes}
        match self.parameter.type, modifier:
            case "token", "text":
                return bool(kinds & {"Coding", "CodeableConcept", "Identifier"})
            case "token", "of-type":
                return "Identifier" in kinds
            case "token", "in" | "not-in":
                return bool(kinds & {"Coding", "CodeableConcept"}) or bool(self._bound())
            case "token", "above" | "below":
                return bool(kinds & {"Coding", "CodeableConcept"}) or self._is_mime()
            case "reference", "identifier":
                return "Reference" in kinds
            case "reference", "below":
                return "canonical" in kinds or bool(HIERARCHIES.keys() & set(self.parameter.targets))
            case "reference", "above":
                return "canonical" not in kinds and bool(HIERARCHIES.keys() & set(self.parameter.targets))
        return True

    def _bound(self) -> list[str]:
        """The value sets that the codes are from, those of the specification alone."""
        stored = {one.resource.get("url") for one in self.world.subjects("ValueSet")}
        known = {node.binding or "" for _, node in self.nodes if d.VALUE_SETS.get(node.binding or "")}
        return sorted(known - stored)

    def _is_mime(self) -> bool:
        return any(node.binding == MIME_TYPES for _, node in self.nodes)

    def _modified_value(self, modifier: str, node: Node) -> str | None:
        match self.parameter.type, modifier:
            case "string", _:
                return self.words(node) if self.pick.random() < 0.3 else self._exactly(node)
            case "token", "not":
                return self.token(node, self.pick.choice((0, 1)))
            case "token", "text":
                return self._said(node)
            case "token", "above" | "below":
                return "text/xml" if self._is_mime() else f"{TREE}|{self.pick.choice(TREE_CODES)}"
            case "token", "of-type":
                return self._of_type(node)
            case "reference", "identifier":
                held = [one for _, found in self.nodes for one in children(found, "identifier")]
                return self.token(self.pick.choice(held), self.pick.choice((0, 1))) if held else "AB1"
            case "reference", _:
                return self._local(modifier)
            case "uri", _:
                texts = [one.value for _, one in self.nodes if "://" in one.value]
                text = self.pick.choice(texts or ["http://uri.example/fhir/a/b"])
                return values.escape(
                    self.pick.choice((text, text.rpartition("/")[0], text[:-1], text + "/x"))
                )
        raise AssertionError(modifier)

    def _local(self, modifier: str) -> str | None:
        """A canonical, or a resource that is on this server."""
        texts = sorted({text for _, node in self.nodes if (text := literal(node))})
        urls = [text.partition("#")[0] for text in texts if not link(text, self.world.base).type]
        if modifier == "below" and any(node.type == "canonical" for _, node in self.nodes):
            return self.pick.choice(
                [url for url in urls if ":" in url] or ["http://canonical.example/nothing"]
            )
        links = [link(text, self.world.base) for text in texts]
        paths = [f"{one.type}/{one.id}" for one in links if one.type and one.base is None]
        return self.pick.choice(paths) if paths else None

    def _exactly(self, node: Node) -> str | None:
        found = [text for text, _ in values.texts(node) if len(text) < 100]
        text = self.pick.choice(found) if found else ""
        return values.escape(text) if folding.folded(text) else None

    def _said(self, node: Node) -> str | None:
        found = [one for one in _strings(node.value) if len(one) < 100]
        text = self.pick.choice(found or list(WORDS))[: self.pick.randint(2, 30)].strip()
        return values.escape(text) if folding.folded(text) else None

    def _of_type(self, node: Node) -> str | None:
        if node.type != "Identifier":
            return None
        for kind in children(node, "type"):
            for coding in children(kind, "coding"):
                parts = (coding.value.get("system"), coding.value.get("code"), node.value.get("value"))
                if all(parts):
                    return "|".join(values.escape(part) for part in parts)
        return "http://terminology.hl7.org/CodeSystem/v2-0203|MR|AB1"

    def _typed(self) -> Iterator[Criterion]:
        found = [(literal(node) or "") for _, node in self.nodes if node.type == "Reference"]
        links = [one for one in (link(text, self.world.base) for text in found) if one.type]
        if links:
            chosen = self.pick.choice(links)
            if not self.parameter.targets or chosen.type in self.parameter.targets:
                yield Criterion(f"{self.parameter.code}:{chosen.type}", chosen.id, ":[type]")


def _strings(value: Any) -> list[str]:
    """Whatever a person may read in a value."""
    if not isinstance(value, dict):
        return []
    nested = [*value.get("coding", ()), *([value["type"]] if isinstance(value.get("type"), dict) else ())]
    own = [value[key] for key in ("text", "display") if isinstance(value.get(key), str)]
    return own + [text for one in nested for text in _strings(one)]


def _dates(value: Any) -> list[str]:
    """Every date written in a date, Period or Timing."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _dates(inner) if re.match(r"\d{4}", text)]
    return [text for inner in value for text in _dates(inner)] if isinstance(value, list) else []
