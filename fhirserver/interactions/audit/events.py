"""The AuditEvents of a call: one for each patient whom it is about, one where it is about nobody.

https://profiles.ihe.net/ITI/BALP/ asks for one event a patient, so that nobody's event tells of another.
Where a search may name others than whom it finds, an event of its own has its words; those of the patients
have none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Final, Protocol

from fhirserver.interactions.audit.deeds import (
    asker_of,
    deed_of,
    is_plain,
    outcome_of,
    path_of,
    patients_asked,
    patients_in,
    patients_of,
    query_of,
    site_of,
)
from fhirserver.interactions.call import Answer, Call
from fhirserver.policy.audit import SUCCESS, Deed, Happening, Outcome, Subject, codes
from fhirserver.policy.consent.vocabulary import BREAK_GLASS

DATA_MAX: Final = 1_000
"""Resources that one event names at most; more go into further ones."""
_PHRASES: Final = {int(status): status.phrase for status in HTTPStatus}
_CREATES: Final = codes.interaction("create")


class Stored(Protocol):
    """A version that is there, or is about to be."""

    @property
    def type(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def content(self) -> str | None: ...


def of_write(call: Call, made: Stored, before: Stored | None = None) -> list[Happening]:
    """The events of a version that is written: of those whose record it belongs to now, or did before."""
    deed = deed_of(call)
    if before is None and deed.action == "U":
        deed = replace(deed, action="C", subtypes=(_CREATES, *deed.subtypes))
    patients = _whose(made, *([before] if before is not None else ()))
    return _events(call, deed, SUCCESS, patients, _versioned(made, made.version))


def of_deletion(call: Call, buried: Sequence[Stored]) -> list[Happening]:
    """The events of versions that are deleted."""
    found = [
        _events(call, deed_of(call), SUCCESS, _whose(one), _versioned(one, one.version + 1)) for one in buried
    ]
    return [one for events in found for one in events]


def of_answer(call: Call, answer: Answer) -> list[Happening]:
    """The events of a request that changed nothing and is about to be answered."""
    deed = deed_of(call)
    shown = patients_in(answer.body)
    if not shown and answer.version is not None:
        shown = patients_of(answer.version.type, answer.version.id, answer.version.content)
    patients = list(dict.fromkeys([*shown, *patients_asked(call)]))
    if deed.action != "E":
        return _events(call, deed, SUCCESS, patients, path_of(call, answer))
    return _searched(call, deed, SUCCESS, patients)


def of_refusal(call: Call, status: int) -> list[Happening]:
    """The events of a request that is answered with an error."""
    deed, outcome = deed_of(call), outcome_of(status, _PHRASES.get(status, ""))
    if deed.action != "E":
        return _events(call, deed, outcome, patients_asked(call), path_of(call))
    return _searched(call, deed, outcome, patients_asked(call))


def withheld(call: Call, found: Stored, consents: Iterable[str]) -> list[Happening]:
    """The events of a refusal for which consents are the reason."""
    deed = Deed("E", (codes.BY_CONSENT,), codes.ALERT)
    outcome = Outcome("4", "denied by consent")
    others = tuple(
        {"what": {"reference": path}, "type": codes.CONSENT.element()} for path in dict.fromkeys(consents)
    )
    tell = _teller(call)
    subjects = [Subject(one, (f"{found.type}/{found.id}",), None, others) for one in _whose(found)]
    return [tell(deed, outcome, one) for one in subjects]


def of_broken_glass(call: Call, patient: str | None, reason: str) -> list[Happening]:
    """The event of a glass that is broken, about one patient or everybody."""
    asker = replace(asker_of(call), purpose=BREAK_GLASS, reason=reason)
    deed = deed_of(call)
    deed = Deed(deed.action, tuple(dict.fromkeys((*deed.subtypes, codes.EMERGENCY))), codes.ALERT)
    told = _teller(call)(deed, SUCCESS, Subject(None if patient is None else f"Patient/{patient}"))
    return [replace(told, asker=asker)]


# -- of a transaction


def of_transaction(call: Call, done: Sequence[tuple[Call, Stored, Sequence[Stored], int]]) -> list[Happening]:
    """The events of what a transaction wrote: one for each kind of interaction and patient, which names all
    the resources. `done`: the entry, a version, those before it, the number of the version that it made."""
    kinds: dict[tuple[Deed, str | None], list[str]] = {}
    for made, stored, before, number in done:
        deed = deed_of(made)
        if number == 1 and deed.action == "U":
            deed = replace(deed, action="C", subtypes=(_CREATES, *deed.subtypes))
        deed = replace(deed, subtypes=(*deed.subtypes, *deed_of(call).subtypes))
        path = _versioned(stored, number)
        for patient in _whose(stored, *before) or [None]:
            kinds.setdefault((deed, patient), []).append(path)
    tell = _teller(call)
    return [
        tell(deed, SUCCESS, Subject(patient, tuple(paths[start : start + DATA_MAX])))
        for (deed, patient), paths in kinds.items()
        for start in range(0, len(paths), DATA_MAX)
    ]


def _versioned(stored: Stored, number: int) -> str:
    return f"{stored.type}/{stored.id}/_history/{number}"


def _whose(*versions: Stored) -> list[str]:
    found = [one for stored in versions for one in patients_of(stored.type, stored.id, stored.content)]
    return list(dict.fromkeys(found))


def _events(
    call: Call, deed: Deed, outcome: Outcome, patients: Sequence[str], path: str | None
) -> list[Happening]:
    data = () if path is None else (path,)
    tell = _teller(call)
    return [tell(deed, outcome, Subject(one, data)) for one in patients or [None]]


def _searched(call: Call, deed: Deed, outcome: Outcome, patients: Sequence[str]) -> list[Happening]:
    tell = _teller(call)
    if not patients or (len(patients) == 1 and is_plain(call)):
        patient = patients[0] if patients else None
        return [tell(deed, outcome, Subject(patient, (), query_of(call)))]
    veiled = query_of(call, values=False)
    subjects = [Subject(None, (), query_of(call)), *(Subject(one, (), veiled) for one in patients)]
    return [tell(deed, outcome, one) for one in subjects]


def _teller(call: Call) -> Callable[[Deed, Outcome, Subject], Happening]:
    """Makes events of what is about the call as a whole."""
    site, asker, at = site_of(call.services), asker_of(call), call.now
    request = None if call.origin is None else call.origin.request_id

    def tell(deed: Deed, outcome: Outcome, subject: Subject) -> Happening:
        return Happening(site, asker, deed, outcome, subject, at, request)

    return tell
