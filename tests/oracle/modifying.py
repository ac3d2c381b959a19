"""Values for each modifier: https://hl7.org/fhir/R4/search.html#modifiers"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.oracle import definitions as d
from tests.oracle import folding, values
from tests.oracle.beside import Beside, Criterion
from tests.oracle.byhand import SETS
from tests.oracle.datatypes import TREE, TREE_CODES, WORDS
from tests.oracle.evaluate import HIERARCHIES
from tests.oracle.expressions import Node, children
from tests.oracle.folding import PHONETIC
from tests.oracle.references import link, literal
from tests.oracle.terms import MIME_TYPES

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


class Modified(Beside):
    """Criteria with a modifier, where the values that a parameter has are such that it means something."""

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
        if self.parameter.code == PHONETIC:
            return modifier == "missing"
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
