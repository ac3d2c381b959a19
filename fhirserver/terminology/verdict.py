"""Whether one code is in a value set: yes, no, or that nobody here can know.

https://hl7.org/fhir/R4/valueset.html#compositions, read code by code. So a value set that draws on
systems that are not held, or on those without end, still answers for every code that it can answer for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from fhirserver.terminology.concept import Concept
from fhirserver.terminology.errors import NotEnumerable
from fhirserver.terminology.expand import require_apart
from fhirserver.terminology.library import Holdings
from fhirserver.terminology.system import System
from fhirserver.terminology.valueset import Part, ValueSet


class Membership(Enum):
    """Of a code in a value set or code system; UNKNOWN where a definition that matters is not held."""

    MEMBER = "member"
    NOT_MEMBER = "not member"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of a code. `reason` says in words why it is no member, unknown, or has another display.

    `code` is as the system writes it, `display` what it should be displayed as and `display_right` whether
    the one given will do: None where none was given or nothing is known to compare it with. `unknown` is
    the URL of the code system or value set that would be needed.
    """

    membership: Membership
    system: str | None
    code: str
    display: str | None = None
    display_right: bool | None = None
    is_abstract: bool = False
    is_inactive: bool = False
    reason: str = ""
    unknown: str | None = None

    @property
    def is_member(self) -> bool:
        return self.membership is Membership.MEMBER


@dataclass(frozen=True, slots=True)
class Asked:
    """A coding that is to be judged; `abstract` allows codes that only group others."""

    system: str | None
    code: str
    display: str | None = None
    version: str | None = None
    abstract: bool = False
    language: str | None = None


def judge(value_set: ValueSet, held: Holdings, asked: Asked) -> Verdict:
    """Of a code in a value set; without a system it is that of the only system that has the code there.

    Raises Invalid for a value set that is a part of itself, TooCostly.
    """
    if asked.system is not None:
        return _Judge(held, asked, asked.system).verdict(value_set)
    found = [_Judge(held, asked, one).verdict(value_set) for one in _systems(value_set, held)]
    return _any_of(found, value_set, asked) if found else _of_no_system(value_set, held, asked)


def _of_no_system(value_set: ValueSet, held: Holdings, asked: Asked) -> Verdict:
    """A value set that names no system of its own is all that the others are, which may not be held."""
    names = [name for part in held.parts(value_set) for name in part.value_sets]
    lacking = next((name for name in names if held.value_sets.get(name) is None), None)
    if lacking is None:
        return _any_of([], value_set, asked)
    reason = f"whether '{asked.code}' is in '{value_set.name}' is unknown: '{lacking}' is not held"
    return Verdict(Membership.UNKNOWN, None, asked.code, reason=reason, unknown=lacking)


def judge_system(system: System, asked: Asked) -> Verdict:
    """Of a code in a code system."""
    name = f"'{asked.code}'"
    written = system.find(asked.code)
    if written is None:
        if system.content != "complete":
            reason = (
                f"whether {name} exists is unknown: only a part of the code system '{system.name}' is held"
            )
            return Verdict(Membership.UNKNOWN, system.url, asked.code, reason=reason, unknown=system.url)
        reason = f"the code system '{system.name}' has no code {name}"
        return Verdict(Membership.NOT_MEMBER, system.url, asked.code, reason=reason)
    found = Verdict(Membership.MEMBER, system.url, written)
    return described(found, (system.concept(written),), system, asked)


def described(found: Verdict, concepts: Iterable[Concept], system: System | None, asked: Asked) -> Verdict:
    """A member with what `concepts` say of it, those that count first before the others."""
    known = list(concepts)
    display = next((text for one in known if (text := one.displayed(asked.language)) is not None), None)
    texts = {_folded(text) for one in known for text in one.texts()}
    right = None if asked.display is None or not texts else _folded(asked.display) in texts
    found = replace(
        found,
        display=display,
        display_right=right,
        is_inactive=system is not None and system.is_inactive(found.code),
        is_abstract=system is not None and system.is_abstract(found.code),
    )
    if found.is_abstract and not asked.abstract:
        reason = (
            f"'{found.code}' of '{found.system}' is abstract: it groups other codes and is not to be used"
        )
        return replace(found, membership=Membership.NOT_MEMBER, reason=reason)
    if right is False:
        reason = f"'{asked.display}' is no display of '{found.code}' of '{found.system}'; '{display}' is"
        return replace(found, reason=reason)
    return found


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _systems(value_set: ValueSet, held: Holdings) -> list[str]:
    """Those that a value set draws on."""
    found = {part.system: None for part in held.parts(value_set) if part.system is not None}
    for one in (value_set, *held.value_sets.values()):
        if one is not None and one.expansion is not None:
            found |= dict.fromkeys(one.expansion.codes)
    return list(found)


def _any_of(found: list[Verdict], value_set: ValueSet, asked: Asked) -> Verdict:
    """The only member, or that nothing is; raises nothing, ambiguity is no member."""
    members = [one for one in found if one.is_member]
    if len(members) == 1:
        return members[0]
    if members:
        names = ", ".join(f"'{one.system}'" for one in members)
        reason = f"'{asked.code}' could be of {names}: it needs a system"
        return Verdict(Membership.NOT_MEMBER, None, asked.code, reason=reason)
    for wanted in (Membership.UNKNOWN, Membership.NOT_MEMBER):
        for one in found:
            if one.membership is wanted:
                return one
    return Verdict(
        Membership.NOT_MEMBER,
        None,
        asked.code,
        reason=f"'{asked.code}' is not in the value set '{value_set.name}'",
    )


@dataclass(frozen=True, slots=True)
class _Answer:
    """Whether something holds, None for unknown; who says so, or why it is unknown."""

    holds: bool | None
    part: Part | None = None
    code: str = ""
    reason: str = ""
    unknown: str | None = None


_NO = _Answer(False)


class _Judge:
    """Of one code with its system."""

    def __init__(self, held: Holdings, asked: Asked, system: str) -> None:
        self._held = held
        self._asked = asked
        self._system = system
        self._known: dict[ValueSet, _Answer] = {}
        self._within: list[ValueSet] = []

    def verdict(self, value_set: ValueSet) -> Verdict:
        found = self._member(value_set)
        system, code = self._system, self._asked.code
        if found.holds is None:
            reason = f"whether '{code}' of '{system}' is in '{value_set.name}' is unknown: {found.reason}"
            return Verdict(Membership.UNKNOWN, system, code, reason=reason, unknown=found.unknown)
        if not found.holds:
            reason = f"'{code}' of '{system}' is not in the value set '{value_set.name}'"
            return Verdict(Membership.NOT_MEMBER, system, code, reason=reason)
        assert found.part is not None
        own = self._code_system(found.part)
        concepts = [found.part.concepts[found.code]] if found.part.concepts is not None else []
        if own is not None and (written := own.find(found.code)) is not None:
            concepts.append(own.concept(written))
        return described(Verdict(Membership.MEMBER, system, found.code), concepts, own, self._asked)

    def _code_system(self, part: Part) -> System | None:
        return self._held.systems.get((self._system, part.version))

    def _member(self, value_set: ValueSet) -> _Answer:
        known = self._known.get(value_set)
        if known is None:
            known = self._known[value_set] = self._worked_out(value_set)
        return known

    def _worked_out(self, value_set: ValueSet) -> _Answer:
        require_apart(self._within, value_set)
        if not value_set.includes:
            if value_set.expansion is None:
                return _Answer(
                    None, reason=f"'{value_set.name}' does not say what is in it", unknown=value_set.url
                )
            return self._stored(value_set)
        self._within.append(value_set)
        try:
            found = self._composed(value_set)
        finally:
            self._within.pop()
        return self._stored(value_set) if found.holds is None and value_set.expansion is not None else found

    def _stored(self, value_set: ValueSet) -> _Answer:
        assert value_set.expansion is not None
        part = value_set.expansion.of(self._system).get(self._asked.code)
        return _NO if part is None else _Answer(True, part, self._asked.code)

    def _composed(self, value_set: ValueSet) -> _Answer:
        included = _either(self._part(part, value_set) for part in value_set.includes)
        if included.holds is False or not value_set.excludes:
            return included
        excluded = _either(self._part(part, value_set) for part in value_set.excludes)
        if excluded.holds:
            return _NO
        return included if excluded.holds is False else replace(excluded, holds=None)

    def _part(self, part: Part, of: ValueSet) -> _Answer:
        """All conditions must hold; one that does not decides, whatever is unknown about others."""
        found = [self._in_system(part, of)] if part.system is not None else []
        for canonical in part.value_sets:
            if found and found[-1].holds is False:
                return _NO
            value_set = self._held.value_sets.get(canonical)
            if value_set is None:
                reason = f"the value set '{canonical}' is not held here"
                found.append(_Answer(None, reason=reason, unknown=canonical))
            else:
                found.append(self._member(value_set))
        if not found or any(one.holds is False for one in found):
            return _NO
        return next((one for one in found if one.holds is None), found[0])

    def _in_system(self, part: Part, of: ValueSet) -> _Answer:
        if part.system != self._system:
            return _NO
        system = self._code_system(part)
        code = self._asked.code
        if part.concepts is not None:
            written = code if code in part.concepts else None
            if written is None and system is not None and (found := system.find(code)) in part.concepts:
                written = found
            if written is None:
                return _NO
        else:
            if system is None:
                return self._missing(part)
            written = system.find(code)
            if written is None:
                return _NO if system.content == "complete" else self._missing(part)
            try:
                if not system.passes(written, part.filters):
                    return _NO
            except NotEnumerable as error:
                return _Answer(None, reason=str(error), unknown=part.system)
        if not of.inactive and system is not None and system.is_inactive(written):
            return _NO
        return _Answer(True, part, written)

    def _missing(self, part: Part) -> _Answer:
        name = self._system if part.version is None else f"{self._system}|{part.version}"
        return _Answer(None, reason=f"the code system '{name}' is not held here", unknown=self._system)


def _either(answers: Iterable[_Answer]) -> _Answer:
    """The first that holds, otherwise the first that is unknown."""
    unknown: _Answer | None = None
    for one in answers:
        if one.holds:
            return one
        if one.holds is None and unknown is None:
            unknown = one
    return unknown or _NO
