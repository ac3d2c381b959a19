"""Events as drafts, quickly: those of one caller doing one kind of thing differ in a few places alone.

What they have in common is made once, as text and as index entries, and kept. What differs (the resource,
the patient, the request, the words of a search, the instant) is put in, and its entries are made by the
rules of the parameters that look there. Whether that is all that differs is found out before a template is
used: two events that differ in all of it must come out as they do when they are indexed as a whole.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from fhirserver.fhir import json
from fhirserver.fhir.dates import micros
from fhirserver.fhir.keys import Keys
from fhirserver.fhir.structure import Resource
from fhirserver.interactions.call import Services
from fhirserver.interactions.draft import new_id, own_draft
from fhirserver.params import reference, token
from fhirserver.params.entries import Entries
from fhirserver.policy.audit import Happening, Subject
from fhirserver.store.version import Draft

TEMPLATES_MAX: Final = 4_096
_TYPE: Final = "AuditEvent"
_REQUEST: Final = reference.identifier_code("entity")
_MARKS: Final = ("@@/data@@", "@@patient@@", "@@request@@", "@@query@@", "@@recorded@@")
_MARK: Final = re.compile("|".join(_MARKS))
_SAFE: Final = re.compile(r"[A-Za-z0-9._/+=:-]*")
_PATH: Final = re.compile(r"([A-Za-z]+)(/[^/]+(/_history/[0-9]+)?)?")


@dataclass(frozen=True, slots=True)
class _Varying:
    """What differs between events of one kind: each text, where there is one."""

    data: str | None
    patient: str | None
    request: str | None
    query: str | None
    at: datetime
    recorded: str

    @classmethod
    def of(cls, told: Happening) -> _Varying:
        subject, query = told.subject, told.subject.query
        return cls(
            subject.data[0] if subject.data else None,
            subject.patient,
            told.request,
            None if query is None else b64encode(query.encode()).decode(),
            told.at,
            told.recorded,
        )

    def texts(self) -> dict[str, str]:
        """By the marks that stand for them."""
        values = (self.data, self.patient, self.request, self.query, self.recorded)
        return {mark: value or "" for mark, value in zip(_MARKS, values, strict=True)}

    def entries(self, keys: Keys) -> Entries:
        """What they alone give to the index: as `params.reference` makes it of `entity` and `patient`."""
        found = Entries()
        for path in (self.data, self.patient):
            parts = path.split("/") if path else ()
            if len(parts) > 1:
                _refer(keys, "entity", parts, found)
                if parts[0] == "Patient":
                    found.compartments.append(_refer(keys, "patient", parts, found))
        if self.patient is not None:
            found.ptk = keys.target(*self.patient.split("/"))
        if self.request is not None:
            token.put_exact(keys, _TYPE, _REQUEST, [(None, self.request)], found)
        found.ord = found.d_lo = micros(self.at)
        found.d_hi = found.d_lo + 1
        return found


def _refer(keys: Keys, code: str, parts: Sequence[str], found: Entries) -> int:
    """Adds the keys of a reference, Type/id or with /_history/version; that of its target."""
    target = keys.target(parts[0], parts[1])
    key = reference.salt_of(keys, _TYPE, code) ^ target
    found.keys.append(key)
    found.tok.append(key)
    if len(parts) > 2:
        found.keys.append(reference.version_key(keys, _TYPE, code, parts[0], parts[1], parts[3]))
    return target


@dataclass(frozen=True, slots=True)
class Template:
    """The pieces of the text between marks, the marks, and the entries that all have."""

    pieces: tuple[str, ...]
    meta: str | None
    entries: Entries

    def text(self, varying: _Varying) -> str:
        texts = varying.texts()
        return "".join(texts.get(piece, piece) for piece in self.pieces)

    def indexed(self, varying: _Varying, keys: Keys) -> Entries:
        return _joined(self.entries, varying.entries(keys))


def event_draft(services: Services, told: Happening) -> Draft:
    """The event as the first version of a new id, by the definitions in force."""
    template = _template(services, told)
    varying = _Varying.of(told)
    if template is None or not all(_SAFE.fullmatch(text) for text in varying.texts().values()):
        return own_draft(services, told.resource())
    id_ = new_id()
    return Draft(
        type=_TYPE,
        id=id_,
        version=1,
        method="POST",
        idk=services.keys.target(_TYPE, id_),
        meta=template.meta,
        content=template.text(varying),
        written=None,
        entries=template.indexed(varying, services.keys),
        known=services.definitions.known.version,
    )


def _template(services: Services, told: Happening) -> Template | None:
    """The template of events like this one; None where there is none."""
    subject = told.subject
    if subject.others or len(subject.data) > 1 or services.trail is None:
        return None
    kept = services.trail.templates
    shape = _PATH.fullmatch(subject.data[0]) if subject.data else None
    if subject.data and shape is None:
        return None
    key = (
        *(services.definitions.known.version, told.site, told.asker),
        *(told.deed, told.outcome, shape and (shape[1], shape[2] is None, shape[3] is None)),
        *(subject.patient is None, subject.query is None, told.request is None),
    )
    if key not in kept:
        if len(kept) >= TEMPLATES_MAX:
            kept.clear()
        kept[key] = _made(services, told, shape)
    return kept[key]


def _made(services: Services, told: Happening, shape: re.Match[str] | None) -> Template | None:
    """A template that gives the same as indexing as a whole does, for two that differ in everything."""
    bare = [_without(services, _like(told, shape, mark)) for mark in ("one", "two")]
    if bare[0] is None or bare[0] != bare[1]:
        return None
    resource = _marked(told)
    meta = resource.pop("meta", None)
    del resource["resourceType"]
    text = json.dumps(resource).decode()
    pieces = [piece for piece in re.split(f"({_MARK.pattern})", text) if piece]
    return Template(tuple(pieces), None if meta is None else json.dumps(meta).decode(), bare[0].entries())


def _like(told: Happening, shape: re.Match[str] | None, mark: str) -> Happening:
    """An event of the same kind about something else."""
    data: tuple[str, ...] = ()
    if shape is not None:
        version = f"/_history/{len(mark)}{ord(mark[0])}" if shape[3] else ""
        data = (f"{shape[1]}/{mark}{version}" if shape[2] else shape[1],)
    subject = told.subject
    patient = None if subject.patient is None else f"Patient/whose-{mark}"
    query = None if subject.query is None else f"Patient?_id={mark}"
    request = None if told.request is None else f"request-{mark}"
    at = datetime(2026, 1, 1, 0, 0, 0, 1 if mark == "one" else 700_000, tzinfo=UTC)
    return replace(told, subject=Subject(patient, data, query), request=request, at=at)


def _marked(told: Happening) -> Resource:
    """The event with marks where others of its kind have something else."""
    subject = told.subject
    data = subject.data and ((_MARKS[0],) if "/" in subject.data[0] else subject.data)
    marked = Subject(subject.patient and _MARKS[1], data, subject.query)
    made = replace(told, subject=marked, request=told.request and _MARKS[2]).resource()
    for entity in made.get("entity", ()):
        if "query" in entity:
            entity["query"] = _MARKS[3]
    return {**made, "recorded": _MARKS[4]}


@dataclass(frozen=True, slots=True)
class _Common:
    """The entries of an event without those of what differs, to be compared."""

    word: int
    compartments: frozenset[int]
    keys: frozenset[int]
    tok: frozenset[int]
    rows: tuple[frozenset[Any], ...]

    def entries(self) -> Entries:
        strings, dates, quantities = (list(rows) for rows in self.rows)
        return Entries(
            word=self.word,
            compartments=list(self.compartments),
            keys=[self.word, *self.keys],
            tok=list(self.tok),
            str=strings,
            dat=dates,
            qty=quantities,
        )


def _without(services: Services, told: Happening) -> _Common | None:
    """The entries of the event without those of what differs; None where these are not among them."""
    resource = told.resource()
    whole = services.definitions.known.index(_TYPE, "an-event", {**resource, "id": "an-event"})
    own = _Varying.of(told).entries(services.keys)
    dated = (whole.ord, whole.d_lo, whole.d_hi) == (own.ord, own.d_lo, own.d_hi)
    known = all(term.known for term in whole.terms) and whole.words is None and whole.ptk == own.ptk
    among = set(own.keys) <= set(whole.keys) and set(own.tok) <= set(whole.tok)
    if not (dated and known and among and set(own.compartments) <= set(whole.compartments)):
        return None
    return _Common(
        whole.word,
        frozenset(whole.compartments) - frozenset(own.compartments),
        frozenset(whole.keys[1:]) - frozenset(own.keys),
        frozenset(whole.tok) - frozenset(own.tok),
        (frozenset(whole.str), frozenset(whole.dat), frozenset(whole.qty)),
    )


def _joined(common: Entries, own: Entries) -> Entries:
    """All entries, each once."""
    return Entries(
        ptk=own.ptk,
        ord=own.ord,
        d_lo=own.d_lo,
        d_hi=own.d_hi,
        word=common.word,
        compartments=list(dict.fromkeys([*common.compartments, *own.compartments])),
        keys=[common.word, *dict.fromkeys([*common.keys[1:], *own.keys])],
        tok=list(dict.fromkeys([*common.tok, *own.tok])),
        str=common.str,
        dat=common.dat,
        qty=common.qty,
    )
