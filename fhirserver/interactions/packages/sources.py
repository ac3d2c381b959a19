"""Where archives of packages are found: files and folders, and registries.

https://hl7.org/fhir/packages.html#registry; a registry answers as npm's do: what there is of a package at its
name, with the address and the hashes of each archive.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import orjson

from fhirserver.errors import FhirError, NotFound, Unprocessable
from fhirserver.fhir.package.archive import Archive, Limits
from fhirserver.fhir.package.manifest import is_name, manifest_of
from fhirserver.fhir.package.versions import LATEST, Wanted, is_version, wanted
from fhirserver.outbound import Bounds, Outbound, Reply, Unanswered, Unusable
from fhirserver.settings import Network, Settings

LISTING: Final = Bounds("application/json", timeout_s=20.0, bytes_max=16 * 1024 * 1024)
ARCHIVE: Final = Bounds("*/*", timeout_s=300.0, bytes_max=256 * 1024 * 1024)
REDIRECTS_MAX: Final = 3
SHELF_MAX: Final = 2_000
"""Archives in the folders that are given."""
_ANYWHERE: Final = (ip_network("0.0.0.0/0"), ip_network("::/0"))

Received = Callable[[str, int, int | None], None]
"""Told of a package that is being fetched: its label, the bytes read, and how many there will be."""


def _silent(label: str, read: int, total: int | None) -> None:
    """Nobody looks."""


class Unreachable(Exception):
    """A registry does not answer as one does; the text says which and how."""


@dataclass(slots=True)
class Shelf:
    """Archives in files and folders, by name and version."""

    found: dict[str, dict[str, Archive]] = field(default_factory=dict)

    @classmethod
    def of(cls, paths: Iterable[Path], limits: Limits) -> Shelf:
        """Raises Unprocessable for a path that does not exist, and what reading raises for a file that is
        named itself; what is no package in a folder is passed over."""
        shelf = cls()
        for path in paths:
            if path.is_dir():
                for file in sorted(path.glob("*.tgz"))[:SHELF_MAX]:
                    try:
                        shelf._add(Archive.of_path(file, limits))
                    except (FhirError, OSError):
                        continue
            elif path.is_file():
                shelf._add(Archive.of_path(path, limits))
            else:
                raise Unprocessable(f"there is no file or folder {path}")
        return shelf

    def _add(self, archive: Archive) -> None:
        manifest = manifest_of(archive)
        self.found.setdefault(manifest.name, {}).setdefault(manifest.version, archive)


@dataclass(frozen=True, slots=True)
class _Listed:
    """A version in a registry."""

    archive: str
    shasum: str | None
    integrity: str | None


@dataclass(slots=True)
class _Listing:
    registry: str
    latest: str | None
    versions: dict[str, _Listed]


@dataclass(slots=True)
class Sources:
    """Files, and registries in their order. `folder` is where what is fetched lies until all is done."""

    shelf: Shelf
    registries: Sequence[str]
    networks: Sequence[Network]
    limits: Limits
    folder: Path
    received: Received = _silent
    faults: list[str] = field(default_factory=list)
    """Why registries did not answer."""
    _listings: dict[str, list[_Listing]] = field(default_factory=dict)

    async def best(self, name: str, wanted: Wanted, here: Iterable[str]) -> str | None:
        """The version that is meant, of those in files, in registries and `here`."""
        known = {*here, *self.shelf.found.get(name, ())}
        if wanted.is_exact and wanted.text in known:
            return wanted.text
        for listing in await self._listed(name):
            if wanted.text == LATEST and listing.latest is not None:
                return listing.latest
            known |= listing.versions.keys()
        return wanted.among(known)

    async def archive(self, name: str, version: str) -> Archive | None:
        """The archive of a version; None where it is nowhere. Raises Unprocessable for one that is not what
        the registry says."""
        if (local := self.shelf.found.get(name, {}).get(version)) is not None:
            return local
        for listing in await self._listed(name):
            if (listed := listing.versions.get(version)) is not None:
                return await self._fetched(f"{name}@{version}", listing.registry, listed)
        return None

    # -- registries

    async def _listed(self, name: str) -> list[_Listing]:
        """What the registries have of a package."""
        known = self._listings.get(name)
        if known is None:
            known = self._listings[name] = []
            for registry in self.registries:
                try:
                    if (listing := await self._listing(registry, name)) is not None:
                        known.append(listing)
                except Unreachable as error:
                    if str(error) not in self.faults:
                        self.faults.append(str(error))
        return known

    async def _listing(self, registry: str, name: str) -> _Listing | None:
        answer = await self._get(registry, f"{registry}/{name}", LISTING)
        if answer.status == 404:
            return None
        try:
            value: Any = orjson.loads(answer.body)
            rows: Any = value["versions"]
            versions = {
                version: _listed_version(registry, name, version, row)
                for version, row in rows.items()
                if is_version(version) and isinstance(row, dict)
            }
            tags = value.get("dist-tags") or {}
            latest = tags.get(LATEST)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Unreachable(f"{registry} does not answer as a registry of packages") from None
        return _Listing(registry, latest if latest in versions else None, versions)

    async def _fetched(self, label: str, registry: str, listed: _Listed) -> Archive:
        def received(read: int, total: int | None) -> None:
            self.received(label, read, total)

        try:
            answer = await self._get(registry, listed.archive, replace(ARCHIVE, received=received))
        except Unreachable as error:
            raise Unprocessable(f"{label} could not be fetched: {error}") from None
        if answer.status != 200:
            raise Unprocessable(f"{label} could not be fetched: {registry} answered {answer.status}")
        require_intact(label, answer.body, listed.shasum, listed.integrity)
        path = self.folder / f"{len(list(self.folder.iterdir()))}-{label}.tgz"
        await asyncio.to_thread(path.write_bytes, answer.body)
        archive = Archive(label, lambda: path.open("rb"), self.limits)
        found = await asyncio.to_thread(manifest_of, archive)
        if found.label != label:
            raise Unprocessable(f"{registry} gave {found.label} for {label}")
        return archive

    async def _get(self, registry: str, url: str, bounds: Bounds) -> Reply:
        """GET, a few redirects followed. The registry itself was chosen by who runs this server, so it may
        be anywhere; where it leads may not. Raises Unreachable."""
        for _ in range(REDIRECTS_MAX + 1):
            networks = _ANYWHERE if _origin(url) == _origin(registry) else self.networks
            try:
                answer = await Outbound(networks).get(url, bounds)
            except Unanswered as error:
                raise Unreachable(f"{registry} does not answer ({type(error.__cause__).__name__})") from None
            except Unusable as error:
                raise Unreachable(f"{registry} is not asked further: {error}") from None
            if answer.status not in (301, 302, 303, 307, 308):
                return answer
            url = _redirected(registry, url, answer.headers.get("location", ""))
        raise Unreachable(f"{registry} redirects more than {REDIRECTS_MAX} times")


async def fetched(found: Sources, name: str, version: str) -> Archive:
    """The archive of a package that is asked for by name. Raises NotFound, saying where it was looked for."""
    if not is_name(name):
        raise Unprocessable(f"'{name[:80]}' is no name of a package: parts of letters and digits with dots")
    best = await found.best(name, wanted(version), ())
    archive = None if best is None else await found.archive(name, best)
    if archive is None:
        places = ", ".join(found.registries) or "no registry is asked"
        raise NotFound(f"{name}@{version} was not found ({'; '.join(found.faults) or places})")
    return archive


def _listed_version(registry: str, name: str, version: str, row: dict[str, Any]) -> _Listed:
    given = row.get("dist")
    dist: dict[str, Any] = given if isinstance(given, dict) else {}
    archive, shasum, integrity = (dist.get(key) for key in ("tarball", "shasum", "integrity"))
    return _Listed(
        archive if isinstance(archive, str) and archive else f"{registry}/{name}/{version}",
        shasum if isinstance(shasum, str) and shasum else None,
        integrity if isinstance(integrity, str) and integrity else None,
    )


def require_intact(label: str, data: bytes, shasum: str | None, integrity: str | None) -> None:
    """Raise Unprocessable unless the archive has the hashes that the registry gives, where it gives any:
    SHA-1 in hexadecimal, and SHA-512 as https://www.w3.org/TR/SRI/ writes it."""
    if shasum is not None and hashlib.sha1(data, usedforsecurity=False).hexdigest() != shasum.lower():
        raise Unprocessable(f"{label} is not what the registry says: its SHA-1 is another")
    strong = [one for one in (integrity or "").split() if one.startswith("sha512-")]
    expected = f"sha512-{base64.b64encode(hashlib.sha512(data).digest()).decode()}"
    if strong and expected not in strong:
        raise Unprocessable(f"{label} is not what the registry says: its SHA-512 is another")


def _redirected(registry: str, url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise Unreachable(f"{registry} redirects to what is no address") from None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port
    except ValueError:
        return "", None, None


@contextmanager
def sources(
    settings: Settings,
    paths: Iterable[Path] = (),
    *,
    offline: bool = False,
    received: Received = _silent,
) -> Iterator[Sources]:
    """Files and folders, and the registries of the settings unless `offline`."""
    limits = Limits(unpacked_bytes_max=settings.package_bytes_max)
    registries = () if offline else settings.registries
    with tempfile.TemporaryDirectory(prefix="packages-") as folder:
        yield Sources(
            Shelf.of(paths, limits), registries, settings.outbound_networks, limits, Path(folder), received
        )
