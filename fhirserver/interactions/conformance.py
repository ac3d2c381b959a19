"""What a resource must conform to before it is stored, beyond its structure: the setting `validation`.

https://hl7.org/fhir/R4/validation.html, https://hl7.org/fhir/R4/profiling.html#resources
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import msgspec

from fhirserver.errors import Issue, Unprocessable
from fhirserver.fhir.profile.library import Library, Unusable
from fhirserver.fhir.profile.resources import claimed
from fhirserver.fhir.profile.terms import Terms
from fhirserver.fhir.profile.validate import examine
from fhirserver.fhir.structure import RESOURCE_TYPES, Resource

MODES: Final = frozenset({"structure", "claimed", "warn"})
_ALL: Final = "*"


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """What is demanded, by resource type (`*` for all others) and by URL of a profile that is claimed.

    `modes` are ``structure``, ``claimed`` or ``warn``; `required` are profiles of which a resource of the
    type must meet one.
    """

    modes: Mapping[str, str]
    required: Mapping[str, tuple[str, ...]]

    def mode_of(self, type_: str, profile: str | None = None) -> str:
        """The mode for a profile that a resource of the type claims, or for the type itself."""
        if profile is not None and (own := self.modes.get(profile.partition("|")[0])) is not None:
            return own
        if type_ in self.required:
            return "claimed"
        return self.modes.get(type_) or self.modes.get(_ALL, "structure")


@lru_cache(maxsize=64)
def policy_of(text: str) -> Policy | None:
    """The policy that a setting says; None where structure is all that is demanded.

    Raises ValueError for what is none: names that are neither types nor URLs, and unknown modes.
    """
    try:
        stated = msgspec.json.decode(text.encode(), type=dict[str, str | list[str]])
    except msgspec.DecodeError as error:
        raise ValueError(f"is a JSON object of types and profiles: {error}") from None
    modes: dict[str, str] = {}
    required: dict[str, tuple[str, ...]] = {}
    for name, what in stated.items():
        if name != _ALL and name not in RESOURCE_TYPES and ":" not in name:
            raise ValueError(f"{name!r} is neither a resource type nor the URL of a profile")
        if isinstance(what, str):
            if what not in MODES:
                raise ValueError(f"{what!r} is none of {', '.join(sorted(MODES))}, nor a list of profiles")
            modes[name] = what
        elif name not in RESOURCE_TYPES or not what:
            raise ValueError(f"only a resource type can require profiles, and one at least: {name!r}")
        else:
            required[name] = tuple(what)
    return Policy(modes, required) if required or {*modes.values()} - {"structure"} else None


def require(policy: Policy | None, resource: Resource, library: Library, terms: Terms) -> tuple[Issue, ...]:
    """The warnings about a resource that may be stored; its structure is sound.

    Raises Unprocessable for one that may not.
    """
    if policy is None:
        return ()
    kind: str = resource["resourceType"]
    found: list[Issue] = []
    for profile in claimed(resource):
        mode = policy.mode_of(kind, profile)
        if mode != "structure":
            found += _judged(resource, [profile], library, terms, lenient=mode == "warn")
    if kind in policy.required:
        found += _of_required(resource, policy.required[kind], library, terms)
    errors = [issue for issue in found if issue.severity == "error"]
    if errors:
        raise Unprocessable(issues=_once(found))
    return tuple(_once(found))


def _judged(
    resource: Resource, profiles: Sequence[str], library: Library, terms: Terms, *, lenient: bool = False
) -> list[Issue]:
    found = examine(resource, library, terms, profiles, claims=False, advice=False)
    return [replace(issue, severity="warning") for issue in found] if lenient else found


def _of_required(resource: Resource, profiles: Sequence[str], library: Library, terms: Terms) -> list[Issue]:
    """The issues by the profile that the resource meets, else by the one that it comes nearest to."""
    kind = resource["resourceType"]
    best: list[Issue] | None = None
    for profile in profiles:
        if (fault := unmeetable(profile, library)) is not None:
            found = [Issue("error", "not-found", f"a {kind} must meet '{profile}', {fault}", kind)]
        else:
            found = _judged(resource, [profile], library, terms)
        if not _errors(found):
            return found
        if best is None or _errors(found) < _errors(best):
            best = found
    names = " or ".join(f"'{profile}'" for profile in profiles)
    return [Issue("error", "business-rule", f"a {kind} must meet {names}", kind), *(best or ())]


def unmeetable(profile: str, library: Library) -> str | None:
    """Why nothing can be said to meet a profile."""
    try:
        found = library.plan(profile)
    except Unusable as error:
        return f"by which nothing can be judged: {error}"
    return "which this server does not hold" if found is None else None


def _errors(issues: Sequence[Issue]) -> int:
    return sum(issue.severity == "error" for issue in issues)


def _once(issues: Sequence[Issue]) -> list[Issue]:
    return list(dict.fromkeys(issues))
