"""What a resource in a request must be before an interaction looks at it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from fhirserver.errors import Invalid
from fhirserver.fhir.structure import Resource
from fhirserver.fhir.validate import validate
from fhirserver.interactions.app_state import require_small
from fhirserver.interactions.call import Call

Made = TypeVar("Made")


async def worked(call: Call, work: Callable[[], Made]) -> Made:
    """`work` on the resource: at once, or in a thread if it is so large that others would wait for it."""
    return await asyncio.to_thread(work) if call.large else work()


def checked(call: Call) -> Resource:
    """The body, structurally valid and of the type in the path. Raises Structure or Invalid."""
    resource: Any = call.resource
    if resource is None:
        raise Invalid(f"{call.interaction} needs a {call.type} in the body")
    validate(resource, call.type)
    require_small(call, resource)
    return resource


def checked_with_id(call: Call) -> Resource:
    """The body of an update: its id must be there and equal the one in the path.

    https://hl7.org/fhir/R4/http.html#update
    """
    resource = checked(call)
    if resource.get("id") != call.id:
        raise Invalid(
            f"the resource's id is {resource.get('id')!r}; an update of {call.type}/{call.id} must carry"
            f" {call.id!r}",
            f"{call.type}.id",
        )
    return resource
