"""$timeline, what happened to a patient: one stream of all types by clinical date, the newest first."""

from __future__ import annotations

from fhirserver.db.pool import Connection
from fhirserver.errors import Invalid
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.operations.inputs import Inputs
from fhirserver.interactions.operations.pages import Asked, count_of, day_of, page, require_order, types_of
from fhirserver.params.facts import CLINICAL_DATES
from fhirserver.search.record import Record, members_of

_PARAMETERS = ("start", "end", "_type", "category", "_sort", "_count")


async def timeline(connection: Connection, call: Call, inputs: Inputs) -> Answer:
    """200 with a searchset; 404 and 410 as for reading. Raises Invalid."""
    dated = members_of(call.resource_type) & CLINICAL_DATES.keys()
    types = types_of(inputs) if inputs.all("_type") else dated
    if never := sorted(types - dated):
        raise Invalid(f"_type: {never[0]} has no place in a timeline; these have: {', '.join(sorted(dated))}")
    order = inputs.one("_sort") or "-date"
    if order not in ("-date", "date"):
        raise Invalid(f"_sort of $timeline is -date or date, not {order[:40]!r}")
    record = Record(
        call.resource_type,
        call.resource_id,
        count_of(call, inputs, call.services.settings.count_default),
        types,
        start=day_of(call, inputs, "start"),
        end=day_of(call, inputs, "end"),
        dated=True,
        categories=inputs.all("category"),
        rising=order == "date",
    )
    require_order(record)
    return await page(connection, call, Asked(record, inputs, _PARAMETERS))
