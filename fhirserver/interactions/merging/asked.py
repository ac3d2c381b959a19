"""Which resources an operation is about, and whether the caller may merge them.

https://build.fhir.org/patient-operation-merge.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.errors import Forbidden, Invalid, Unprocessable
from fhirserver.identity.merging import has
from fhirserver.identity.moving import Identity, local
from fhirserver.interactions.call import Call
from fhirserver.interactions.operations.inputs import Inputs
from fhirserver.interactions.own import own_identities
from fhirserver.interactions.permission import is_restricted, permitted_identities, require_granted
from fhirserver.interactions.searching import allowed, context_of, limits_of
from fhirserver.interactions.spellings import spelled
from fhirserver.params.text import escape
from fhirserver.policy.restriction import Compartment, Nothing, Permits
from fhirserver.search.compile import versions_statement
from fhirserver.search.parse import parse
from fhirserver.store import read
from fhirserver.store.version import COLUMNS, Version

_FOUND_MAX: Final = 20
_THEMSELVES: Final = frozenset({"Patient", "RelatedPerson"})


def require_merger(call: Call) -> None:
    """Raise Forbidden for those who act for a patient: whoever merges has to be one who keeps records."""
    restriction, type_ = call.restriction, call.resource_type
    user = call.principal.user
    if user is not None and user[0] in _THEMSELVES:
        raise Forbidden("patients, and who acts for them, do not merge records")
    if isinstance(restriction, Nothing):
        raise Forbidden("nothing that was granted allows to merge")
    if isinstance(restriction, Permits) and not any(
        not any(isinstance(place, Compartment) for place in permit.places)
        for permit in restriction.of(type_, "u")
    ):
        raise Forbidden("an app of one patient does not merge records")


async def sought(
    connection: Connection, call: Call, inputs: Inputs, side: str, *, merged: bool = False
) -> Version:
    """The Patient that is meant by `source-patient` or `target-patient`, or by their identifiers; of a merged
    one and the one that has its identifiers, too, the one that stays or, with `merged`, the other.

    Raises Invalid where that is not said, Unprocessable where there is none or there are several.
    """
    name = f"{side}-patient"
    identifiers: list[dict[str, Any]] = list(inputs.all(f"{name}-identifier"))
    reference: dict[str, Any] = inputs.one(name) or {}
    if "reference" in reference:
        found = await referred(connection, call, name, reference)
        systems = call.services.definitions.known.systems
        if not all(has(found.resource(), one, systems) for one in identifiers):
            raise Unprocessable(f"{found.path} has not all of the identifiers of '{name}-identifier'")
        return found
    identifiers += [reference["identifier"]] if "identifier" in reference else []
    if not identifiers:
        raise Invalid(f"'{name}' or '{name}-identifier' says which Patient is meant")
    found = await _identified(connection, call, name, identifiers)
    moves = call.services.definitions.known.moves
    meant = [one for one in found if (moves.of((one.type, one.id)) is not None) is merged] or found
    if len(meant) != 1:
        what = "several Patients have" if meant else "no Patient has"
        raise Unprocessable(f"{what} the identifiers of '{name}'")
    return meant[0]


async def referred(connection: Connection, call: Call, name: str, reference: dict[str, Any]) -> Version:
    """The resource of a Reference, of the type of the call, whatever version it names.

    Raises Invalid and Unprocessable; what is hidden is not there.
    """
    type_ = call.resource_type
    identity = local(reference.get("reference", ""), call.services.own_bases)
    if identity is None or identity[0] != type_:
        raise Invalid(f"'{name}' is a reference to a {type_} of this server, such as {type_}/1")
    found = await read.latest(connection, call.services.tenant, *identity, allowed(call, "r"))
    if found is None or found.deleted:
        await require_granted(connection, call)
        text = f"there is no {'/'.join(identity)}"
        raise Unprocessable(text) if found is None else Unprocessable(f"{text} any more: it was deleted")
    return found


async def _identified(
    connection: Connection, call: Call, name: str, identifiers: Sequence[dict[str, Any]]
) -> list[Version]:
    for one in identifiers:
        if "value" not in one:
            raise Invalid(f"an identifier of '{name}' has no value")
    services, systems = call.services, call.services.definitions.known.systems
    asked = [("identifier", _token(one)) for one in identifiers]
    query = spelled(parse(services.registry, limits_of(services), "Patient", asked), systems)
    text, args = versions_statement(query, context_of(call), COLUMNS, _FOUND_MAX).numbered()
    found = [Version.of(record) for record in await connection.fetch(text, *args)]
    return [one for one in found if all(has(one.resource(), each, systems) for each in identifiers)]


def _token(identifier: dict[str, Any]) -> str:
    value = escape(identifier["value"])
    return f"{escape(identifier['system'])}|{value}" if "system" in identifier else value


async def require_writable(
    connection: Connection, call: Call, identities: Iterable[Identity], what: str
) -> None:
    """Raise Forbidden unless the caller may change all of the resources as they are now."""
    wanted = set(identities)
    if not is_restricted(call) or not wanted:
        return
    if wanted - await permitted_identities(connection, call, wanted, "u"):
        await require_granted(connection, call)
        raise Forbidden(f"it takes the right to change {what}, and that is not all yours to change")
    own = await own_identities(connection, call, wanted)
    if own:
        raise own[min(own)]
