"""Whether consents are enforced, and how: the setting `consent`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec

from fhirserver.errors import Forbidden, Invalid
from fhirserver.policy.consent.asking import DEFAULTS, Asking, default_of
from fhirserver.policy.consent.vocabulary import ACT_REASON, TREAT, is_purpose
from fhirserver.policy.principal import Principal

ANYBODY: Final = "*"
_OFF: Final = "off"


class _Stated(msgspec.Struct, forbid_unknown_fields=True):
    """What the setting says. `defaults` by purpose; `tenants`, by their numbers, may have their own."""

    defaults: dict[str, Literal["permit", "deny"]] = {}
    tenants: dict[str, dict[str, Literal["permit", "deny"]]] = {}
    purposes: dict[str, list[str]] = {}
    administrators: tuple[str, ...] = ("administrator", "registrar")
    unenforceable: Literal["warn", "refuse"] = "warn"


@dataclass(frozen=True, slots=True, eq=False)
class Enforcement:
    """`defaults`: purpose -> permitted where no consent decides. `purposes`: role, or `*`, -> those that may
    be claimed, of which the first is meant by who claims none. `administrators` are roles that see and write
    every Consent. `refuses` a Consent that cannot be enforced as it is written."""

    defaults: Mapping[str, bool]
    purposes: Mapping[str, tuple[str, ...]]
    administrators: frozenset[str]
    refuses: bool = False

    def asking(self, principal: Principal, purpose: str | None, system: str, zone: str = "UTC") -> Asking:
        """Who asks, for the purpose that is claimed. `system` is that of the Devices that are apps, `zone` is
        where days are.

        Raises Forbidden for a purpose that neither token nor role lets the caller claim, Invalid for none.
        """
        named = principal.purposes or self._purposes_of(principal)
        claimed = named[0] if purpose is None else code_of(purpose)
        self.require_claimable(principal, claimed)
        return Asking(
            actors=() if principal.user is None else (principal.user,),
            app=None if principal.client is None else (system, principal.client),
            own=principal.own if principal.user is not None and principal.user[0] == "Patient" else (),
            purpose=claimed,
            default=default_of(claimed, self.defaults),
            administers=principal.is_open
            or any(role.name in self.administrators for role in principal.roles),
            zone=zone,
        )

    def require_claimable(self, principal: Principal, purpose: str) -> None:
        """Raise Forbidden for a purpose that the caller's token does not serve, or that no role of theirs may
        claim."""
        if principal.purposes and purpose not in principal.purposes:
            named = ", ".join(principal.purposes)
            raise Forbidden(f"the access token is for another purpose of use: {named}")
        allowed = self._purposes_of(principal)
        if purpose not in allowed and not principal.is_open:
            raise Forbidden(
                f"the purpose of use {purpose} is not one that you may claim: {', '.join(allowed)}"
            )

    def _purposes_of(self, principal: Principal) -> tuple[str, ...]:
        named = [one for role in principal.roles for one in self.purposes.get(role.name, ())]
        return tuple(dict.fromkeys(named)) or self.purposes.get(ANYBODY) or (TREAT,)


def code_of(purpose: str) -> str:
    """The code of a purpose of use, written as such or as `system|code`. Raises Invalid."""
    system, bar, code = purpose.strip().rpartition("|")
    if not is_purpose(system if bar else ACT_REASON, code):
        raise Invalid(f"{purpose[:100]!r} is no purpose of use of {ACT_REASON}")
    return code


@lru_cache(maxsize=64)
def enforcement_of(text: str, tenant: int = 1) -> Enforcement | None:
    """What the setting says for the tenant of this number; None where consents are not enforced.

    Raises ValueError for what is no such setting.
    """
    if text.strip() == _OFF:
        return None
    try:
        stated = msgspec.json.decode(text.encode(), type=_Stated)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ValueError(f"is 'off' or a JSON object: {error}") from None
    named = [*stated.defaults, *(one for own in stated.tenants.values() for one in own)]
    named += [one for own in stated.purposes.values() for one in own]
    if unknown := [one for one in named if not is_purpose(ACT_REASON, one)]:
        raise ValueError(f"{unknown[0]!r} is no purpose of use of {ACT_REASON}")
    own: dict[str, Any] = {**stated.defaults, **stated.tenants.get(str(tenant), {})}
    return Enforcement(
        {**DEFAULTS, **{purpose: said == "permit" for purpose, said in own.items()}},
        {role: tuple(purposes) for role, purposes in stated.purposes.items()},
        frozenset(stated.administrators),
        stated.unenforceable == "refuse",
    )
