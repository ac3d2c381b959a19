"""What whoever asks for a merge may do, kept until it is done in the background."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec

from fhirserver.interactions.call import Call, Services
from fhirserver.interactions.permission import decided
from fhirserver.policy.principal import Principal
from fhirserver.store.merges import Merge


def kept(call: Call) -> dict[str, Any]:
    """The rights of a caller as they are now, as JSON.

    Without the grant: what was accepted is done, also if its token is over then, as it would be at once.
    """
    principal = msgspec.to_builtins(replace(call.principal, grant=None))
    return {"principal": principal, "purpose": call.purpose, "glass": call.glass}


def without(merge: Merge) -> Merge:
    """A merge without the rights, which nobody needs once it is done."""
    return replace(merge, request={key: value for key, value in merge.request.items() if key != "rights"})


def guard_of(services: Services, merge: Merge) -> Call:
    """The call of who asked for a merge, with the rights that were kept. Raises Forbidden where these allow
    nothing of the kind."""
    rights = merge.request["rights"]
    glass = rights["glass"]
    call = Call(
        services=services,
        interaction="update",
        base=services.own_bases[0] if services.own_bases else "",
        now=datetime.now(UTC),
        type=merge.type,
        id=merge.target,
        principal=msgspec.convert(rights["principal"], Principal),
        purpose=rights["purpose"],
        glass=None if glass is None else tuple(glass),
    )
    decided(call)
    return call
