"""batch: every entry by itself, in the order of the request: https://hl7.org/fhir/R4/http.html#transaction"""

from __future__ import annotations

from typing import Any

from fhirserver.db.pool import Connection
from fhirserver.errors import FhirError, Invalid
from fhirserver.fhir.validate import validate
from fhirserver.interactions.answer import outcome
from fhirserver.interactions.bundle import Entry, bundle
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.entries import entries_of, entry_call, failed_entry, located, response_entry
from fhirserver.interactions.transaction import transaction


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
    """200 always; each entry has its own status."""
    answers = [
        await _entry(connection, call, index, entry)
        for index, entry in enumerate(entries_of(call, call.resource))
    ]
    return Answer(200, bundle("batch-response", answers))


async def _entry(connection: Connection, call: Call, index: int, entry: dict[str, Any]) -> Entry:
    # Imported here: the runner knows `process`, and a batch runs entries by the runner.
    from fhirserver.interactions.run import run

    try:
        with located(index, entry):
            made = entry_call(call, entry)
            if made.interaction == "bundle":
                raise Invalid("a batch cannot contain a Bundle to process", "Bundle.request.url")
            answer = await run(connection, made)
    except FhirError as error:
        return failed_entry(error, outcome(*error.issues))
    return response_entry(made, entry["request"]["method"], answer)
