"""What validation asks a terminology service, and the answer that every server knows.

https://hl7.org/fhir/R4/terminologies.html#strength
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, Protocol

from fhirserver.fhir.structure import value_set

Membership = Literal["member", "not-member", "unknown"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a code is in a value set or, where none is asked about, in its code system.

    `unknown` when the server does not hold what it takes to tell, which `reason` says. `display` is the text
    that belongs to the code where another one was given.
    """

    membership: Membership
    display: str | None = None
    reason: str = ""


MEMBER: Final = Verdict("member")
NOT_MEMBER: Final = Verdict("not-member")


class Terms(Protocol):
    """A view of the definitions that a server holds; it answers at once and from memory."""

    def validate(
        self, value_set: str | None, system: str | None, code: str, display: str | None = None
    ) -> Verdict:
        """`value_set` is a canonical URL; None asks whether the code system has the code. `system` is None
        for elements of type code, whose system is that of their value set."""
        ...


class BuiltIn:
    """The value sets that R4's required bindings name, and nothing else."""

    def validate(
        self, value_set: str | None, system: str | None, code: str, display: str | None = None
    ) -> Verdict:
        if value_set is None:
            return Verdict("unknown", reason=f"this server does not hold the code system '{system}'")
        systems = _listed(value_set)
        if systems is None:
            return Verdict("unknown", reason=f"this server does not hold the value set '{value_set}'")
        if system is None:
            return MEMBER if any(code in codes for codes in systems.values()) else NOT_MEMBER
        return MEMBER if code in systems.get(system, ()) else NOT_MEMBER


def _listed(canonical: str) -> dict[str, frozenset[str]] | None:
    return value_set(canonical.partition("|")[0])
