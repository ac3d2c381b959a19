"""batch: every entry by itself: https://hl7.org/fhir/R4/http.html#brules"""

from __future__ import annotations

from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.errors import FhirError, Invalid
from fhirserver.fhir.links import holders, path_of
from fhirserver.fhir.validate import validate
from fhirserver.interactions.answer import outcome
from fhirserver.interactions.audit.record import Ledger
from fhirserver.interactions.bundle import Entry, bundle
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.entries import (
    attempted_call,
    entries_of,
    entry_call,
    failed_entry,
    located,
    response_entry,
)
from fhirserver.interactions.failures import Unexpected, translated
from fhirserver.interactions.transaction import transaction
from fhirserver.observe import log

_ORDER: Final = {"DELETE": 0, "POST": 1, "PUT": 2, "PATCH": 2, "GET": 3, "HEAD": 3}
"""Entries should not depend on each other; where they do, the order is that of a transaction."""

_logger: Any = log.get("batch")


async def process(connection: Connection, call: Call) -> Answer:
    """POST to the base: a batch or a transaction."""
    validate(call.resource, "Bundle", entries=False)
    match call.resource["type"]:
        case "batch":
            return await batch(connection, call)
        case "transaction":
            return await transaction(connection, call)
        case other:
            raise Invalid(
                f"a Bundle of type {other} cannot be processed; POST a batch or a transaction here,"
                " and store other Bundles at Bundle",
                "Bundle.type",
            )


async def batch(connection: Connection, call: Call) -> Answer:
    """200 always; each entry has its own status, in the order of the request."""
    entries = entries_of(call, call.resource)
    created = {entry["fullUrl"] for entry in entries if "fullUrl" in entry and _method(entry) == "POST"}
    answers: dict[int, Entry] = {}
    ledger = Ledger(call)
    for index in sorted(range(len(entries)), key=lambda index: _ORDER.get(_method(entries[index]), 0)):
        answers[index] = await _entry(connection, call, index, entries[index], created, ledger)
    await ledger.close(connection)
    body = bundle("batch-response", [answers[index] for index in range(len(entries))])
    return Answer(200, body, recorded=ledger.is_kept)


def _method(entry: dict[str, Any]) -> str:
    return entry.get("request", {}).get("method", "")


async def _entry(
    connection: Connection,
    call: Call,
    index: int,
    entry: dict[str, Any],
    created: set[str],
    ledger: Ledger,
) -> Entry:
    # Imported here: the runner knows `process`, and a batch runs entries by the runner.
    from fhirserver.interactions.run import run

    made = None
    try:
        with located(index, entry):
            made = entry_call(call, entry)
            if made.interaction == "bundle":
                raise Invalid("a batch cannot contain a Bundle to process", "request.url")
            _require_independent(made, created - {entry.get("fullUrl")})
            try:
                answer = await run(connection, made)
            except FhirError:
                raise
            except Exception as error:
                raise _known(error) from error
    except FhirError as error:
        await ledger.refused(connection, made or attempted_call(call, entry), error)
        return failed_entry(error, outcome(*error.issues))
    ledger.answered(made, answer)
    return response_entry(made, entry["request"]["method"], answer)


def _known(error: Exception) -> FhirError:
    """What broke one entry is not to take away the answers of the others."""
    known = translated(error)
    if known is None:
        _logger.error("unhandled", exc_info=error)
    return known or Unexpected("Something went wrong here; the log has it under this X-Request-ID")


def _require_independent(call: Call, created: set[str]) -> None:
    """Raise Invalid for a reference to what another entry creates: its id is known in a transaction only."""
    if not created or not isinstance(call.resource, dict):
        return
    for holder in holders(call.resource):
        if holder["reference"] in created:
            raise Invalid(
                f"{holder['reference'][:200]!r} is another entry; entries of a batch cannot refer to what is"
                " created in it, those of a transaction can",
                path_of(call.resource, holder),
            )
