"""$break-glass: from then on, for a while, requests for the purpose BTG see what consents deny."""

from __future__ import annotations

from typing import Final
from unicodedata import category

from fhirserver.db.pool import Connection
from fhirserver.errors import Forbidden, Invalid
from fhirserver.fhir import json
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.glass import REASON_LENGTH_MIN, broken
from fhirserver.interactions.operations.check_access import enforced, identity_of
from fhirserver.interactions.operations.inputs import Inputs, parameters
from fhirserver.policy.consent.vocabulary import BREAK_GLASS
from fhirserver.policy.restriction import reads_patients
from fhirserver.store.version import instant

_UNSEEN: Final = "CZ"
"""Classes of characters that nobody reads: https://www.unicode.org/reports/tr44/#General_Category_Values"""


async def break_glass(connection: Connection, call: Call, inputs: Inputs) -> Answer:
    """200 with Parameters. Raises Forbidden for who may not, Invalid without a reason or for no Patient."""
    enforced(call).require_claimable(call.principal, BREAK_GLASS)
    if not reads_patients(call.restriction):
        raise Forbidden("nothing that was granted allows to read what consents hide")
    reason = str(inputs.one("reason") or "").strip()
    if sum(category(one)[0] not in _UNSEEN for one in reason) < REASON_LENGTH_MIN:
        raise Invalid(f"to break the glass takes a reason of {REASON_LENGTH_MIN} characters or more")
    said = inputs.one("patient")
    patient = None if said is None else identity_of(call, said)
    if said is not None and (patient is None or patient[0] != "Patient"):
        raise Invalid("'patient' is a Patient of this server: Patient/[id]")
    async with connection.transaction():
        until = await broken(connection, call, patient and patient[1], reason, BREAK_GLASS)
    parts = parameters([("until", "instant", instant(until))])
    return Answer(200, json.dumps(parts), {"Cache-Control": "no-store"})
