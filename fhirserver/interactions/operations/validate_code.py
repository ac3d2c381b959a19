"""$validate-code on ValueSet and CodeSystem.

https://hl7.org/fhir/R4/valueset-operation-validate-code.html,
https://hl7.org/fhir/R4/codesystem-operation-validate-code.html. What depends on a definition that is not held
is unknown: the result is false, as nobody can say that it is true, and the message and `x-unknown-system`
tell it from what is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

from fhirserver.db.pool import Connection
from fhirserver.errors import Invalid
from fhirserver.fhir import json
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.operations.asked import (
    code_system_of,
    codings,
    require_one,
    stored,
    terminology,
    value_set_of,
)
from fhirserver.interactions.operations.inputs import Inputs, parameters
from fhirserver.terminology.builtin import WithBuiltIn
from fhirserver.terminology.pinned import Pinned
from fhirserver.terminology.verdict import Asked, Membership, Verdict


async def validate_code_in_value_set(connection: Connection, call: Call, inputs: Inputs) -> Answer:
    """200 with Parameters. Raises NotFound for the value set itself, Invalid, TooCostly."""
    for beside in ("system", "systemVersion"):
        if inputs.one(beside) is not None and inputs.one("code") is None:
            raise Invalid(f"'{beside}' goes with 'code'; a coding has its own")
    asked = codings(inputs, inputs.one("system"), inputs.one("systemVersion"))
    library = WithBuiltIn(stored(connection, call))
    value_set, cache = await value_set_of(connection, call, library, inputs)
    found: list[Verdict] = []
    for one in asked:
        wanted = {one.system: one.version} if one.system is not None and one.version is not None else {}
        service = terminology(Pinned(library, wanted), call, cache)
        found.append(await service.verdict(value_set, one))
    return _answer(found)


async def validate_code_in_system(connection: Connection, call: Call, inputs: Inputs) -> Answer:
    """200 with Parameters. Raises NotFound for a place without a code system, Invalid."""
    url, version, given = inputs.one("url"), inputs.one("version"), inputs.one("codeSystem")
    require_one(call, [("url", url), ("codeSystem", given)])
    system = await code_system_of(connection, call, url, version, given)
    asked = codings(inputs, url, version)
    if system is None:
        return _answer([_unknown(one, str(url), version) for one in asked])
    service = terminology(WithBuiltIn(stored(connection, call)), call)
    found: list[Verdict] = []
    for one in asked:
        if one.system not in (None, system.url):
            reason = f"'{one.code}' is of '{one.system}', not of '{system.name}'"
            found.append(Verdict(Membership.NOT_MEMBER, one.system, one.code, reason=reason))
        else:
            found.append(await service.verdict_of(system, one))
    return _answer(found)


def _unknown(asked: Asked, url: str, version: str | None) -> Verdict:
    name = url if version is None else f"{url}|{version}"
    reason = f"whether '{asked.code}' exists is unknown: the code system '{name}' is not held here"
    return Verdict(Membership.UNKNOWN, asked.system, asked.code, reason=reason, unknown=url)


def _answer(found: Sequence[Verdict]) -> Answer:
    """Of several codings one must be valid; what is to be said of each is said."""
    right = [one for one in found if one.is_member and one.display_right is not False]
    best = next(iter(right), None) or next((one for one in found if one.is_member), found[0])
    parts: list[tuple[str, str, object]] = [("result", "boolean", bool(right))]
    hints = [one.reason for one in found if one.reason]
    hints += [f"'{one.code}' of '{one.system}' is no longer in use" for one in right if one.is_inactive]
    if hints:
        parts.append(("message", "string", "; ".join(hints)))
    if best.display is not None:
        parts.append(("display", "string", best.display))
    unknown = next((one.unknown for one in found if one.unknown is not None), None)
    if not right and unknown is not None:
        parts.append(("x-unknown-system", "uri", unknown))
    return Answer(200, json.dumps(parameters(parts)))
