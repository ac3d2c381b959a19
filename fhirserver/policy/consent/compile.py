"""From a Consent to its rules: https://hl7.org/fhir/R4/consent.html

The base is node 0, a root provision with criteria node 1; exceptions lie below the node that they are in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Any, Final

from fhirserver.fhir.dates import DATE_MAX, DATE_MIN, bounds
from fhirserver.fhir.reference import Reference, parse
from fhirserver.policy.consent.criteria import WHOLE, Criteria, has_criteria
from fhirserver.policy.consent.rule import Rule
from fhirserver.policy.consent.vocabulary import (
    ACT_CODE,
    ACT_REASON,
    BASES,
    CONSENT_ACTION,
    CONSENT_SCOPE,
    OWN_SCOPE,
    POLICY,
    PRIVACY,
)

Target = Callable[[str, str], int]
"""Type and id -> the key of the resource."""
_NODES_MAX: Final = 1_000
_UNKNOWN: Final = {
    name: f"names what is no {what}: a denial is enforced whatever it is, a permission never"
    for name, what in (
        ("actions", f"action of {CONSENT_ACTION}"),
        ("purposes", f"purpose of use of {ACT_REASON}"),
    )
}
"""By criterion, what is said of one that the whole decision depends on and nobody understands."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not enforced, or not as it was perhaps meant: where, and why."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Compiled:
    """The rules of a consent, none where it is not in force, what cannot be enforced, and where in the
    consent each rule stands."""

    rules: tuple[Rule, ...] = ()
    faults: tuple[Fault, ...] = ()
    places: tuple[str, ...] = ()


def compile_consent(
    consent: Mapping[str, Any], target: Target, zone: tzinfo, own_bases: tuple[str, ...] = ()
) -> Compiled:
    """The rules of a valid Consent. `zone` is where dates without an offset are."""
    if consent.get("status") != "active":
        return Compiled()
    patient, fault = _whose(consent, target, own_bases)
    if fault is not None or (patient is None and not _is_scope(consent, OWN_SCOPE, POLICY)):
        return Compiled((), () if fault is None else (fault,))
    root: Mapping[str, Any] = consent.get("provision", {})
    base, fault = _base(consent, root)
    if fault is not None:
        return Compiled((), (fault,))
    starts, ends = span_of(root.get("period"), zone)
    if "dateTime" in consent:
        starts = max(starts, bounds(consent["dateTime"], zone)[0])
    vague = WHOLE if "modifierExtension" in consent or "modifierExtension" in root else ()
    tree = _Tree(Criteria(target, zone, own_bases), patient)
    tree.rules.append(Rule(0, (0,), patient, base, starts, ends, vague))
    tree.add_root(root, base)
    if len(tree.rules) > _NODES_MAX:
        return Compiled((), (Fault("Consent.provision", f"has more than {_NODES_MAX} provisions"),))
    return Compiled(tuple(tree.rules), tuple(tree.faults), tuple(tree.places))


def _whose(
    consent: Mapping[str, Any], target: Target, own_bases: tuple[str, ...]
) -> tuple[int | None, Fault | None]:
    """The key of the patient of a privacy consent; a fault where it is somebody's whom the server does not
    know."""
    if not _is_scope(consent, CONSENT_SCOPE, PRIVACY):
        if "patient" in consent and _is_scope(consent, OWN_SCOPE, POLICY):
            return None, Fault(
                "Consent.patient", "a policy of the organisation is no patient's; not enforced"
            )
        return None, None
    found = _parsed(consent.get("patient", {}), own_bases)
    if found is None or not found.is_local or found.type != "Patient" or found.id is None:
        return None, Fault("Consent.patient", "is no Patient of this server: the consent is not enforced")
    return target("Patient", found.id), None


def _parsed(reference: Mapping[str, Any], own_bases: tuple[str, ...]) -> Reference | None:
    text = reference.get("reference")
    return None if text is None else parse(text, own_bases)


def _is_scope(consent: Mapping[str, Any], system: str, code: str) -> bool:
    codings: Sequence[Mapping[str, Any]] = consent.get("scope", {}).get("coding", ())
    return any(one.get("system") == system and one.get("code") == code for one in codings)


def _base(consent: Mapping[str, Any], root: Mapping[str, Any]) -> tuple[bool | None, Fault | None]:
    """What holds where no provision does; None where only the root's matches are spoken of."""
    codings: Sequence[Mapping[str, Any]] = consent.get("policyRule", {}).get("coding", ())
    said = [
        BASES[one["code"]] for one in codings if one.get("system") == ACT_CODE and one.get("code") in BASES
    ]
    typed = "type" in root
    if not said and not typed:
        text = f"neither policyRule ({', '.join(BASES)}) nor the type of the root provision says what holds"
        return None, Fault("Consent.policyRule", f"{text}: the consent is not enforced")
    if typed and not has_criteria(root):
        said.append(root["type"] == "permit")
    return (all(said) if said else None), None


def span_of(period: Mapping[str, Any] | None, zone: tzinfo) -> tuple[int, int]:
    """A Period as [lo, hi) in microseconds, to the end of what its last date is."""
    if period is None:
        return DATE_MIN, DATE_MAX
    lo = bounds(period["start"], zone)[0] if "start" in period else DATE_MIN
    hi = bounds(period["end"], zone)[1] if "end" in period else DATE_MAX
    return lo, hi


class _Tree:
    """Collects the nodes in the order of the document."""

    def __init__(self, criteria: Criteria, patient: int | None) -> None:
        self.criteria = criteria
        self.patient = patient
        self.rules: list[Rule] = []
        self.faults: list[Fault] = []
        self.places: list[str] = ["Consent.policyRule"]

    def add_root(self, root: Mapping[str, Any], base: bool | None) -> None:
        parent = (0,)
        if has_criteria(root):
            # What is not said to be permitted or denied is an exception to a base that permits, nothing else.
            permit = root["type"] == "permit" if "type" in root else (False if base else None)
            # Its period is that of the whole consent, which the base has.
            bare = {name: value for name, value in root.items() if name != "period"}
            parent = self._add(bare, parent, permit, "Consent.provision")
        self._add_below(root, parent, "Consent.provision")

    def _add_below(self, provision: Mapping[str, Any], path: tuple[int, ...], at: str) -> None:
        for number, nested in enumerate(provision.get("provision", ())):
            place = f"{at}.provision[{number}]"
            if "type" not in nested:
                self.faults.append(Fault(place, "says neither permit nor deny: it is not enforced"))
                continue
            own = self._add(nested, path, nested["type"] == "permit", place)
            self._add_below(nested, own, place)

    def _add(
        self, provision: Mapping[str, Any], path: tuple[int, ...], permit: bool | None, place: str
    ) -> tuple[int, ...]:
        node = len(self.rules)
        self.places.append(place)
        own = (*path, node)
        starts, ends = span_of(provision.get("period"), self.criteria.zone)
        bare = Rule(node, own, self.patient, permit, starts, ends)
        rule = replace(bare, **self.criteria.of(provision, permit))
        self.rules.append(rule)
        for name, text in _UNKNOWN.items():
            if name in rule.vague:
                self.faults.append(Fault(f"{place}.{name[:-1]}", text))
        return own
