"""What a provision demands of who asks and of the data: https://hl7.org/fhir/R4/consent-definitions.html"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Final

from fhirserver.fhir.dates import DATE_MAX, DATE_MIN, bounds
from fhirserver.fhir.reference import parse
from fhirserver.policy.consent.vocabulary import (
    ACT_REASON,
    ACTIONS,
    AUTHORS,
    CONFIDENTIALITY,
    CONSENT_ACTION,
    CUSTODIANS,
    LEVELS,
    MIME_TYPES,
    RESOURCE_TYPES,
    URIS,
    canonical,
    is_purpose,
    labels_under,
)

Coding = Mapping[str, Any]
_CRITERIA: Final = frozenset(
    {"actor", "action", "securityLabel", "purpose", "class", "code", "dataPeriod", "data"}
)


WHOLE: Final = ("rule",)
"""In `Rule.vague` of a node that an extension may change the meaning of."""


def has_criteria(provision: Mapping[str, Any]) -> bool:
    """Whether it is about some of the data, some askers or some actions only; its period says when."""
    return not _CRITERIA.isdisjoint(provision)


@dataclass(frozen=True, slots=True)
class Criteria:
    """Makes the criteria of rules. What is there and cannot be understood makes the rule vague."""

    target: Callable[[str, str], int]
    zone: tzinfo
    own_bases: tuple[str, ...]

    def of(self, provision: Mapping[str, Any], permit: bool | None) -> dict[str, Any]:
        """By the names of `Rule`."""
        found: dict[str, Any] = {"vague": WHOLE if "modifierExtension" in provision else ()}
        if "actor" in provision:
            self._actors(provision["actor"], found)
        if "action" in provision:
            _actions(provision["action"], found)
        if "securityLabel" in provision:
            _labels(provision["securityLabel"], permit is False, found)
        if "purpose" in provision:
            _purposes(provision["purpose"], found)
        if "class" in provision:
            classes = [one for one in provision["class"] if _is_named(one, found, "classes")]
            found["classes"] = tuple(_class(one) for one in classes)
        if "code" in provision:
            codings = [coding for one in provision["code"] for coding in _codings(one, found, "codes")]
            found["codes"] = _names(codings, found, "codes")
        if "dataPeriod" in provision:
            period = provision["dataPeriod"]
            found["data_lo"] = bounds(period["start"], self.zone)[0] if "start" in period else DATE_MIN
            found["data_hi"] = bounds(period["end"], self.zone)[1] if "end" in period else DATE_MAX
        if "data" in provision:
            found["data"] = tuple(self._data(provision["data"], found))
        return found

    def _actors(self, actors: Iterable[Mapping[str, Any]], found: dict[str, Any]) -> None:
        """Those who receive, who made and who keep the data are each a criterion of its own."""
        for actor in actors:
            codes = {one.get("code") for one in actor.get("role", {}).get("coding", ())}
            name = "authors" if codes & AUTHORS else "custodians" if codes & CUSTODIANS else "actors"
            identity = self._identity(actor.get("reference", {}), found, name)
            value: tuple[Any, ...] = ()
            if identity is not None:
                value = (self.target(*identity),) if name == "actors" else ("/".join(identity),)
            found[name] = (*found.get(name, ()), *value)

    def _identity(
        self, reference: Mapping[str, Any], found: dict[str, Any], name: str
    ) -> tuple[str, str] | None:
        """Type and id; None for what is elsewhere, and for what nobody can tell."""
        text = reference.get("reference")
        parsed = None if text is None else parse(text, self.own_bases)
        if parsed is None or parsed.is_contained or parsed.is_conditional:
            _doubt(found, name)
            return None
        if not parsed.is_local or parsed.type is None or parsed.id is None:
            return None
        return parsed.type, parsed.id

    def _data(self, data: Iterable[Mapping[str, Any]], found: dict[str, Any]) -> Iterable[str]:
        for one in data:
            identity = self._identity(one.get("reference", {}), found, "data")
            if "meaning" not in one:
                _doubt(found, "data")
            elif identity is not None:
                yield f"{one['meaning']} {'/'.join(identity)}"


def _actions(actions: Iterable[Mapping[str, Any]], found: dict[str, Any]) -> None:
    """One that has no coding that is known may be any."""
    named: list[str] = []
    for action in actions:
        codes = [one.get("code") for one in action.get("coding", ()) if one.get("system") == CONSENT_ACTION]
        known = [code for code in codes if code in ACTIONS]
        if not known:
            _doubt(found, "actions")
        named += known
    found["actions"] = tuple(named)


def _purposes(purposes: Sequence[Coding], found: dict[str, Any]) -> None:
    """One that is not known may be any."""
    named = [one for one in purposes if is_purpose(one.get("system", ""), one.get("code", ""))]
    if len(named) < len(purposes):
        _doubt(found, "purposes")
    found["purposes"] = tuple(f"{ACT_REASON}|{one['code']}" for one in named)


def _labels(labels: Iterable[Coding], denies: bool, found: dict[str, Any]) -> None:
    """The confidentiality is a mark, up to which is permitted and from which on is denied; other labels stand
    for themselves and what they subsume."""
    marks: list[int] = []
    others: list[str] = []
    for label in labels:
        if not _is_named(label, found, "labels"):
            continue
        system = canonical(label["system"])
        if system == CONFIDENTIALITY and label["code"] in LEVELS:
            marks.append(LEVELS.index(label["code"]) + 1)
        else:
            others.extend(labels_under(system, label["code"]))
    if marks:
        found["level"] = min(marks) if denies else max(marks)
    if others or not marks or "labels" in found["vague"]:
        found["labels"] = tuple(dict.fromkeys(others))


def _class(coding: Coding) -> str:
    system, code = coding["system"], coding["code"]
    if system == RESOURCE_TYPES:
        return f"type:{code}"
    if system == MIME_TYPES:
        return f"format:{code}"
    if system == URIS:
        return f"profile:{code}"
    return f"code:{system}|{code}"


def _names(codings: Iterable[Coding], found: dict[str, Any], name: str) -> tuple[str, ...]:
    return tuple(f"{one['system']}|{one['code']}" for one in codings if _is_named(one, found, name))


def _codings(concept: Mapping[str, Any], found: dict[str, Any], name: str) -> Sequence[Coding]:
    codings: Sequence[Coding] = concept.get("coding", ())
    if not codings:
        _doubt(found, name)
    return codings


def _is_named(coding: Coding, found: dict[str, Any], name: str) -> bool:
    """Whether it has a system and a code; without them nobody knows what it means."""
    if "system" in coding and "code" in coding:
        return True
    _doubt(found, name)
    return False


def _doubt(found: dict[str, Any], name: str) -> None:
    if name not in found["vague"]:
        found["vague"] = (*found["vague"], name)
