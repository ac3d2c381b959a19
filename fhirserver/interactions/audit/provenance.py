"""Provenance of writes, where the setting `provenance` says so: one for each write or transaction.

https://hl7.org/fhir/R4/provenance.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

from fhirserver.fhir.structure import Resource
from fhirserver.interactions.audit.deeds import asker_of, site_of
from fhirserver.interactions.audit.events import Stored
from fhirserver.interactions.call import Call
from fhirserver.policy.audit import Asker, Site, codes
from fhirserver.policy.audit.codes import Coding
from fhirserver.store.version import instant

_OPERATION: Final = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
_PART: Final = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"


Change = Literal["CREATE", "UPDATE", "DELETE"]
"""https://terminology.hl7.org/CodeSystem-v3-DataOperation.html"""


def provenance_of(call: Call, made: Sequence[tuple[Stored, Change]]) -> Resource:
    """The Provenance of versions that are written together, each with what was done; of a deletion the
    version that it ended."""
    asker, site = asker_of(call), site_of(call.services)
    changes = {change for _, change in made}
    activity = changes.pop() if len(changes) == 1 else "OPERATE"
    return {
        "resourceType": "Provenance",
        "target": [{"reference": _target(one, change)} for one, change in made],
        "recorded": instant(call.now),
        **({"reason": [_concept(Coding(codes.ACT_REASON, asker.purpose))]} if asker.purpose else {}),
        "activity": _concept(Coding(_OPERATION, activity)),
        "agent": _agents(asker, site),
    }


def _target(one: Stored, change: Change) -> str:
    return f"{one.type}/{one.id}/_history/{one.version + (change == 'DELETE')}"


def _agents(asker: Asker, site: Site) -> list[dict[str, Any]]:
    """The author, and the app through which the author writes; an app by itself is the author."""
    principal = asker.principal
    app: dict[str, Any] = {"display": "not signed in"}
    if asker.address is None:
        app = site.reference
    elif principal.client is not None:
        app = {"identifier": {"system": site.apps, "value": principal.client}}
    if principal.user is None:
        return [_agent("author", app)]
    return [_agent("author", {"reference": "/".join(principal.user)}), _agent("transmitter", app)]


def _agent(part: str, who: dict[str, Any]) -> dict[str, Any]:
    return {"type": _concept(Coding(_PART, part)), "who": who}


def _concept(coding: Coding) -> dict[str, Any]:
    return {"coding": [coding.element()]}
