"""Who asks, for what, as far as consents are about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fhirserver.policy.consent.vocabulary import BREAK_GLASS, TREAT, purposes_of

DOES: Final[Mapping[str, str]] = {
    "r": "access",
    "s": "access",
    "c": "collect",
    "u": "correct",
    "d": "correct",
}
"""Letter of an interaction -> the action that it is, of http://terminology.hl7.org/CodeSystem/consentaction."""

CHANGES: Final = frozenset({"correct"})
"""Actions on what is there, which take seeing it as well."""

MAY: Final[Mapping[str, tuple[str, ...]]] = {"access": ("disclose", "use")}
"""What an action may come to as well, which nobody knows who only reads: who forbids that forbids the action;
who allows only that allows nothing."""

DEFAULTS: Final[Mapping[str, bool]] = {TREAT: True, BREAK_GLASS: True}
"""Purpose -> whether it is permitted where no consent decides. Others are not."""


@dataclass(frozen=True, slots=True)
class Asking:
    """`actors` are type and id of who asks, `app` is the identifier of the Device that is the app. `own` are
    the ids of the Patients whose record is the user's own. `administers`: the user keeps consents, and sees
    all of them. `default`: what holds where no consent decides. `glass`: the ids of the patients about whom
    the glass is broken, None: about all; of meaning where the purpose is to break it. `zone` (IANA name) is
    where days are: it says when what somebody belongs to is over."""

    actors: tuple[tuple[str, str], ...] = ()
    app: tuple[str, str] | None = None
    own: tuple[str, ...] = ()
    purpose: str = TREAT
    default: bool = True
    administers: bool = False
    glass: tuple[str, ...] | None = ()
    zone: str = "UTC"

    @property
    def purposes(self) -> tuple[str, ...]:
        return purposes_of(self.purpose)

    @property
    def breaks_glass(self) -> bool:
        return self.purpose == BREAK_GLASS


def default_of(purpose: str, defaults: Mapping[str, bool]) -> bool:
    """What holds for a purpose: what is said of it, or of the closest that it is a kind of; else a denial."""
    for one in purposes_of(purpose):
        known = defaults.get(one.partition("|")[2])
        if known is not None:
            return known
    return False
