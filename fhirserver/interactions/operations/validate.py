"""$validate: everything that is wrong with a resource, and where.

https://hl7.org/fhir/R4/resource-operation-validate.html. The answer is 200 with an OperationOutcome whatever
was found; only what cannot be validated at all is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.errors import FhirError, Gone, Invalid, Issue, NotFound, Unprocessable
from fhirserver.fhir import positions
from fhirserver.fhir import validate as structure
from fhirserver.fhir.primitives import fault
from fhirserver.fhir.profile.examination import ISSUES_MAX
from fhirserver.fhir.profile.terms import Terms
from fhirserver.fhir.profile.validate import examine
from fhirserver.interactions.answer import outcome
from fhirserver.interactions.audit.whose import owners_of
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.conformance import require, unmeetable
from fhirserver.interactions.integrity import verify_unreferenced
from fhirserver.interactions.operations.inputs import Inputs
from fhirserver.interactions.searching import allowed, context_of
from fhirserver.interactions.stored import Stored
from fhirserver.interactions.terms import judged
from fhirserver.store import read
from fhirserver.store.version import Version

MODES: Final = ("create", "update", "delete", "profile")
"""https://hl7.org/fhir/R4/valueset-resource-validation-mode.html"""
_ACTIONS: Final = {"update": "u", "delete": "d"}
"""Modes that ask whether an instance could be changed so by the caller."""
RESPONSE: Final = "QuestionnaireResponse"
QUESTIONNAIRES_MAX: Final = 100
"""Different questionnaires whose responses in one Bundle are judged."""
_TEXTS: Final = ("valueUri", "valueCanonical", "valueUrl", "valueString", "valueCode")
_ORDER: Final = {"fatal": 0, "error": 1, "warning": 2, "information": 3}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a call asks for; `steps` lead from the body to the resource in it."""

    resource: Any
    profiles: tuple[str, ...]
    mode: str | None
    steps: positions.Steps = ()


async def validate(connection: Connection, call: Call, inputs: Inputs) -> Answer:
    """200 with an OperationOutcome, errors first. Raises Invalid for a call that asks for nothing, NotFound
    and Gone for an instance that is not there."""
    asked = _asked(call, inputs)
    found: list[Issue] = []
    about: list[str] = []
    if call.id is not None:
        current = await _current(connection, call, _ACTIONS.get(asked.mode or "", "r"))
        about = owners_of(current.type, current.id, current.content)
        if asked.mode == "delete":
            found += await _undeletable(connection, call, current)
        elif asked.resource is None:
            asked = replace(asked, resource=current.resource())
    if asked.resource is not None:
        found += _mismatch(call, asked)
        questionnaires = await _questionnaires(connection, call, asked.resource)
        found += await judged(
            connection,
            call,
            lambda terms: asyncio.to_thread(_examined, call, asked, questionnaires, terms),
        )
    elif asked.mode != "delete":
        raise Invalid("$validate needs a resource: in the body, or in the parameter 'resource'")
    found = found[:ISSUES_MAX] or [Issue("information", "informational", "no issues were found")]
    body = outcome(*sorted(found, key=lambda issue: _ORDER[issue.severity]))
    return Answer(200, body, about=tuple(about))


def _examined(call: Call, asked: Asked, questionnaires: dict[str, Any], terms: Terms) -> list[Issue]:
    library = call.services.definitions.known.library
    faults = {one: fault for one in asked.profiles if (fault := unmeetable(one, library)) is not None}
    found = examine(
        asked.resource,
        library,
        terms,
        [one for one in asked.profiles if one not in faults],
        expected_type=call.type,
        questionnaires=questionnaires,
    )
    # "If a profile is nominated, and the server cannot validate against it, the server SHALL return an error"
    found += [
        Issue("error", "not-found", f"nothing was checked against '{one}', {fault}", call.type)
        for one, fault in faults.items()
    ]
    if asked.mode in ("create", "update") and structure.passes(asked.resource, call.type):
        try:
            require(call.services.validation, asked.resource, library, terms)
        except Unprocessable as error:  # what would refuse it, besides what was found
            found += [issue for issue in error.issues if issue not in found]
    return _located(call, asked, found)


async def _questionnaires(connection: Connection, call: Call, resource: Any) -> dict[str, Any]:
    """The questionnaires that responses name, of those that the caller may see, by what they are named."""
    stored = Stored(connection, context_of(call), call.services.terminology)
    found: dict[str, Any] = {}
    for canonical in _named(resource):
        url, _, version = canonical.partition("|")
        if len(found) < QUESTIONNAIRES_MAX and (known := await stored.questionnaire(url, version or None)):
            found[canonical] = known
    return found


def _named(resource: Any) -> list[str]:
    """The questionnaires of a response, or of those in a Bundle."""
    if not isinstance(resource, dict):
        return []
    entries = resource.get("entry") if resource.get("resourceType") == "Bundle" else None
    if isinstance(entries, list):
        inner = [name for one in entries if isinstance(one, dict) for name in _named(one.get("resource"))]
        return list(dict.fromkeys(inner))
    name = resource.get("questionnaire") if resource.get("resourceType") == RESPONSE else None
    return [name] if isinstance(name, str) and not name.startswith("#") else []


# -- what is asked for


def _asked(call: Call, inputs: Inputs) -> Asked:
    """From the URL and the body, which is the resource or a Parameters that holds it."""
    body = call.resource
    profiles, mode = list(inputs.all("profile")), inputs.one("mode")
    resource, steps = body, ()
    if isinstance(body, dict) and body.get("resourceType") == "Parameters":
        resource = None
        for index, part in enumerate(_parts(body)):
            match part.get("name"):
                case "resource" | "mode" as name if (resource if name == "resource" else mode) is not None:
                    raise Invalid(f"'{name}' stands twice", f"Parameters.parameter[{index}]")
                case "resource":
                    resource, steps = part.get("resource"), ("parameter", index, "resource")
                case "profile":
                    profiles.append(_text(part, "canonical", index))
                case "mode":
                    mode = _text(part, "code", index)
                case name:
                    raise Invalid(f"$validate has no parameter {name!r}; it has resource, mode and profile")
    if mode is not None and mode not in MODES:
        raise Invalid(f"the mode {mode[:64]!r} is none of {', '.join(MODES)}")
    if mode in _ACTIONS and call.id is None:
        raise Invalid(f"the mode '{mode}' is about an instance: {call.type}/[id]/$validate")
    return Asked(resource, tuple(dict.fromkeys(profiles)), mode, steps)


def _parts(body: dict[str, Any]) -> Iterable[dict[str, Any]]:
    parts = body.get("parameter", [])
    if not isinstance(parts, list) or not all(isinstance(one, dict) for one in parts):
        raise Invalid("'parameter' is an array of objects", "Parameters.parameter")
    return parts


def _text(part: dict[str, Any], type_: str, index: int) -> str:
    """The text of a parameter, in whichever textual type it is written."""
    value = next((part[key] for key in _TEXTS if key in part), None)
    where = f"Parameters.parameter[{index}]"
    if not isinstance(value, str):
        raise Invalid(f"'{part.get('name')}' needs a value of type {type_}", where)
    if (wrong := fault(type_, value)) is not None:
        raise Invalid(f"'{part.get('name')}' {wrong}", where)
    return value


async def _current(connection: Connection, call: Call, action: str) -> Version:
    """The instance, for who may do `action` with it."""
    version = await read.latest(
        connection, call.services.tenant, call.resource_type, call.resource_id, allowed(call, action)
    )
    if version is None:
        raise NotFound(f"{call.type}/{call.id} is not known")
    if version.deleted:
        raise Gone(f"{version.path} was deleted", headers={"ETag": version.etag})
    return version


# -- what the mode adds


async def _undeletable(connection: Connection, call: Call, current: Version) -> Sequence[Issue]:
    """Why the resource could not be deleted now."""
    try:
        await verify_unreferenced(connection, call, [(current.type, current.id)])
    except FhirError as error:
        return error.issues
    return ()


def _mismatch(call: Call, asked: Asked) -> list[Issue]:
    """An update must carry the id that it is sent to: https://hl7.org/fhir/R4/http.html#update"""
    if asked.mode != "update" or call.id is None or not isinstance(asked.resource, dict):
        return []
    given = asked.resource.get("id")
    if given == call.id:
        return []
    text = f"the resource's id is {given!r}; an update of {call.type}/{call.id} must carry {call.id!r}"
    return _located(call, asked, [Issue("error", "invalid", text, f"{call.type}.id")])


# -- where it stands


def _located(call: Call, asked: Asked, found: list[Issue]) -> list[Issue]:
    """The issues with line and column in the body, if the resource came in it."""
    source = call.source
    if source is None or asked.resource is None or call.resource is None or not found:
        return found
    ways = {
        issue.expression or "": (*asked.steps, *positions.steps_of(issue.expression or "")) for issue in found
    }
    look = positions.in_xml if source.is_xml else positions.in_json
    places = look(source.text, set(ways.values()))
    return [
        replace(issue, line=at.line, column=at.column)
        for issue in found
        for at in [places[ways[issue.expression or ""]]]
    ]
