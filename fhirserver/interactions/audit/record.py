"""Where the events of a call go: along with what it writes, or on disk before it is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from fhirserver.db.pool import Connection
from fhirserver.errors import FhirError
from fhirserver.fhir.structure import Resource
from fhirserver.interactions.audit import events
from fhirserver.interactions.audit.deeds import UNRECORDED
from fhirserver.interactions.audit.provenance import Change, Made, provenances_of
from fhirserver.interactions.audit.template import event_draft
from fhirserver.interactions.audit.withheld import by_consent
from fhirserver.interactions.call import Answer, Call, Services
from fhirserver.interactions.draft import own_draft
from fhirserver.interactions.entries import attempted_call, entry_call
from fhirserver.interactions.failures import translated
from fhirserver.interactions.permission import decided
from fhirserver.policy.audit import Happening
from fhirserver.store import along
from fhirserver.store.trail import Trail
from fhirserver.store.version import Draft, Version


def drafts(services: Services, told: Iterable[Happening | Resource]) -> list[Draft]:
    """What is told as the first versions of new ids, by the definitions in force."""
    return [
        event_draft(services, one) if isinstance(one, Happening) else own_draft(services, one) for one in told
    ]


def recorded(call: Call, made: Draft, before: Version | None = None) -> Draft:
    """The draft, along which is written what is recorded of it. `before` is the version that it follows."""
    services = call.services
    if before is not None and before.deleted:
        before = None
    told: list[Happening | Resource] = []
    if services.trail is not None:
        told += events.of_write(call, made, before)
    if services.settings.provenance:
        change: Change = "CREATE" if before is None else "UPDATE"
        told += provenances_of(call, [Made(made, change)])
    return replace(made, along=tuple(drafts(services, told))) if told else made


async def record_deletion(connection: Connection, call: Call, buried: Sequence[Version]) -> bool:
    """Record deletions in their transaction; whether the trail has them. Raises Again where the definitions
    have changed."""
    services, trail = call.services, call.services.trail
    if not buried:
        return False
    if services.settings.provenance:
        told = provenances_of(call, [Made(one, "DELETE") for one in buried])
        await along.put(connection, services.tenant, drafts(services, told))
    if trail is None:
        return False
    found = events.of_deletion(call, buried)
    await trail.put(connection, lambda: drafts(services, found))
    return True


async def record_broken_glass(connection: Connection, call: Call, patient: str | None, reason: str) -> None:
    """Record that the glass is broken, in the transaction that does it."""
    trail = call.services.trail
    if trail is not None:
        found = events.of_broken_glass(call, patient, reason)
        await trail.put(connection, lambda: drafts(call.services, found))


class Ledger:
    """What is recorded of the entries of a Bundle, in one statement before it is answered."""

    def __init__(self, call: Call) -> None:
        self._services = call.services
        self._events: list[Happening] = []

    @property
    def is_kept(self) -> bool:
        return self._services.trail is not None

    def answered(self, call: Call, answer: Answer) -> None:
        """An entry is answered; what it wrote may have recorded it."""
        if self.is_kept and not answer.recorded and call.interaction not in UNRECORDED:
            self._events += events.of_answer(call, answer)

    async def refused(self, connection: Connection, call: Call | None, error: Exception) -> None:
        """An entry is refused; without a call nobody knows what it wanted."""
        if self.is_kept and call is not None and call.interaction not in UNRECORDED:
            self._events += events.of_refusal(call, status_of(error))
            self._events += await by_consent(call, error, connection)

    def add(self, found: Iterable[Happening]) -> None:
        """Further events."""
        self._events += found

    async def close(self, connection: Connection) -> None:
        """Write it, in the transaction of the connection if there is one."""
        trail, found = self._services.trail, self._events
        if found and trail is not None:
            await trail.put(connection, lambda: drafts(self._services, found))


async def record_answer(call: Call, answer: Answer) -> None:
    """Record what is about to be shown, unless it is recorded with what was written. Raises Unavailable."""
    trail = call.services.trail
    if trail is None or answer.recorded or call.interaction in UNRECORDED:
        return
    found = events.of_answer(call, answer)
    await trail.record(found)
    if answer.more is not None:
        told = {one.subject.patient for one in found}
        answer.more = _recorded_pieces(call, trail, answer.more, told)


async def _recorded_pieces(
    call: Call, trail: Trail, pieces: AsyncIterator[bytes], told: set[str | None]
) -> AsyncIterator[bytes]:
    """The pieces, each once it is recorded whom it shows beside those whom the ones before have shown."""
    async for piece in pieces:
        found = events.of_piece(call, piece, told)
        if found:
            await trail.record(found)
            told.update(one.subject.patient for one in found)
        yield piece


async def record_refusal(call: Call, error: Exception) -> None:
    """Record that a request is refused. Raises Unavailable."""
    trail = call.services.trail
    if trail is None or call.interaction in UNRECORDED:
        return
    entry = refused_entry(call, error)
    found = [*events.of_refusal(call, status_of(error), entry), *await by_consent(entry or call, error)]
    await trail.record(found)


def refused_entry(call: Call, error: Exception) -> Call | None:
    """What the entry wanted for which a transaction is refused, if that is known."""
    if call.interaction != "bundle" or not isinstance(error, FhirError) or error.entry is None:
        return None
    entry = call.resource["entry"][error.entry]
    try:
        made = entry_call(call, entry)
    except FhirError:
        return attempted_call(call, entry)
    with suppress(FhirError):
        decided(made)
    return made


def status_of(error: Exception) -> int:
    """The status by which an error will be answered."""
    known = error if isinstance(error, FhirError) else translated(error)
    return 500 if known is None else known.status
