"""Provenance of writes, where the setting `provenance` says so: one for each write, or of what is written
together for each patient.

https://hl7.org/fhir/R4/provenance.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

from fhirserver.fhir.structure import Resource
from fhirserver.interactions.audit.deeds import asker_of, site_of
from fhirserver.interactions.audit.events import Stored, whose
from fhirserver.interactions.audit.whose import as_told
from fhirserver.interactions.call import Call
from fhirserver.policy.audit import Asker, Site, codes
from fhirserver.policy.audit.codes import Coding
from fhirserver.store.version import instant

_OPERATION: Final = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
_PART: Final = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"


Change = Literal["CREATE", "UPDATE", "DELETE"]
"""https://terminology.hl7.org/CodeSystem-v3-DataOperation.html"""


class Made(NamedTuple):
    """A version that is written, with what was done and the versions before it; of a deletion the version
    that it ended."""

    version: Stored
    change: Change
    before: Sequence[Stored] = ()


def provenances_of(call: Call, made: Sequence[Made]) -> list[Resource]:
    """The Provenances of what is written together: for each patient one with what may be named to them, and
    one with what none is told of. Together they would be in the compartments of all, and tell each of the
    others."""
    if len(made) == 1:
        return [_provenance(call, made)]
    told: dict[str | None, list[Made]] = {}
    for one in made:
        path = _target(one)
        patients = [patient for patient in whose(one.version, *one.before) if as_told(patient, path) == path]
        for patient in patients or [None]:
            told.setdefault(patient, []).append(one)
    return [_provenance(call, some) for some in told.values()]


def _provenance(call: Call, made: Sequence[Made]) -> Resource:
    asker, site = asker_of(call), site_of(call.services)
    changes = {one.change for one in made}
    activity = changes.pop() if len(changes) == 1 else "OPERATE"
    return {
        "resourceType": "Provenance",
        "target": [{"reference": _target(one)} for one in made],
        "recorded": instant(call.now),
        **({"reason": [_concept(Coding(codes.ACT_REASON, asker.purpose))]} if asker.purpose else {}),
        "activity": _concept(Coding(_OPERATION, activity)),
        "agent": _agents(asker, site),
    }


def _target(made: Made) -> str:
    one = made.version
    return f"{one.type}/{one.id}/_history/{one.version + (made.change == 'DELETE')}"


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
