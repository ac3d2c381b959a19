"""Where in a text the elements stand that issues name: lines and columns, both from 1.

Paths are those of the walkers, https://hl7.org/fhir/R4/fhirpath.html#simple. What is absent stands where its
parent does. Only texts that have been read without fault are looked at.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from json.decoder import JSONDecoder, scanstring  # pyright: ignore[reportAttributeAccessIssue] (not in the stubs)
from typing import Any, Final, NamedTuple

from fhirserver.fhir.xml_common import local_name, parse

Steps = tuple[str | int, ...]
"""A way into a resource: properties of JSON and positions in its arrays."""

_STEP: Final = re.compile(r"(\w+)(?:\.ofType\((\w+)\))?(?:\[(\d+)\])?(?:\.|$)")
_LINE_END: Final = re.compile("\n")
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_skipped: Final = JSONDecoder().raw_decode
"""Reads a value that is not looked into; its second result is the offset behind it."""


class Position(NamedTuple):
    """`column` is None where only the line is known."""

    line: int
    column: int | None


def steps_of(expression: str) -> Steps:
    """`Observation.value.ofType(Quantity).unit` without its root: ('valueQuantity', 'unit')."""
    found: list[str | int] = []
    rest = expression.partition(".")[2]
    for match in _STEP.finditer(rest):
        name, type_, index = match.groups()
        found.append(name + type_[0].upper() + type_[1:] if type_ else name)
        if index is not None:
            found.append(int(index))
    return tuple(found)


def in_json(data: bytes, wanted: Iterable[Steps]) -> dict[Steps, Position]:
    """The position of each of the wanted elements: that of its property, or of its value in an array."""
    text = data.decode("utf-8-sig")
    scan = _Scan(text, _tried(wanted))
    scan.value(0, scan.tree)
    ends = [-1, *(match.start() for match in _LINE_END.finditer(text))]
    return {steps: _position(ends, scan.nearest(steps)) for steps in wanted}


def _position(ends: Sequence[int], offset: int) -> Position:
    line = bisect_left(ends, offset)
    return Position(line, offset - ends[line - 1])


class _Wanted(dict[str | int, "_Wanted"]):
    """What is looked for below an element; `offset` where that stands, once found."""

    offset: int | None = None


def _tried(wanted: Iterable[Steps]) -> _Wanted:
    root = _Wanted()
    for steps in wanted:
        node = root
        for step in steps:
            node = node.setdefault(step, _Wanted())
    return root


class _Scan:
    """One pass over a JSON text that stops at what is wanted and skips everything else."""

    def __init__(self, text: str, tree: _Wanted) -> None:
        self.text = text
        self.tree = tree

    def nearest(self, steps: Steps) -> int:
        """The offset of an element, or of the innermost one around it that is there."""
        node, offset = self.tree, self.tree.offset or 0
        for step in steps:
            node = node[step]
            if node.offset is None:
                break
            offset = node.offset
        return offset

    def value(self, at: int, wanted: _Wanted) -> int:
        """Read a value; the offset behind it."""
        at = self._space(at)
        if wanted.offset is None:
            wanted.offset = at
        if wanted and self.text[at] == "{":
            return self._object(at, wanted)
        if wanted and self.text[at] == "[":
            return self._array(at, wanted)
        return _skipped(self.text, at)[1]

    def _object(self, at: int, wanted: _Wanted) -> int:
        text = self.text
        at = self._space(at + 1)
        while text[at] != "}":
            start = at
            key, at = scanstring(text, at + 1, True)
            at = self._space(at) + 1  # the colon
            node = wanted.get(key)
            if node is None and key[:1] == "_":
                node = wanted.get(key[1:])  # ids and extensions of a primitive, beside its value
            if node is None:
                at = _skipped(text, self._space(at))[1]
            else:
                node.offset = start if node.offset is None else node.offset
                at = self.value(at, node)
            at = self._space(at)
            if text[at] == ",":
                at = self._space(at + 1)
        return at + 1

    def _array(self, at: int, wanted: _Wanted) -> int:
        at, index = self._space(at + 1), 0
        while self.text[at] != "]":
            node = wanted.get(index)
            at = _skipped(self.text, at)[1] if node is None else self.value(at, node)
            at, index = self._space(at), index + 1
            if self.text[at] == ",":
                at = self._space(at + 1)
        return at + 1

    def _space(self, at: int) -> int:
        if self.text[at : at + 1] > " ":
            return at
        match = _SPACE.match(self.text, at)
        return match.end() if match else at


def in_xml(data: bytes, wanted: Iterable[Steps]) -> dict[Steps, Position]:
    """The same for XML, by line."""
    root: Any = parse(data)
    return {steps: Position(_innermost(root, steps).sourceline, None) for steps in wanted}


def _innermost(element: Any, steps: Steps) -> Any:
    """The element that steps lead to, as far as it is there."""
    at = 0
    while at < len(steps):
        name = steps[at]
        index = steps[at + 1] if at + 1 < len(steps) and isinstance(steps[at + 1], int) else 0
        inner = [child for child in element if isinstance(child.tag, str) and local_name(child.tag) == name]
        if not isinstance(index, int) or index >= len(inner):
            break
        element = inner[index]
        if name in ("contained", "resource") and len(element):
            element = element[0]
        at += 2 if at + 1 < len(steps) and isinstance(steps[at + 1], int) else 1
    return element
