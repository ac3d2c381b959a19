"""$everything, the record of a patient or an encounter.

https://hl7.org/fhir/R4/operation-patient-everything.html,
https://hl7.org/fhir/R4/operation-encounter-everything.html
"""

from __future__ import annotations

from fhirserver.db.pool import Connection
from fhirserver.errors import TooCostly
from fhirserver.fhir.dates import bounds, moment
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.operations.inputs import Inputs
from fhirserver.interactions.operations.pages import (
    Asked,
    count_of,
    day_of,
    page,
    require_order,
    types_of,
    whole,
)
from fhirserver.search.parse import CURSOR
from fhirserver.search.record import Record


async def everything(connection: Connection, call: Call, inputs: Inputs) -> Answer:
    """200 with a searchset; 404 and 410 as for reading. Raises TooCostly where nobody in particular is meant,
    Invalid."""
    since = inputs.one("_since")
    record = Record(
        call.resource_type,
        call.id or _own(call),
        count_of(call, inputs, call.services.settings.count_max),
        types_of(inputs),
        since=None if since is None else moment(bounds(since)[0]),
        start=day_of(call, inputs, "start"),
        end=day_of(call, inputs, "end"),
    )
    require_order(record)
    asked = Asked(record, inputs, ("start", "end", "_since", "_type", "_count"))
    is_page = inputs.one("_count") is not None or any(name == CURSOR for name, _ in call.query)
    return await (whole if call.alone and not is_page else page)(connection, call, asked)


def _own(call: Call) -> str:
    """The one patient whose record is meant by Patient/$everything.

    "In such cases, the server may choose to return an error rather than all the records."
    """
    who = call.principal
    found = {who.patient} if who.patient is not None else set(who.own)
    if len(found) != 1:
        raise TooCostly(
            "Patient/$everything is for who is one patient, or was launched for one; name whose record is"
            " meant: Patient/[id]/$everything"
        )
    return str(found.pop())
