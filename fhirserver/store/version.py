"""A version of a resource as it is stored and as it leaves.

The columns `type`, `id`, `version`, `updated` and `meta` carry what every resource begins with;
`content` carries the rest. So a version goes out by putting text in front of text: it is never
decoded, and its numbers keep the digits they came with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fhirserver.db.sql import sql
from fhirserver.errors import Issue
from fhirserver.fhir import json
from fhirserver.fhir.structure import Resource
from fhirserver.identity.moving import Move
from fhirserver.identity.unique import Claim
from fhirserver.params.entries import Entries
from fhirserver.store.contained import Inner

COLUMNS = sql(
    "r.type, r.id, r.version, r.updated, r.method, r.meta, coalesce(r.written, r.content::text) AS content"
)
"""What `Version.of` needs, over alias r."""


def instant(moment: datetime) -> str:
    """FHIR instant with the microseconds that are stored; `moment` is in UTC."""
    return f"{moment.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


@dataclass(frozen=True, slots=True)
class Version:
    """One stored version; `content` is None in a deletion. JSON texts, `updated` in UTC.

    `container` is the path of the resource that contains it, for one that a search gives by itself.
    """

    type: str
    id: str
    version: int
    updated: datetime
    method: str
    meta: str | None
    content: str | None
    container: str | None = None

    @classmethod
    def of(cls, record: Any) -> Version:
        """From a record that begins with COLUMNS."""
        return cls(record[0], record[1], record[2], record[3], record[4], record[5], record[6])

    @classmethod
    def contained(cls, record: Any) -> Version:
        """From a record that begins with COLUMNS and names the container, if there is one."""
        within = record["container_type"]
        container = None if within is None else f"{within}/{record['container_id']}"
        return cls(*record[:7], container=container)

    @property
    def deleted(self) -> bool:
        return self.content is None

    @property
    def etag(self) -> str:
        """https://hl7.org/fhir/R4/http.html#versioning: always weak."""
        return f'W/"{self.version}"'

    @property
    def path(self) -> str:
        """Below the base; a contained resource's is that of its container and its id there."""
        return f"{self.type}/{self.id}" if self.container is None else f"{self.container}#{self.id}"

    @property
    def versioned_path(self) -> str:
        return f"{self.type}/{self.id}/_history/{self.version}"

    def json(self) -> bytes:
        """The complete resource; the server's own meta elements come first. What is contained has none."""
        assert self.content is not None
        if self.container is not None:
            kept = f',"meta":{self.meta}' if self.meta else ""
            after = f",{self.content[1:]}" if len(self.content) > 2 else "}"
            return f'{{"resourceType":"{self.type}","id":"{self.id}"{kept}{after}'.encode()
        meta = f",{self.meta[1:]}" if self.meta else "}"
        rest = f",{self.content[1:]}" if len(self.content) > 2 else "}"
        return (
            f'{{"resourceType":"{self.type}","id":"{self.id}","meta":{{"versionId":"{self.version}",'
            f'"lastUpdated":"{instant(self.updated)}"{meta}{rest}'
        ).encode()

    def resource(self) -> Resource:
        """The decoded resource, numbers exact."""
        return json.loads(self.json())


@dataclass(frozen=True, slots=True)
class Draft:
    """A version that is about to be written; `version` is its number, `after` the instant it follows.

    `ends_contained`: its predecessor may contain resources, which end with it.
    `known` is the version of the definitions by which `entries` were made. `warnings` are for the writer.
    `claims` are identifiers that it alone may have, None where resources of its type have none. `followed` is
    what was moved in it because it referred to what had been merged into others; if it `repeats` its
    predecessor, nothing but that may be new. `along` are versions that are written with it: what is recorded
    of it.
    """

    type: str
    id: str
    version: int
    method: str
    idk: int
    meta: str | None
    content: str
    written: str | None
    entries: Entries
    after: datetime | None = None
    known: int = 0
    contained: tuple[Inner, ...] = ()
    ends_contained: bool = True
    warnings: tuple[Issue, ...] = ()
    claims: tuple[Claim, ...] | None = None
    followed: tuple[Move, ...] = ()
    repeats: bool = False
    along: tuple[Draft, ...] = ()

    def every_entries(self) -> Iterator[Entries]:
        """The draft's own and those of what it contains."""
        yield self.entries
        yield from (inner.entries for inner in self.contained)

    def stored(self, updated: datetime) -> Version:
        """As it reads once it is written at `updated`."""
        text = self.written or self.content
        return Version(self.type, self.id, self.version, updated, self.method, self.meta, text)
