"""Criteria in every form that a parameter type has."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.oracle import values
from tests.oracle.beside import ORDERED, Criterion
from tests.oracle.datatypes import UCUM, UNITS
from tests.oracle.expressions import Node
from tests.oracle.modifying import MODIFIERS, Modified
from tests.oracle.ranges import PREFIXES
from tests.oracle.references import link, literal


class Forms(Modified):
    """Draws criteria for one parameter of one type."""

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
            for chosen in ("", self.pick.choice(PREFIXES)):
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
