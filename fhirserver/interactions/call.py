"""What an interaction is given and what it answers; neither knows HTTP's wire.

`batch` and `transaction` make calls of their entries just as the REST door makes them of requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from fhirserver.db.pool import TenantPool
from fhirserver.errors import Issue
from fhirserver.fhir.keys import Keys
from fhirserver.interactions.conformance import Policy
from fhirserver.interactions.headers import Prefer
from fhirserver.interactions.operations.definition import Operation
from fhirserver.interactions.views import Views
from fhirserver.params.registry import Registry
from fhirserver.policy.consent.enforcement import Enforcement
from fhirserver.policy.principal import OPEN, Principal
from fhirserver.policy.rates import Rates
from fhirserver.policy.restriction import EVERYTHING, Restriction
from fhirserver.settings import Settings
from fhirserver.store.coalesce import Creates, Reads
from fhirserver.store.definitions import Definitions
from fhirserver.store.trail import Trail
from fhirserver.store.version import Version
from fhirserver.terminology.cache import Cache

Params = tuple[tuple[str, str], ...]
"""Search parameters as they stand in the URL or form, decoded, in order."""


@dataclass(frozen=True, slots=True)
class Services:
    """What every interaction stands on; made once for each tenant by `app.services_of`. `unfolding` is held
    while events are made of what was recorded."""

    settings: Settings
    pool: TenantPool
    reads: Reads
    creates: Creates
    definitions: Definitions
    keys: Keys
    link_secret: bytes
    token_secret: bytes
    own_bases: tuple[str, ...]
    own_bases_bytes: tuple[bytes, ...]
    rates: Rates
    terminology: Cache = field(default_factory=Cache)
    validation: Policy | None = None
    views: Views = field(default_factory=Views)
    consent: Enforcement | None = None
    trail: Trail | None = None
    unfolding: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def tenant(self) -> int:
        return self.settings.tenant

    @property
    def registry(self) -> Registry:
        """The parameters that can be searched by right now; it changes between two awaits."""
        return self.definitions.known.registry


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from: the address of the caller, and the request's id."""

    address: str
    request_id: str

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Origin:
        """As the layers around the app have found out: `scope["state"]`."""
        return cls(state.get("peer") or "unknown", state.get("request_id") or "unknown")


@dataclass(frozen=True, slots=True)
class Source:
    """The text that a resource was sent as."""

    text: bytes
    is_xml: bool


@dataclass(slots=True)
class Call:
    """One interaction to run.

    `base` is the public FHIR base without a slash at its end, `now` the instant of the request in
    UTC. `resource` is the decoded body (for patch the patch document, with its media type in
    `patch_type`); `query` are the parameters of the URL and of a form body.
    `operation` is set when the interaction is `operation`; `resource` is what its body holds then, and
    `source` the body itself where the operation reads that.
    `principal` asks, for the `purpose` of use that is claimed, with the `glass` broken as `Asking` has it,
    under `restriction`, which `run` sets. `large` says that work on the resource is long enough to be done in
    a thread. `alone`: it is no entry of a Bundle, so its answer may come in pieces. Without `origin` the
    server itself acts.
    """

    services: Services
    interaction: str
    base: str
    now: datetime
    type: str | None = None
    id: str | None = None
    version: str | None = None
    compartment: tuple[str, str] | None = None
    query: Params = ()
    resource: Any = None
    large: bool = False
    patch_type: str | None = None
    prefer: Prefer = field(default_factory=Prefer)
    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: datetime | None = None
    if_none_exist: str | None = None
    principal: Principal = OPEN
    restriction: Restriction = EVERYTHING
    purpose: str | None = None
    glass: tuple[str, ...] | None = ()
    path: str = ""
    operation: Operation | None = None
    source: Source | None = None
    alone: bool = False
    origin: Origin | None = None

    @property
    def resource_type(self) -> str:
        """The type in the path; only for interactions that have one."""
        assert self.type is not None
        return self.type

    @property
    def resource_id(self) -> str:
        assert self.id is not None
        return self.id


@dataclass(slots=True)
class Answer:
    """Status, headers and the JSON text of the resource in the body, if any.

    `version` is set when the answer is about one version, so that a Bundle entry can repeat its
    location, ETag and instant. `is_empty`: no row was shown, for whatever reason. `gzip` is `body`
    compressed, where it is constant and was so beforehand. `more` are the pieces that follow `body`, which is
    only the beginning then. `recorded`: the audit trail has it already, with what was written. `about` are
    Patients whom it tells of without naming them. `warnings` are about what was written.
    """

    status: int
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    version: Version | None = None
    gzip: bytes | None = None
    is_empty: bool = False
    more: AsyncIterator[bytes] | None = None
    recorded: bool = False
    about: tuple[str, ...] = ()
    warnings: tuple[Issue, ...] = ()

    async def gathered(self) -> Answer:
        """The same in one piece."""
        if self.more is None:
            return self
        pieces = [self.body or b"", *[piece async for piece in self.more]]
        return replace(self, body=b"".join(pieces), more=None)
