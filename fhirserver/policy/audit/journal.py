"""What happened in few words, as it waits to become AuditEvents: docs/adr/0018-audit-events-are-resources.md.

Events of one caller doing one kind of thing differ in a few places alone: what they have in common is said
once.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import orjson

from fhirserver.policy.audit.codes import Coding
from fhirserver.policy.audit.event import Asker, Deed, Happening, Outcome, Site, Subject
from fhirserver.policy.principal import Principal, Role

_KINDS_MAX: Final = 4_096


def folded(told: Iterable[Happening]) -> str:
    """JSON of which `unfolded` makes what tells the same, but for U+0000: no text in PostgreSQL holds it."""
    kinds: dict[bytes, list[list[Any]]] = {}
    for one in told:
        subject = one.subject
        own = [subject.patient, subject.data, subject.query, subject.others, one.at, one.request]
        kinds.setdefault(_kind(one.site, one.asker, one.deed, one.outcome), []).append(own)
    text = orjson.dumps([[orjson.Fragment(kind), each] for kind, each in kinds.items()]).decode()
    return text.replace("\\u0000", "\\ufffd")


def unfolded(text: str) -> list[Happening]:
    """What was folded, of which the callers have what events tell of them, and no rights."""
    return [
        Happening(
            *common, Subject(patient, tuple(data), query, tuple(others)), datetime.fromisoformat(at), id_
        )
        for kind, each in orjson.loads(text)
        for common in [_common(**kind)]
        for patient, data, query, others, at, id_ in each
    ]


@lru_cache(maxsize=_KINDS_MAX)
def _kind(site: Site, asker: Asker, deed: Deed, outcome: Outcome) -> bytes:
    """What events have in common, without what is none."""
    principal = asker.principal
    told = {
        "site": (site.base, site.apps),
        "client": principal.client,
        "user": principal.user,
        "roles": [role.name for role in principal.roles],
        "address": asker.address,
        "purpose": asker.purpose,
        "reason": asker.reason,
        "login": asker.login,
        "deed": (deed.action, [tuple(one) for one in deed.subtypes], tuple(deed.type)),
        "outcome": (outcome.code, outcome.text),
    }
    return orjson.dumps({name: value for name, value in told.items() if value is not None})


def _common(
    site: list[str],
    deed: Any,
    outcome: Any,
    client: str | None = None,
    user: list[str] | None = None,
    *,
    roles: Iterable[str],
    **asker: str,
) -> tuple[Site, Asker, Deed, Outcome]:
    action, subtypes, type_ = deed
    who = None if user is None else (user[0], user[1])
    # Templates are looked up by who asks.
    id_ = " ".join([client or "", *(who or ())])
    principal = Principal(id_, client=client, user=who, roles=tuple(Role(name, ()) for name in roles))
    return (
        Site(*site),
        Asker(principal, **asker),
        Deed(action, tuple(Coding(*one) for one in subtypes), Coding(*type_)),
        Outcome(*outcome),
    )
