"""Terminology for whoever cannot wait: verdicts on codes from what is known already.

A resource is validated in one go, without awaiting anything. A `View` answers from the definitions that it
has; what it lacks it notes, says UNKNOWN, and learns between two runs:

    while True:
        found = validate(resource, view)
        if not await view.learn(library):
            return found

The second run of the first resource has what it needs, and so has the first run of the next.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from fhirserver.errors import FhirError
from fhirserver.terminology.library import Holdings, Library, gather
from fhirserver.terminology.valueset import ValueSet
from fhirserver.terminology.verdict import Asked, Membership, Verdict, judge

VERDICTS_MAX: Final = 20_000
"""Verdicts that are remembered, some 10 MB."""
SETS_MAX: Final = 20_000
"""Value sets and code systems that were looked for, those that there are not included."""
LACKING: Final = "the definitions have not been read yet"
"""The reason of a verdict that another one will follow, once the view has learned."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A value set that was looked for, or why it cannot be worked out. `elsewhere` are the systems that it
    draws on which have to be asked about each code."""

    value_set: ValueSet | None
    elsewhere: frozenset[str] = frozenset()
    fault: str = ""


@dataclass(slots=True)
class View:
    """The definitions of one moment, as one caller may see them; made anew when they may have changed."""

    held: Holdings = field(default_factory=Holdings)
    _sets: dict[str, _Known] = field(default_factory=dict)
    _asked: set[tuple[str, str]] = field(default_factory=set)
    _lacking: dict[tuple[str, str], None] = field(default_factory=dict)
    _verdicts: dict[tuple[str, Asked], Verdict] = field(default_factory=dict)

    def validate(
        self,
        value_set_url: str,
        system: str | None,
        code: str,
        display: str | None = None,
        *,
        abstract: bool = False,
    ) -> Verdict:
        """Of a code in a value set by its canonical `url` or `url|version`; `system` None is that of the
        only system which has the code there, as for elements of type `code`. With `abstract` codes count that
        only group others.

        UNKNOWN, with the reason, for a value set that is not held or makes no sense; raises nothing.
        """
        asked = Asked(system, code, display, abstract=abstract)
        key = value_set_url, asked
        found = self._verdicts.get(key)
        if found is not None:
            return found
        known = self._sets.get(value_set_url)
        if known is None or (known.elsewhere and (value_set_url, code) not in self._asked):
            self._lacking[value_set_url, code] = None
            return Verdict(Membership.UNKNOWN, system, code, reason=LACKING, unknown=value_set_url)
        if len(self._verdicts) >= VERDICTS_MAX:
            self._verdicts.clear()
        found = self._verdicts[key] = self._judged(value_set_url, known, asked)
        return found

    def _judged(self, url: str, known: _Known, asked: Asked) -> Verdict:
        reason = known.fault or f"the value set '{url}' is not held here"
        if known.value_set is not None and not known.fault:
            try:
                return judge(known.value_set, self.held, asked)
            except FhirError as error:
                reason = str(error)
        return Verdict(Membership.UNKNOWN, asked.system, asked.code, reason=reason, unknown=url)

    async def learn(self, library: Library, most: int | None = None) -> bool:
        """Read what was asked for and is lacking, at most so many definitions; whether there was anything, so
        that it is worth asking again."""
        lacking, self._lacking = self._lacking, {}
        if len(self._sets) > SETS_MAX:  # anybody can name what there is not
            self._sets.clear()
            self._verdicts.clear()
            self._asked.clear()
        codes: dict[str, set[str]] = {}
        for url, code in lacking:
            codes.setdefault(url, set()).add(code)
        for url, wanted in islice(codes.items(), most):
            self._sets[url] = await self._read(library, url, frozenset(wanted))
            self._asked.update((url, code) for code in wanted if self._sets[url].elsewhere)
        return bool(lacking)

    async def _read(self, library: Library, url: str, codes: frozenset[str]) -> _Known:
        name, _, version = url.partition("|")
        known = self._sets.get(url)
        value_set = known.value_set if known is not None else await library.value_set(name, version or None)
        if value_set is None:
            return _Known(None)
        try:
            await gather(library, value_set, codes, self.held)
        except FhirError as error:
            return _Known(value_set, fault=str(error))
        drawn = {
            (part.system, part.version) for part in self.held.parts(value_set) if part.system is not None
        }
        systems = [(at, self.held.systems.get(at)) for at in drawn]
        return _Known(
            value_set, frozenset(at[0] for at, one in systems if one is not None and not one.in_memory)
        )
