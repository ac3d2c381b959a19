"""The AuditEvents of a call: one for each patient whom it is about, one where it is about nobody.

https://profiles.ihe.net/ITI/BALP/ asks for one event a patient, so that nobody's event tells of another.
What such an event cannot tell, a resource or the words of a search, stands in one without a patient, which is
for auditors.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Final, Protocol

from fhirserver.interactions.audit.deeds import (
    asker_of,
    deed_of,
    outcome_of,
    path_of,
    patients_asked,
    site_of,
)
from fhirserver.interactions.audit.whose import BEGINNING, as_told, is_about, owners_in, owners_of
from fhirserver.interactions.audit.words import words, words_for
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.headers import Return
from fhirserver.policy.audit import SUCCESS, Deed, Happening, Outcome, Subject, codes
from fhirserver.policy.consent.vocabulary import BREAK_GLASS

DATA_MAX: Final = 1_000
"""Resources that one event names at most; more go into further ones."""
_PHRASES: Final = {int(status): status.phrase for status in HTTPStatus}
_CREATES: Final = codes.interaction("create")
_READS: Final = codes.interaction("read")
_PATCHES: Final = frozenset({"patch", "patch_conditional"})


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
    deed = _written(call, created=before is None)
    patients = whose(made, *([before] if before is not None else ()))
    return _about(call, deed, SUCCESS, patients, [_versioned(made, made.version)])


def of_deletion(call: Call, buried: Sequence[Stored]) -> list[Happening]:
    """The events of versions that are deleted."""
    found = [
        _about(call, deed_of(call), SUCCESS, whose(one), [_versioned(one, one.version + 1)]) for one in buried
    ]
    return [one for events in found for one in events]


def of_answer(call: Call, answer: Answer) -> list[Happening]:
    """The events of a request that changed nothing and is about to be answered."""
    deed, known = deed_of(call), [*answer.about, *patients_asked(call)]
    if answer.version is not None:
        shown = whose(answer.version)
    elif not answer.body or is_about(answer.body, known):
        shown = []  # as of most searches: reading the answer took longer than all else that is recorded
    else:
        shown = owners_in(answer.body, begins=answer.more is not None)
    patients = list(dict.fromkeys([*known, *shown]))
    if deed.action == "E":
        return _searched(call, deed, SUCCESS, patients)
    if answer.version is not None and call.interaction in ("create", *_PATCHES) and _shows(call):
        deed = _also(deed, _READS)
    path = path_of(call, answer)
    return _about(call, deed, SUCCESS, patients, [] if path is None else [path])


def of_piece(call: Call, piece: bytes, told: Collection[str | None]) -> list[Happening]:
    """The events of further entries of an answer, of those of whom none has told so far."""
    patients = [one for one in owners_in(BEGINNING + piece.lstrip(b","), begins=True) if one not in told]
    return [one for one in _searched(call, deed_of(call), SUCCESS, patients) if one.subject.patient]


def of_refusal(call: Call, status: int, entry: Call | None = None) -> list[Happening]:
    """The events of a request that is answered with an error. `entry` is that of a Bundle for which it is."""
    deed, outcome = deed_of(call), outcome_of(status, _PHRASES.get(status, ""))
    of = call if entry is None else entry
    if deed.action == "E" and entry is None:
        return _searched(call, deed, outcome, patients_asked(call))
    path = path_of(of)
    return _about(call, deed, outcome, patients_asked(of), [] if path is None else [path])


def withheld(call: Call, found: Stored, consents: Mapping[str | None, Sequence[str]]) -> list[Happening]:
    """The events of a refusal for which consents are the reason: those that deny, by whose they are; those of
    nobody are policies. `found` is what they are about, which another resource may follow.

    Each patient's event names the patient's own, one without a patient the policies. Where nothing but the
    absence of a permission denies, it is told to all whose record it is. Who asks is told nothing: for them
    there is nothing.
    """
    deed, outcome = Deed("E", (codes.BY_CONSENT,), codes.ALERT), Outcome("4", "denied by consent")
    asks, path = call.principal.user, f"{call.type}/{call.id}"
    denying = [one for one in consents if one is not None] or ([] if consents else whose(found))
    patients = [one for one in denying if asks is None or one != "/".join(asks)]
    subjects = [Subject(one, (as_told(one, path),), None, _named(consents.get(one, ()))) for one in patients]
    if None in consents or not any(one.data == (path,) for one in subjects):
        subjects.append(Subject(None, (path,), None, _named(consents.get(None, ()))))
    tell = _teller(call)
    return [tell(deed, outcome, one) for one in subjects]


def _named(consents: Iterable[str]) -> tuple[dict[str, object], ...]:
    return tuple({"what": {"reference": path}, "type": codes.CONSENT.element()} for path in consents)


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
    kinds: dict[tuple[Deed, str | None], dict[str, None]] = {}
    for made, stored, before, number in done:
        deed = _also(
            _written(made, created=all(one.content is None for one in before)), *deed_of(call).subtypes
        )
        path = _versioned(stored, number)
        for subject in _subjects(whose(stored, *before), [path]):
            kinds.setdefault((deed, subject.patient), {}).update(dict.fromkeys(subject.data))
    tell = _teller(call)
    return [
        tell(deed, SUCCESS, Subject(patient, tuple(list(paths)[start : start + DATA_MAX])))
        for (deed, patient), paths in kinds.items()
        for start in range(0, len(paths), DATA_MAX)
    ]


# -- parts


def _written(call: Call, *, created: bool) -> Deed:
    """The kind of a write: an update may create, and a patch shows what somebody else wrote."""
    deed = deed_of(call)
    if created and deed.action == "U":
        deed = replace(deed, action="C", subtypes=(_CREATES, *deed.subtypes))
    return _also(deed, _READS) if call.interaction in _PATCHES and _shows(call) else deed


def _shows(call: Call) -> bool:
    """Whether the answer to a write has the resource, which a caller need not have sent."""
    return call.prefer.returns not in (Return.MINIMAL, Return.OPERATION_OUTCOME)


def _also(deed: Deed, *subtypes: codes.Coding) -> Deed:
    return replace(deed, subtypes=tuple(dict.fromkeys((*deed.subtypes, *subtypes))))


def _versioned(stored: Stored, number: int) -> str:
    return f"{stored.type}/{stored.id}/_history/{number}"


def whose(*versions: Stored) -> list[str]:
    """Whose record the versions are, each patient once."""
    found = [one for stored in versions for one in owners_of(stored.type, stored.id, stored.content)]
    return list(dict.fromkeys(found))


def _subjects(patients: Sequence[str], paths: Sequence[str]) -> list[Subject]:
    """What is told to each patient of resources, and to nobody in particular what none is told in full."""
    told = [Subject(one, tuple(dict.fromkeys(as_told(one, path) for path in paths))) for one in patients]
    if any(one.data == tuple(paths) for one in told):
        return told
    return [Subject(None, tuple(paths)), *told]


def _about(
    call: Call, deed: Deed, outcome: Outcome, patients: Sequence[str], paths: Sequence[str]
) -> list[Happening]:
    tell = _teller(call)
    return [tell(deed, outcome, one) for one in _subjects(patients, paths)]


def _searched(call: Call, deed: Deed, outcome: Outcome, patients: Sequence[str]) -> list[Happening]:
    """The same of the words of a request."""
    tell, whole = _teller(call), words(call)
    told = [Subject(one, (), words_for(call, one)) for one in patients]
    if not any(one.query == whole for one in told):
        told.insert(0, Subject(None, (), whole or None))
    return [tell(deed, outcome, one) for one in told]


def _teller(call: Call) -> Callable[[Deed, Outcome, Subject], Happening]:
    """Makes events of what is about the call as a whole."""
    site, asker, at = site_of(call.services), asker_of(call), call.now
    request = None if call.origin is None else call.origin.request_id

    def tell(deed: Deed, outcome: Outcome, subject: Subject) -> Happening:
        return Happening(site, asker, deed, outcome, subject, at, request)

    return tell
