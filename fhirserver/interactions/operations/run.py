"""From an operation's call to its answer: the inputs checked, then the module of the operation.

https://hl7.org/fhir/R4/operations.html#3.2.0.1
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from fhirserver.db.pool import Connection
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.operations import (
    consent,
    definitions,
    disclosures,
    identity,
    records,
    terminology,
)
from fhirserver.interactions.operations.accounting import accounting
from fhirserver.interactions.operations.break_glass import break_glass
from fhirserver.interactions.operations.check_access import check_access, explain_access
from fhirserver.interactions.operations.consents_in_force import active_consents, expiring
from fhirserver.interactions.operations.definition import Operation
from fhirserver.interactions.operations.docref import docref
from fhirserver.interactions.operations.everything import everything
from fhirserver.interactions.operations.expand import expand
from fhirserver.interactions.operations.explain import explain
from fhirserver.interactions.operations.fhirpath import fhirpath
from fhirserver.interactions.operations.inputs import Inputs, inputs_of
from fhirserver.interactions.operations.install_package import install_package
from fhirserver.interactions.operations.lookup import lookup
from fhirserver.interactions.operations.match import match_patient
from fhirserver.interactions.operations.merge import merge_patients, replace_references, undo_merge
from fhirserver.interactions.operations.revoke import revoke
from fhirserver.interactions.operations.simulate import simulate
from fhirserver.interactions.operations.status import status
from fhirserver.interactions.operations.subsumes import subsumes
from fhirserver.interactions.operations.timeline import timeline
from fhirserver.interactions.operations.validate import validate
from fhirserver.interactions.operations.validate_code import (
    validate_code_in_system,
    validate_code_in_value_set,
)
from fhirserver.interactions.operations.versions import versions

Handler = Callable[[Connection, Call, Inputs], Awaitable[Answer]]

HANDLERS: Final[dict[Operation, Handler]] = {
    definitions.STATUS: status,
    definitions.DOCREF: docref,
    records.PATIENT_EVERYTHING: everything,
    records.ENCOUNTER_EVERYTHING: everything,
    records.TIMELINE: timeline,
    definitions.VERSIONS: versions,
    definitions.EXPLAIN: explain,
    definitions.VALIDATE: validate,
    identity.MATCH: match_patient,
    identity.MERGE: merge_patients,
    identity.UNDO_MERGE: undo_merge,
    identity.REPLACE_REFERENCES: replace_references,
    terminology.EXPAND: expand,
    terminology.VALIDATE_IN_VALUE_SET: validate_code_in_value_set,
    terminology.LOOKUP: lookup,
    terminology.VALIDATE_IN_SYSTEM: validate_code_in_system,
    terminology.SUBSUMES: subsumes,
    definitions.FHIRPATH: fhirpath,
    definitions.INSTALL_PACKAGE: install_package,
    disclosures.ACCOUNTING: accounting,
    consent.REVOKE: revoke,
    consent.BREAK_GLASS: break_glass,
    consent.CHECK: check_access,
    consent.EXPLAIN_ACCESS: explain_access,
    consent.SIMULATE: simulate,
    consent.ACTIVE: active_consents,
    consent.EXPIRING: expiring,
}


async def operate(connection: Connection, call: Call) -> Answer:
    """Do what the operation of the call does, with its inputs checked. Raises FhirError."""
    assert call.operation is not None
    return await HANDLERS[call.operation](connection, call, inputs_of(call, call.operation))
