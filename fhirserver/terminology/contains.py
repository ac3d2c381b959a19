"""The codes of an expansion as they are shown: chosen, cut into pages, with their texts.

https://hl7.org/fhir/R4/valueset-definitions.html#ValueSet.expansion.contains
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from fhirserver.errors import TooCostly
from fhirserver.params.words import words
from fhirserver.terminology.concept import Concept
from fhirserver.terminology.library import Holdings, Version
from fhirserver.terminology.system import System
from fhirserver.terminology.valueset import Expansion, Part

Element = dict[str, Any]
At = tuple[str, str]
"""System and code."""

DEPTH_MAX: Final = 50
"""Codes that may stand below each other in a nested expansion."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be shown. `text`: words that each begin a word of the code or of one of its texts.
    `excluded` are systems, and versions of them, to be left out. `nested`: codes below those above them."""

    text: str = ""
    offset: int = 0
    count: int | None = None
    language: str | None = None
    excluded: tuple[Version, ...] = ()
    designations: bool = False
    active_only: bool = False
    selectable_only: bool = False
    nested: bool = False


class Entry(NamedTuple):
    """A code of an expansion: what its value set and its code system say of it, that which counts first."""

    system: str
    code: str
    part: Part
    held: System | None

    @property
    def concepts(self) -> list[Concept]:
        found: list[Concept] = []
        if self.part.concepts is not None and (own := self.part.concepts.get(self.code)) is not None:
            found.append(own)
        if self.held is not None and (written := self.held.find(self.code)) is not None:
            found.append(self.held.concept(written))
        return found


def chosen(expansion: Expansion, held: Holdings, wish: Wish) -> Sequence[Entry]:
    """All that the wish leaves, before it is cut into pages."""
    wanted = words(wish.text)
    return [entry for entry in _entries(expansion, held) if _is_wanted(entry, wish, wanted)]


def contains(entries: Sequence[Entry], wish: Wish) -> list[Element]:
    """ValueSet.expansion.contains. Nested expansions have no pages: what is above a code may be on another.

    https://hl7.org/fhir/R4/valueset-operation-expand.html
    """
    if wish.nested:
        return _nested(entries, wish)
    end = None if wish.count is None else wish.offset + wish.count
    return [_element(entry, wish) for entry in entries[wish.offset : end]]


def used(entries: Iterable[Entry]) -> list[str]:
    """The code systems from which codes came, with the version that was gone by where it has one."""
    found = {
        entry.system if version is None else f"{entry.system}|{version}": None
        for entry in entries
        if entry.system
        for version in (entry.held.version if entry.held is not None else entry.part.version,)
    }
    return list(found)


def _entries(expansion: Expansion, held: Holdings) -> Iterator[Entry]:
    for system, codes in expansion.codes.items():
        for code, part in codes.items():
            yield Entry(system, code, part, held.systems.get((system, part.version)))


def _is_wanted(entry: Entry, wish: Wish, wanted: Sequence[str]) -> bool:
    if wish.excluded:
        version = entry.held.version if entry.held is not None else entry.part.version
        if (entry.system, None) in wish.excluded or (entry.system, version) in wish.excluded:
            return False
    if entry.held is not None:
        if wish.active_only and entry.held.is_inactive(entry.code):
            return False
        if wish.selectable_only and entry.held.is_abstract(entry.code):
            return False
    return not wanted or _has_words(entry, wanted)


def _has_words(entry: Entry, wanted: Sequence[str]) -> bool:
    texts = [entry.code, *(text for one in entry.concepts for text in one.texts())]
    if not _may_have(" ".join(texts).lower(), wanted):
        return False
    known = [word for text in texts for word in words(text)]
    folded = entry.code.casefold()
    return all(folded.startswith(one) or any(word.startswith(one) for word in known) for one in wanted)


def _may_have(text: str, wanted: Sequence[str]) -> bool:
    """False only where a word is missing for certain: cheaper than taking words apart, and mostly enough."""
    return not text.isascii() or "'" in text or "`" in text or all(one in text for one in wanted)


def _element(entry: Entry, wish: Wish) -> Element:
    found: Element = {"system": entry.system} if entry.system else {}
    if entry.held is not None:
        if entry.held.is_abstract(entry.code):
            found["abstract"] = True
        if entry.held.is_inactive(entry.code):
            found["inactive"] = True
    if entry.part.version is not None:
        found["version"] = entry.part.version
    found["code"] = entry.code
    concepts = entry.concepts
    display = next((text for one in concepts if (text := one.displayed(wish.language)) is not None), None)
    if display is not None:
        found["display"] = display
    if wish.designations:
        every = [one.element() for concept in concepts for one in concept.designations]
        if every:
            found["designation"] = [one for at, one in enumerate(every) if one not in every[:at]]
    return found


def _nested(entries: Sequence[Entry], wish: Wish) -> list[Element]:
    """Each code once: below the first of its parents that is there too. Raises TooCostly."""
    shown = {entry[:2]: _element(entry, wish) for entry in entries}
    above = {entry[:2]: parent for entry in entries if (parent := _parent(entry, shown)) is not None}
    roots: list[Element] = []
    for at, element in shown.items():
        if at not in above or _is_top_of_turn(at, above):
            roots.append(element)
        else:
            shown[above[at]].setdefault("contains", []).append(element)
    return roots


def _parent(entry: Entry, shown: Mapping[At, Element]) -> At | None:
    if entry.held is None:
        return None
    parents = entry.held.structure.parents(entry.code)
    return next(((entry.system, one) for one in parents if (entry.system, one) in shown), None)


def _is_top_of_turn(at: At, above: Mapping[At, At]) -> bool:
    """Whether the way up from a code leads back to it, and it is the smallest on that way: so that what
    stands above each other is shown once."""
    seen = {at}
    one = above[at]
    while one in above and one not in seen:
        if len(seen) == DEPTH_MAX:
            raise TooCostly(f"codes stand more than {DEPTH_MAX} deep: leave out excludeNested=false")
        seen.add(one)
        one = above[one]
    return one == at and at == min(seen)
