"""The decision made once for each interaction, before anything is read.

Pure: it awaits nothing and knows neither the database nor ASGI. It says what may be done at all (401 and 403
follow from that) and gives the restriction that every statement then carries.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Final

from fhirserver.errors import Forbidden
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.policy.principal import Principal, Role
from fhirserver.policy.restriction import (
    DEFINING,
    EVERYTHING,
    RECORDED,
    CareTeams,
    Compartment,
    Permit,
    Permits,
    Place,
    Restriction,
    narrowed_to,
)
from fhirserver.policy.scopes import Scope

ACTION: Final = {
    "read": "r",
    "vread": "r",
    "history": "r",
    "search": "s",
    "create": "c",
    "update": "u",
    "update_conditional": "u",
    "patch": "u",
    "patch_conditional": "u",
    "delete": "d",
    "delete_conditional": "d",
}
"""Interaction -> the letter that a scope must have for it."""

_ORDINARY: Final = ENDPOINT_TYPES - DEFINING - RECORDED
_AGREED: Final = frozenset({"Consent"})

FREE: Final = frozenset({"capabilities", "bundle"})
"""Open to all; the entries of a Bundle are decided one by one."""


def action_of(interaction: str, instance: bool = True) -> str:
    """The letter of an interaction; the history of more than an instance is a search."""
    return "s" if interaction == "history" and not instance else ACTION[interaction]


def required_actions(interaction: str, instance: bool, conditional: bool) -> tuple[str, ...]:
    """The letters that an interaction needs; one that depends on a search needs that as well.

    None of `capabilities`, which is open, and of `bundle`, whose entries are decided one by one.
    """
    if interaction in FREE:
        return ()
    searched = conditional or interaction.endswith("_conditional")
    return (*(["s"] if searched else []), action_of(interaction, instance))


def operation_action(affects_state: bool) -> str:
    """The letter of an operation that declares no other."""
    return "u" if affects_state else "s"


def decide(
    principal: Principal, resource_type: str | None, action: str | None, *, consents: bool = False
) -> Restriction:
    """The restriction under which `action` on a type (None: on several) runs; `action` None: on nothing.
    `consents`: they are enforced here.

    Raises Forbidden where no permit of the caller's is about the type and the action at all.
    """
    if principal.is_open:
        return EVERYTHING
    restriction = restriction_of(principal, consents)
    if action is None:
        return restriction
    types = (resource_type,) if resource_type is not None else ENDPOINT_TYPES
    if not any(restriction.of(type_, action) for type_ in types):
        raise Forbidden(
            f"nothing that was granted allows '{action}' on {resource_type or 'any type'}; a scope such as"
            f" user/{resource_type or '*'}.{action} would"
        )
    return restriction


@lru_cache(maxsize=4_096)
def restriction_of(principal: Principal, consents: bool = False) -> Permits:
    """All that the caller may do: each scope with its own context, as far as a role of the user allows it.
    Where consents are enforced, a service writes them by a scope that names them."""
    named = _AGREED if consents else frozenset[str]()
    permits = [permit for scope in principal.scopes for permit in _permits(principal, scope, named)]
    if principal.reads_self and principal.user is not None:
        type_, id_ = principal.user
        permits.append(Permit(frozenset({type_}), frozenset("r"), (), (("_id", id_),)))
    return Permits(tuple(dict.fromkeys(permits)), principal.grant)


def _permits(principal: Principal, scope: Scope, named: frozenset[str]) -> list[Permit]:
    """What a scope permits: no more than what the user may do, whoever asked for it. Without a user nothing
    but `system/` permits anything, and `*` not to write what is `named`."""
    types = ENDPOINT_TYPES if scope.type == "*" else frozenset({scope.type})
    match scope.context:
        case "system":
            if principal.user is not None:
                return []
            return [Permit(of, actions, (), scope.params) for of, actions in _reach(scope, named) if actions]
        case _ if principal.user is None:
            return []
        case "patient":
            if principal.patient is None:
                return []
            given = narrowed_to(types, scope.actions, Compartment("Patient", principal.patient), scope.params)
        case "user":
            given = [Permit(types, scope.actions, (), scope.params)]
    return [part for permit in given for role in principal.roles for part in _within(principal, role, permit)]


def _within(principal: Principal, role: Role, permit: Permit) -> list[Permit]:
    """What a role of the user leaves of a permit."""
    found: list[Permit] = []
    for scope in role.scopes:
        limits = [(permit.types & types, permit.actions & actions) for types, actions in _reach(scope)]
        parts = [
            part
            for types, actions in limits
            if types and actions
            for part in _placed(principal, role, scope, types, actions)
        ]
        found += [
            replace(
                part,
                places=tuple(dict.fromkeys((*permit.places, *part.places))),
                criteria=(*permit.criteria, *scope.params),
            )
            for part in parts
        ]
    return found


def _reach(scope: Scope, named: frozenset[str] = frozenset()) -> list[tuple[frozenset[str], frozenset[str]]]:
    """Types of a scope of a role, or of a service, and what it lets do with them.

    `*` is no word about writing what the server itself goes by, nor about what says who did what: such types
    have to be named, and those of `named`.
    """
    if scope.type != "*":
        return [(frozenset({scope.type}), scope.actions)]
    reading = scope.actions & frozenset("rs")
    if reading == scope.actions:
        return [(_ORDINARY | DEFINING, scope.actions)]
    return [(_ORDINARY - named, scope.actions), (DEFINING | named, reading)]


def _placed(
    principal: Principal, role: Role, scope: Scope, types: frozenset[str], actions: frozenset[str]
) -> list[Permit]:
    if scope.context != "patient":
        return [Permit(types, actions)]
    return [part for place in _own(principal, role) for part in narrowed_to(types, actions, place)]


def _own(principal: Principal, role: Role) -> list[Place]:
    """Whose records a role's `patient/` scopes are about: the user's own, or of those in their care."""
    if role.care_team:
        return [] if principal.user is None else [CareTeams(principal.user)]
    return [Compartment("Patient", own) for own in principal.own]
