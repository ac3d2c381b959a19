"""Regular expressions: http://hl7.org/fhirpath/N1/#matchesregex-string-boolean

They run under what is left of the evaluation's time, which interrupts a match that would never end; what
time does not bound, the size of a compiled pattern, is looked at before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import regex

from fhirserver.fhir.fhirpath.functions.pattern_size import require_size
from fhirserver.fhir.fhirpath.functions.site import Builder, Entry, Site
from fhirserver.fhir.fhirpath.runtime import Compiled, Frame, Root
from fhirserver.fhir.fhirpath.tree import FHIRPathError, TooCostly
from fhirserver.fhir.fhirpath.types import Node
from fhirserver.fhir.fhirpath.values import STRING, boolean, one, string

_PATTERN_LENGTH_MAX: Final = 2_048


@lru_cache(maxsize=128)
def _pattern(text: str) -> regex.Pattern[str]:
    """In single-line mode: a dot stands for any character, line ends included."""
    if len(text) > _PATTERN_LENGTH_MAX:
        raise ValueError(f"it has more than {_PATTERN_LENGTH_MAX} characters")
    require_size(text)
    try:
        return regex.compile(text, regex.DOTALL | regex.VERSION0)
    except (regex.error, RecursionError, OverflowError) as error:
        raise ValueError(str(error)) from None


def _read(text: str, at: int) -> regex.Pattern[str]:
    try:
        return _pattern(text)
    except ValueError as error:
        raise FHIRPathError(f"the regular expression cannot be read: {error}", at) from None


def _matching(method: str) -> Builder:
    def build(site: Site) -> Compiled:
        run_source, run_pattern, at = site.source.run, site.argument(0).run, site.at

        def run(frame: Frame) -> list[Node]:
            text = one(run_source(frame), STRING, site.what, site.at)
            pattern = one(run_pattern(frame), STRING, site.what, site.at)
            if text is None or pattern is None:
                return []
            match = getattr(_read(pattern, at), method)
            return boolean(_within_time(frame.root, text, lambda s: match(text, timeout=s)) is not None)

        return site.gives(run, "System.Boolean")

    return build


def _within_time(root: Root, text: str, work: Callable[[float], Any]) -> Any:
    root.require_length(len(text))
    try:
        return work(root.seconds_left())
    except TimeoutError:
        raise TooCostly("a regular expression takes too long") from None


def _replace_matches(site: Site) -> Compiled:
    run_source, run_pattern, run_new = site.source.run, site.argument(0).run, site.argument(1).run

    def run(frame: Frame) -> list[Node]:
        text = one(run_source(frame), STRING, site.what, site.at)
        pattern = one(run_pattern(frame), STRING, site.what, site.at)
        new = one(run_new(frame), STRING, site.what, site.at)
        if text is None or pattern is None or new is None:
            return []
        if not pattern:
            return [string(text)]
        return [string(_replaced(frame.root, text, _read(pattern, site.at), new))]

    return site.gives(run, "System.String")


_GROUP: Final = regex.compile(r"\\(.)|\$(?:(\d{1,2})|\{([A-Za-z_][A-Za-z0-9_]*)\})")


def _replaced(root: Root, text: str, compiled: regex.Pattern[str], new: str) -> str:
    """`$1` and `${name}` stand for groups; built piece by piece, so that its length stays in bounds."""
    pieces: list[str] = []
    length = end = 0

    def replace_all(seconds: float) -> None:
        nonlocal length, end
        for match in compiled.finditer(text, timeout=seconds):
            piece = text[end : match.start()] + _filled(new, match)
            length += len(piece)
            root.require_length(length)
            pieces.append(piece)
            end = match.end()

    _within_time(root, text, replace_all)
    return "".join(pieces) + text[end:]


def _filled(new: str, match: regex.Match[str]) -> str:
    if "$" not in new and "\\" not in new:
        return new

    def group(found: regex.Match[str]) -> str:
        if found[1] is not None:
            return found[1]
        name = found[3] if found[2] is None else int(found[2])
        try:
            return match[name] or ""
        except IndexError:
            raise FHIRPathError(f"the regular expression has no group {name}") from None

    return _GROUP.sub(group, new)


FUNCTIONS: Final[dict[str, Entry]] = {
    "matches": (1, 1, _matching("search")),
    "matchesFull": (1, 1, _matching("fullmatch")),
    "replaceMatches": (2, 2, _replace_matches),
}
