"""Installing a package: all of it or nothing, in one transaction.

What it brings are resources like others, with versions and a history; definitions take effect with the
transaction, as they do when they are posted (`interactions/definitions`).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.db.retry import retrying
from fhirserver.errors import Conflict, Issue, Unprocessable
from fhirserver.fhir.links import holders
from fhirserver.fhir.package.archive import Archive
from fhirserver.fhir.package.content import Item, resources
from fhirserver.fhir.profile import definition as profiles
from fhirserver.fhir.structure import Resource
from fhirserver.fhir.validate import issues
from fhirserver.interactions.call import Call
from fhirserver.interactions.definitions import renewed, undefine
from fhirserver.interactions.draft import draft, draft_of_change, labelled
from fhirserver.interactions.integrity import missing_targets
from fhirserver.interactions.packages.effect import announcement, take_effect, unusable
from fhirserver.interactions.packages.place import Key, Place, places
from fhirserver.interactions.packages.plan import Options, Part, Plan, planned
from fhirserver.interactions.packages.release import release
from fhirserver.interactions.packages.sources import Sources, fetched
from fhirserver.observe import log
from fhirserver.store import packages, read
from fhirserver.store import write as store
from fhirserver.store.packages import Installed, Owned, Record
from fhirserver.store.version import Draft, Version

BATCH: Final = 40
"""Resources that are in memory, decoded, at a time."""
ISSUES_MAX: Final = 50
CHANGED_SHOWN_MAX: Final = 20

_logger: Any = log.get("packages")

Progress = Callable[[str, int, int], None]
"""Told what is being done, how far it has come, and how far it goes."""


@dataclass(slots=True)
class Report:
    """What an installation did. `packages` are labels, with the resources of each; `idle` are
    SearchParameters that are kept and cannot be searched by, with the reasons; of `other_versions` more
    another version is in force. `unusable` are StructureDefinitions by which nothing can be judged."""

    label: str
    was_here: bool = False
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    packages: dict[str, int] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)
    idle: dict[str, str] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)
    other_versions: int = 0
    passed_over: int = 0


async def install(
    connection: Connection,
    call: Call,
    archive: Archive,
    sources: Sources,
    options: Options,
    progress: Progress = lambda what, done, total: None,
) -> Report:
    """Install a package, or what is new in it; of a package that is here as it is, nothing.

    Raises what `planned` raises; Unprocessable for resources that are not valid R4; Conflict where somebody
    has changed what would be written, unless it is to be overwritten.
    """
    tenant = call.services.tenant
    installed = await packages.everything(connection, tenant)
    progress("reading", 0, 0)
    plan = await planned(archive, sources, installed, options)
    root = plan.parts[0]
    known = next((one for one in installed if one.label == root.manifest.label), None)
    digest = await asyncio.to_thread(archive.digest)
    if known is not None and _is_here(known, plan, digest, options):
        await packages.ask(connection, tenant, known.name, known.version)
        return Report(known.label, was_here=True, packages={known.label: known.resources})
    await asyncio.to_thread(_require_valid, plan, options, progress)

    async def once() -> Report:
        async with connection.transaction():
            await packages.lock(connection, tenant)
            now = await packages.everything(connection, tenant)
            if [(one.label, one.installed) for one in now] != [
                (one.label, one.installed) for one in installed
            ]:
                raise Conflict("packages were installed or removed meanwhile; try again")
            return await _Installation(connection, call, plan, options, progress).run(installed)

    report = await retrying(once, lambda error: renewed(connection, call, error))
    await call.services.definitions.refresh(connection)
    library = call.services.definitions.known.library
    shapes = [
        item.canonical for part in plan.parts for item in part.items.values() if item.type == profiles.TYPE
    ]
    report.unusable = await asyncio.to_thread(unusable, library, shapes)
    _logger.info(
        "package_installed",
        package=report.label,
        tenant=tenant,
        by=call.principal.id or "nobody signs in",
        created=report.created,
        updated=report.updated,
        packages=sorted(report.packages),
    )
    return report


async def install_named(
    connection: Connection,
    call: Call,
    name: str,
    version: str,
    sources: Sources,
    options: Options,
    progress: Progress = lambda what, done, total: None,
) -> Report:
    """The same by name and version; a version that is here is looked for nowhere else.

    Raises NotFound.
    """
    installed = await packages.everything(connection, call.services.tenant)
    known = next((one for one in installed if (one.name, one.version) == (name, version)), None)
    enough = known is not None and known.whole and (known.examples or not options.examples)
    if known is not None and enough and not options.overwrite and not known.without:
        await packages.ask(connection, call.services.tenant, name, version)
        return Report(known.label, was_here=True, packages={known.label: known.resources})
    archive = await fetched(sources, name, version)
    return await install(connection, call, archive, sources, options, progress)


def _is_here(known: Installed, plan: Plan, digest: str, options: Options) -> bool:
    """Whether there is nothing to do: the same archive, whole, with what it depends on now."""
    root = plan.parts[0]
    return (
        known.whole
        and known.digest == digest
        and (known.examples or not options.examples)
        and not options.overwrite
        and sorted(known.needs) == sorted(root.needs)
        and not any(part.items for part in plan.parts[1:])
    )


def _require_valid(plan: Plan, options: Options, progress: Progress) -> None:
    """Look at every resource before anything is written."""
    total, done = sum(len(part.items) for part in plan.parts), 0
    found: list[Issue] = []
    for part in plan.parts:
        for name, resource in resources(part.content, frozenset(part.items)):
            faults = issues(resource)
            if faults and options.skip_invalid:
                del part.items[name]
                plan.invalid.append(f"{name}: {faults[0].diagnostics}")
            elif faults and len(found) < ISSUES_MAX:
                place = f"{part.manifest.label}: {name}"
                found += [
                    Issue("error", one.code, f"{place}: {one.diagnostics}", one.expression)
                    for one in faults[:3]
                ]
            done += 1
            progress("checking", done, total)
    if found:
        raise Unprocessable(issues=found)


class _Installation:
    """One try, in a transaction."""

    def __init__(
        self, connection: Connection, call: Call, plan: Plan, options: Options, progress: Progress
    ) -> None:
        self._connection, self._call, self._plan = connection, call, plan
        self._options, self._progress = options, progress
        self._tenant = call.services.tenant
        self._places: dict[Key, Place] = {}
        self._written: dict[Key, Owned] = {}
        self._parameters: set[str] = set()
        self._changed: list[str] = []
        self._examples: list[Draft] = []
        self._gone: list[tuple[str, str]] = []
        self._done, self._total = 0, sum(len(part.items) for part in plan.parts)
        self._report = Report(plan.parts[0].manifest.label)

    async def run(self, installed: list[Installed]) -> Report:
        self._places = await places(self._connection, self._call, self._plan)
        self._writer = await store.begin(self._connection, self._tenant)
        for part in self._plan.parts:
            await self._write(part)
        if self._changed:
            raise _changed_by_hand(self._changed)
        await self._verify_examples()
        known = {one.label: one for one in installed}
        for part in self._plan.parts:
            await self._record(part, known.get(part.manifest.label))
        await undefine(self._connection, self._call, self._gone)
        self._report.deleted = len(self._gone)
        effect = await take_effect(self._connection, self._call, self._parameters)
        self._report.idle, self._report.other_versions = effect.idle, effect.other_versions
        root = self._plan.parts[0]
        self._report.without = sorted({one for part in self._plan.parts for one in part.without})
        self._report.invalid, self._report.passed_over = self._plan.invalid, root.content.passed_over
        return self._report

    # -- resources

    async def _write(self, part: Part) -> None:
        moved = self._moved(part)
        reading = resources(part.content, frozenset(part.items))
        while batch := await asyncio.to_thread(_batch, reading):
            pairs = [(part.items[name], resource) for name, resource in batch]
            # What another package of the plan has brought a moment ago is there.
            pairs = [pair for pair in pairs if (pair[0].type, pair[0].canonical) not in self._written]
            current = await self._current([item for item, _ in pairs])
            made = await asyncio.to_thread(self._drafts, pairs, current, moved)
            await self._store(made)
            self._done += len(batch)
            self._progress("writing", self._done, self._total)

    def _moved(self, part: Part) -> dict[str, str]:
        """References within the package to what has another id here."""
        return {
            f"{item.type}/{item.id}": f"{item.type}/{place.id}"
            for item in part.items.values()
            if (place := self._places[item.type, item.canonical]).id != item.id
        }

    async def _current(self, items: list[Item]) -> dict[Key, Version]:
        rids: dict[str, dict[int, Key]] = defaultdict(dict)
        for item in items:
            place = self._places[item.type, item.canonical]
            if not place.is_new and place.latest is not None:
                rids[item.type][place.latest.rid] = (item.type, item.canonical)
        found: dict[Key, Version] = {}
        for type_, wanted in rids.items():
            ids = {self._places[key].id: key for key in wanted.values()}
            for version in await read.by_rid(self._connection, type_, list(wanted)):
                found[ids[version.id]] = version
        return found

    def _drafts(
        self, pairs: list[tuple[Item, Resource]], current: dict[Key, Version], moved: dict[str, str]
    ) -> list[tuple[Item, Place, Draft | None]]:
        """For each resource the version to write; None where it is there as it should be."""
        made: list[tuple[Item, Place, Draft | None]] = []
        for item, resource in pairs:
            place, before = self._places[item.type, item.canonical], current.get((item.type, item.canonical))
            resource["id"] = place.id
            for holder in holders(resource) if moved else ():
                holder["reference"] = moved.get(holder["reference"], holder["reference"])
            if before is None:
                made.append(
                    (item, place, draft(self._call.services, resource, place.id, "PUT", place.latest))
                )
                continue
            version = draft_of_change(self._call.services, labelled(resource, before), "PUT", before)
            if version is not None and place.is_changed and not self._options.overwrite:
                self._changed.append(f"{item.type}/{place.id} ({item.canonical})")
                version = None
            made.append((item, place, version))
        return made

    async def _store(self, made: list[tuple[Item, Place, Draft | None]]) -> None:
        drafts = [version for _, _, version in made if version is not None]
        ended: dict[str, list[int]] = defaultdict(list)
        for item, place, version in made:
            if version is not None and not place.is_new and place.latest is not None:
                ended[item.type].append(place.latest.rid)
        await store.write_many(self._connection, self._tenant, drafts, self._writer, ended, {})
        for item, place, version in made:
            if version is None:
                assert place.latest is not None
                self._report.unchanged += 1
            elif place.is_new:
                self._report.created += 1
            else:
                self._report.updated += 1
            number = version.version if version is not None else place.latest.version if place.latest else 1
            self._written[item.type, item.canonical] = Owned(
                item.type, place.id, item.canonical, number, place.found
            )
            if version is not None and item.type == "SearchParameter":
                self._parameters.add(place.id)
            if version is not None and not item.url:
                self._examples.append(version)

    async def _verify_examples(self) -> None:
        """Referential integrity, by setting. Definitions are exempt: guides name examples that nobody has to
        install."""
        missing = await missing_targets(self._connection, self._call, self._examples)
        found = [issue for one in missing for issue in one]
        if found:
            raise Unprocessable(issues=found[:ISSUES_MAX])

    # -- what is known of the package afterwards

    async def _record(self, part: Part, known: Installed | None) -> None:
        manifest = part.manifest
        whole = part.whole or (known is not None and known.whole)
        digest = await asyncio.to_thread(part.content.archive.digest)
        record = Record(
            *(manifest.name, manifest.version, manifest.title, manifest.canonical, digest, whole, part.asked),
            examples=part.asked and (self._options.examples or (known is not None and known.examples)),
            needs=part.needs,
            without=part.without,
            left_out=part.left_out,
            announced=announcement(part),
        )
        rows = [self._written[item.type, item.canonical] for item in part.items.values()]
        before = await packages.of(self._connection, self._tenant, manifest.name, manifest.version)
        await packages.put(self._connection, self._tenant, record)
        for start in range(0, len(rows), 1_000):
            await packages.own(
                *(
                    self._connection,
                    self._tenant,
                    manifest.name,
                    manifest.version,
                    rows[start : start + 1_000],
                )
            )
        self._report.packages[manifest.label] = len(rows)
        await self._release(part, before, {row.identity for row in rows}, known)

    async def _release(
        self, part: Part, before: list[Owned], kept: set[tuple[str, str]], known: Installed | None
    ) -> None:
        """What an earlier archive of the same version brought and this one does not."""
        over = [row for row in before if row.identity not in kept and not self._is_kept_example(row, known)]
        if over:
            self._gone += await release(self._connection, self._call, part.manifest.label, over)
            identities = [row.identity for row in over]
            await packages.disown(
                *(self._connection, self._tenant, part.manifest.name, part.manifest.version, identities)
            )

    def _is_kept_example(self, row: Owned, known: Installed | None) -> bool:
        return known is not None and known.examples and row.canonical == f"{row.type}/{row.id}"


def _batch(reading: Iterator[tuple[str, Resource]]) -> list[tuple[str, Resource]]:
    return list(islice(reading, BATCH))


def _changed_by_hand(changed: list[str]) -> Conflict:
    shown = ", ".join(sorted(changed)[:CHANGED_SHOWN_MAX])
    more = f" and {len(changed) - CHANGED_SHOWN_MAX} more" if len(changed) > CHANGED_SHOWN_MAX else ""
    return Conflict(
        f"what the package brings is here in another form, which people have written: {shown}{more}."
        " Nothing was installed; overwrite it on purpose"
    )
