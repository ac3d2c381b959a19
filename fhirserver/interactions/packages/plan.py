"""What is to be installed: a package, and of what it depends on as much as something refers to.

A dependency can be huge (all of HL7's terminology, all value sets of an authority), and little of it is used.
So of a dependency those resources are installed that what is installed names by its canonical URL, and what
those name in turn. What is left out is remembered, so that another package that needs it does not take it for
being here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from fhirserver.errors import FhirError, Issue, Unprocessable
from fhirserver.fhir.package.archive import Archive
from fhirserver.fhir.package.content import Content, Item, content_of
from fhirserver.fhir.package.manifest import BUILT_IN, Manifest
from fhirserver.fhir.package.versions import wanted
from fhirserver.interactions.packages.sources import Sources
from fhirserver.store.packages import Installed

PACKAGES_MAX: Final = 100
"""Packages that one installation may look through."""


@dataclass(frozen=True, slots=True)
class Options:
    """How somebody wants a package installed. `without` are names of dependencies that are not."""

    without: frozenset[str] = frozenset()
    without_dependencies: bool = False
    examples: bool = False
    overwrite: bool = False
    skip_invalid: bool = False

    def leaves_out(self, name: str) -> bool:
        return self.without_dependencies or name in self.without


@dataclass(slots=True)
class Part:
    """A package of the plan: `items` of it are installed, by their files. `whole` but for what is invalid.

    `needs` are the packages it depends on that are here then, `without` those that are not, as labels.
    """

    content: Content
    whole: bool
    asked: bool
    items: dict[str, Item] = field(default_factory=dict)
    needs: list[str] = field(default_factory=list)
    without: list[str] = field(default_factory=list)

    @property
    def manifest(self) -> Manifest:
        return self.content.manifest

    @property
    def left_out(self) -> list[str]:
        return [item.canonical for item in self.content.items if item.file not in self.items]


@dataclass(slots=True)
class Plan:
    """The packages, those that depend on others first."""

    parts: list[Part]
    invalid: list[str] = field(default_factory=list)
    """What was left out because it is no valid resource: file and reason."""


async def planned(
    archive: Archive, sources: Sources, installed: Iterable[Installed], options: Options
) -> Plan:
    """Read the package and find what it depends on.

    Raises Unprocessable naming every dependency that is neither here nor found, and what reading raises.
    """
    content = await asyncio.to_thread(content_of, archive, examples=options.examples)
    if content.manifest.name in BUILT_IN:
        raise Unprocessable(f"{content.manifest.name} is built in: there is nothing to install")
    planner = _Planner(sources, {one.label: one for one in installed}, options)
    planner.add(content, whole=True, asked=True)
    await planner.run()
    return Plan(planner.parts)


class _Planner:
    """Follows dependencies as long as something of a package is used."""

    def __init__(self, sources: Sources, installed: Mapping[str, Installed], options: Options) -> None:
        self._sources, self._installed, self._options = sources, installed, options
        self.parts: list[Part] = []
        self._by_label: dict[str, Part] = {}
        self._followed: set[str] = set()
        self._mentioned: set[str] = set()
        self._by_url: dict[str, list[tuple[Part, Item]]] = {}
        self._missing: list[str] = []
        self._relied_on: dict[str, Installed] = {}
        """Packages that are here and hold, so far, all of them that is mentioned."""

    def add(self, content: Content, *, whole: bool, asked: bool, known: Installed | None = None) -> None:
        """Plan a package; of one that is `known`, in part, what is here stays."""
        if len(self.parts) >= PACKAGES_MAX:
            raise Unprocessable(f"more than {PACKAGES_MAX} packages depend on one another here")
        part = Part(content, whole, asked)
        self.parts.append(part)
        self._by_label[part.manifest.label] = part
        for item in content.items:
            if item.url:
                self._by_url.setdefault(item.url, []).append((part, item))
        lacking = frozenset(known.left_out if known is not None else ())
        here = whole or known is not None
        self._take((part, item) for item in content.items if here and item.canonical not in lacking)
        self._take([pair for url in self._mentioned for pair in self._by_url.get(url, ())])

    async def run(self) -> None:
        while (part := self._next()) is not None or await self._complete():
            if part is not None:
                self._followed.add(part.manifest.label)
                await self._follow(part)
        if self._missing:
            raise Unprocessable(issues=self._lacking())

    def _lacking(self) -> list[Issue]:
        """What is missing, each with the package that needs it; why registries did not have it."""
        head = f"{self.parts[0].manifest.label} is not installed, as packages are missing:"
        tail = "Give their files, or install without them (without, without-dependencies)."
        texts = [head, *self._missing, *self._sources.faults, tail]
        return [Issue("error", "not-found", text) for text in texts]

    def _next(self) -> Part | None:
        """A package something of which is used and whose dependencies have not been looked for."""
        return next(
            (one for one in self.parts if one.items and one.manifest.label not in self._followed), None
        )

    async def _complete(self) -> bool:
        """Plan a package of those relied on of which more is needed after all; False when there is none."""
        lacking = next((one for one in self._relied_on.values() if self._lacks(one)), None)
        if lacking is None:
            return False
        del self._relied_on[lacking.label]
        try:
            await self._read(lacking.name, lacking.version, lacking)
        except FhirError as error:
            self._missing.append(f"{lacking.label}: {error}")
        return True

    def _take(self, pairs: Iterable[tuple[Part, Item]]) -> None:
        """Install items, and what they mention of the packages that are known so far."""
        pending = list(pairs)
        while pending:
            part, item = pending.pop()
            if item.file in part.items:
                continue
            part.items[item.file] = item
            for url in item.mentions - self._mentioned:
                self._mentioned.add(url)
                pending.extend(self._by_url.get(url, ()))

    async def _follow(self, part: Part) -> None:
        for name, text in part.manifest.dependencies:
            if name in BUILT_IN:
                continue
            if self._options.leaves_out(name):
                part.without.append(f"{name}@{text}")
                continue
            try:
                part.needs.append(await self._resolved(name, text))
            except FhirError as error:
                self._missing.append(f"{name}@{text}, which {part.manifest.label} depends on: {error}")

    async def _resolved(self, name: str, text: str) -> str:
        """The label of the package that a dependency means, which is here or planned then."""
        asked = wanted(text)
        here = {one.version for one in self._installed.values() if one.name == name}
        version = await self._sources.best(name, asked, here)
        if version is None:
            raise Unprocessable("is nowhere to be found")
        label = f"{name}@{version}"
        known = self._installed.get(label)
        if label in self._by_label:
            return label
        if known is not None and not self._lacks(known):
            self._relied_on[label] = known
            return label
        await self._read(name, version, known)
        return label

    async def _read(self, name: str, version: str, known: Installed | None) -> None:
        """Plan a package from its archive."""
        archive = await self._sources.archive(name, version)
        if archive is None:
            if known is None:
                raise Unprocessable("is nowhere to be found")
            raise Unprocessable("is here in part only, and its archive, which is needed for more, is not")
        content = await asyncio.to_thread(content_of, archive)
        self.add(content, whole=known is not None and known.whole, asked=False, known=known)

    def _lacks(self, known: Installed) -> bool:
        """Whether an installed package has more that is mentioned than is here."""
        return any(canonical.partition("|")[0] in self._mentioned for canonical in known.left_out)
