"""Whether consents are enforced, and how: the setting `consent`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec

from fhirserver.errors import Forbidden, Invalid
from fhirserver.policy.consent.asking import DEFAULTS, Asking, default_of
from fhirserver.policy.consent.vocabulary import ACT_REASON, BREAK_GLASS, PURPOSES, TREAT
from fhirserver.policy.principal import Principal

ANYBODY: Final = "*"
REASON_LENGTH_MIN: Final = 10
_OFF: Final = "off"
_ROOT: Final = "PurposeOfUse"
_OID: Final = "urn:oid:2.16.840.1.113883.5.8"


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

    def asking(self, principal: Principal, purpose: str | None, reason: str | None, system: str) -> Asking:
        """Who asks, for the purpose that is claimed. `system` is that of the Devices that are apps.

        Raises Forbidden for a purpose that no role of the user's may claim, Invalid for one that is none.
        """
        roles = [role.name for role in principal.roles]
        allowed = list(self._purposes_of(principal.is_open, roles))
        claimed = allowed[0] if purpose is None else code_of(purpose)
        if claimed not in allowed and not principal.is_open:
            raise Forbidden(
                f"the purpose of use {claimed} is not one that you may claim: {', '.join(allowed)}"
            )
        if claimed == BREAK_GLASS and len((reason or "").strip()) < REASON_LENGTH_MIN:
            raise Forbidden(
                f"to break the glass needs a reason of {REASON_LENGTH_MIN} characters or more in"
                " X-Purpose-Reason"
            )
        return Asking(
            actors=() if principal.user is None else (principal.user,),
            app=None if principal.client is None else (system, principal.client),
            own=principal.own if principal.user is not None and principal.user[0] == "Patient" else (),
            purpose=claimed,
            default=default_of(claimed, self.defaults),
            administers=principal.is_open or not self.administrators.isdisjoint(roles),
        )

    def _purposes_of(self, is_open: bool, roles: list[str]) -> Mapping[str, None]:
        named = [one for role in roles for one in self.purposes.get(role, ())]
        found = dict.fromkeys(named or self.purposes.get(ANYBODY, (TREAT,)))
        return found or {TREAT: None}


def code_of(purpose: str) -> str:
    """The code of a purpose of use, written as such or as `system|code`. Raises Invalid."""
    system, bar, code = purpose.strip().rpartition("|")
    if (bar and system not in (ACT_REASON, _OID)) or (code not in PURPOSES and code != _ROOT):
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
    if unknown := [one for one in named if one not in PURPOSES and one != _ROOT]:
        raise ValueError(f"{unknown[0]!r} is no purpose of use of {ACT_REASON}")
    own: dict[str, Any] = {**stated.defaults, **stated.tenants.get(str(tenant), {})}
    return Enforcement(
        {**DEFAULTS, **{purpose: said == "permit" for purpose, said in own.items()}},
        {role: tuple(purposes) for role, purposes in stated.purposes.items()},
        frozenset(stated.administrators),
        stated.unenforceable == "refuse",
    )
