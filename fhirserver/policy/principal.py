"""Who asks, with what they were granted: what a token says, or that nobody has to sign in."""

from __future__ import annotations

from dataclasses import dataclass

from fhirserver.policy.scopes import Scope


@dataclass(frozen=True, slots=True)
class Role:
    """A named set of scopes: what its holders may do at most. Its `patient/` scopes are about the user's own
    record or, with `care_team`, about the patients in whose care teams the user is."""

    name: str
    scopes: tuple[Scope, ...]
    care_team: bool = False


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller. `id` is unique among all callers and stays the same (it binds page links).

    `scopes` were granted to the client; `patient` is the id in the launch context; `user` type and id of
    who is signed in; `own` the ids of the Patients whose record is the user's own; `roles` what the user
    may do at all. `grant` is the number of the grant whose revocation ends this, `tenant` where it holds.
    `reads_self`: the user's own resource may be read, as the scope `fhirUser` says. `purposes` of use are
    the only ones that the token serves, if it names any.
    """

    id: str
    scopes: tuple[Scope, ...] = ()
    client: str | None = None
    user: tuple[str, str] | None = None
    patient: str | None = None
    own: tuple[str, ...] = ()
    roles: tuple[Role, ...] = ()
    grant: int | None = None
    tenant: int | None = None
    reads_self: bool = False
    purposes: tuple[str, ...] = ()
    is_open: bool = False

    def __hash__(self) -> int:
        """Of what tells callers apart: each request looks up what they may do."""
        return hash((self.id, self.grant))


OPEN = Principal("", is_open=True)
"""Whoever reaches a server on which nobody has to sign in."""
