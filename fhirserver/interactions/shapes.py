"""StructureDefinition resources that take effect: https://hl7.org/fhir/R4/structuredefinition.html"""

from __future__ import annotations

from collections.abc import Mapping

from fhirserver.db.pool import Connection
from fhirserver.errors import Issue, Unprocessable
from fhirserver.fhir.profile.definition import TYPE, Definition, read
from fhirserver.fhir.profile.library import Library
from fhirserver.fhir.profile.snapshot import Missing, Unmade, with_snapshot
from fhirserver.fhir.structure import Resource
from fhirserver.interactions.call import Services
from fhirserver.store import rebuilds
from fhirserver.store.definitions import LOCK_CLASS, QUERIES


async def change(
    connection: Connection, services: Services, written: Mapping[str, Resource]
) -> dict[str, tuple[Issue, ...]]:
    """Let all processes judge by what was written or deleted in this transaction; the faults by id, if any.

    One that builds upon what is not held takes effect once that is; one that contradicts what it builds upon
    is at fault.
    """
    own: dict[str, Definition] = {}
    for id_, resource in written.items():
        try:
            own[id_] = read(resource)
        except Unprocessable:
            continue  # one that is no profile, such as a logical model without a snapshot, is kept as it is
    library = Library([*services.definitions.known.library, *own.values()])
    found = {id_: (fault,) for id_, one in own.items() if (fault := _fault(one, library)) is not None}
    if not found:
        await connection.execute(QUERIES["lock"], LOCK_CLASS, services.tenant)
        await rebuilds.advance(connection, services.tenant)
    return found


def _fault(definition: Definition, library: Library) -> Issue | None:
    try:
        with_snapshot(definition, library.find)
    except Missing:
        return None
    except Unmade as error:
        return Issue("error", "business-rule", f"no snapshot can be made: {error}", f"{TYPE}.differential")
    return None
