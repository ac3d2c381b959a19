"""StructureDefinition resources that take effect: https://hl7.org/fhir/R4/structuredefinition.html"""

from __future__ import annotations

from collections.abc import Mapping

from fhirserver.db.pool import Connection
from fhirserver.errors import Issue, Unprocessable
from fhirserver.fhir.profile.definition import TYPE, Definition, read
from fhirserver.fhir.profile.library import Library
from fhirserver.fhir.profile.snapshot import Missing
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
    found: dict[str, tuple[Issue, ...]] = {}
    for id_, resource in written.items():
        try:
            own[id_] = read(resource)
        except Unprocessable as error:
            if resource.get("derivation") == "constraint":
                found[id_] = error.issues
            # one that is no profile, such as a logical model without a snapshot, is kept as it is
    library = Library([*services.definitions.known.library, *own.values()])
    found |= {id_: (fault,) for id_, one in own.items() if (fault := _fault(one, library)) is not None}
    if not found:
        await connection.execute(QUERIES["lock"], LOCK_CLASS, services.tenant)
        await rebuilds.advance(connection, services.tenant)
    return found


def _fault(definition: Definition, library: Library) -> Issue | None:
    try:
        fault = library.fault(definition)
    except Missing:
        return None
    if fault is None:
        return None
    where = f"{TYPE}.differential" if definition.differential else f"{TYPE}.snapshot"
    return Issue("error", "business-rule", f"nothing can be judged by it: {fault}", where)
