"""Values that the population has, and such as lie beside them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.oracle import definitions as d
from tests.oracle import folding, values
from tests.oracle.datatypes import NUMBERS, WORDS
from tests.oracle.expressions import Node, evaluate
from tests.oracle.ranges import PREFIXES
from tests.oracle.references import literal
from tests.oracle.world import Subject, World

ORDERED = ("number", "date", "quantity")


@dataclass(frozen=True, slots=True)
class Criterion:
    """`name=value`, and in the words of the matrix what of the parameter's type it uses."""

    name: str
    value: str
    form: str


class Beside:
    """Draws values for one parameter of one type from what is there, or what some `subjects` have."""

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


def _dates(value: Any) -> list[str]:
    """Every date written in a date, Period or Timing."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _dates(inner) if re.match(r"\d{4}", text)]
    return [text for inner in value for text in _dates(inner)] if isinstance(value, list) else []
