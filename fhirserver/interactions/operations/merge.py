"""Patient/$merge, Patient/$undo-merge and [type]/$replace-references.

https://build.fhir.org/patient-operation-merge.html, docs/how-to/merging.md
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.errors import Issue, NotSupported
from fhirserver.fhir import json
from fhirserver.fhir.structure import Resource
from fhirserver.interactions.answer import issue_element
from fhirserver.interactions.call import Answer, Call, Services
from fhirserver.interactions.conditions import require_match
from fhirserver.interactions.draft import new_id
from fhirserver.interactions.merging import plan
from fhirserver.interactions.merging.accept import Outcome, carried_out, counted, previewed
from fhirserver.interactions.merging.asked import referred, require_merger, sought
from fhirserver.interactions.merging.moving import moving_back, referring
from fhirserver.interactions.merging.told import asker
from fhirserver.interactions.operations.inputs import Inputs, parameters
from fhirserver.store.merges import Merge
from fhirserver.store.version import Version

_DONE: Final = {"merge": "merged", "undo": "as if it had not been merged", "replace": "replaced"}


async def merge_patients(connection: Connection, call: Call, inputs: Inputs) -> Answer:
    """200 when it is done, 202 when it was accepted. Raises Invalid, Unprocessable, Forbidden, Conflict."""
    _require_alone(connection)
    require_merger(call)
    services = await _current(connection, call)
    source, target = [await sought(connection, call, inputs, side) for side in ("source", "target")]
    given: Resource | None = inputs.one("result-patient")
    if given is not None:
        asked: list[dict[str, Any]] = [
            *inputs.all("source-patient-identifier"),
            *inputs.all("target-patient-identifier"),
        ]
        plan.require_result(services, given, source, target, asked)
    require_match(call, target)
    request = {} if given is None else {"result": given, "based": _based(given, target)}
    merge = _merge(call, "merge", source, target, request)
    await plan.require_distinct(connection, services, merge)
    plan.require_based(merge, target)
    plan.merged(services, merge, source, target)
    count = await counted(connection, call, merge, await referring(connection, services, merge))
    if inputs.one("preview"):
        return _previewed(call, merge, await previewed(connection, call, merge, count))
    return _answered(call, merge, await carried_out(connection, call, merge, count))


async def undo_merge(connection: Connection, call: Call, inputs: Inputs) -> Answer:
    """The same for the way back. Raises Unprocessable for conflicts, too."""
    _require_alone(connection)
    require_merger(call)
    services = await _current(connection, call)
    source = await sought(connection, call, inputs, "source", merged=True)
    target = await sought(connection, call, inputs, "target")
    require_match(call, target)
    side = inputs.one("on-conflict")
    if side not in (None, "keep", "restore"):
        raise NotSupported(f"'on-conflict' is keep or restore, not {side!r}")
    back = None if side is None else side == "restore"
    merge = _merge(call, "undo", source, target, {"back": back})
    of = await plan.require_undoable(connection, services, merge)
    moving, unclear = await moving_back(connection, services, of, back)
    count = await counted(connection, call, merge, moving)
    pair = await plan.unmerged(connection, services, of, source, target, back)
    conflicts = [*pair.conflicts, *unclear]
    if inputs.one("preview"):
        if conflicts and back is None:
            return _planned(call, merge, pair.target, count, conflicts)
        return _previewed(call, merge, await previewed(connection, call, merge, count), conflicts)
    if back is None:
        plan.require_no_conflicts(conflicts)
    return _answered(call, merge, await carried_out(connection, call, merge, count))


async def replace_references(connection: Connection, call: Call, inputs: Inputs) -> Answer:
    """200 when it is done, 202 when it was accepted."""
    _require_alone(connection)
    require_merger(call)
    source, target = [
        await referred(connection, call, side, inputs.one(side) or {}) for side in ("source", "target")
    ]
    merge = _merge(call, "replace", source, target, {})
    await plan.require_distinct(connection, call.services, merge)
    count = await counted(connection, call, merge, await referring(connection, call.services, merge))
    if inputs.one("preview"):
        return _previewed(call, merge, await previewed(connection, call, merge, count))
    return _answered(call, merge, await carried_out(connection, call, merge, count))


async def _current(connection: Connection, call: Call) -> Services:
    """With all merges that there are: who stands for whom decides whom an identifier means."""
    await call.services.definitions.refresh(connection)
    return call.services


def _require_alone(connection: Connection) -> None:
    if connection.is_in_transaction():
        raise NotSupported("it is a transaction of its own, and no entry of another one")


def _merge(call: Call, kind: str, source: Version, target: Version, request: dict[str, Any]) -> Merge:
    return Merge(
        id=new_id(),
        kind=kind,
        state="accepted",
        type=call.resource_type,
        source=source.id,
        target=target.id,
        request={"who": asker(call), **request},
        task=None,
        versions=(),
        writers=None,
    )


def _based(given: Resource, target: Version) -> str:
    """The version that a `result-patient` was made of: that which it names, else the current one."""
    return given.get("meta", {}).get("versionId", str(target.version))


def _previewed(call: Call, merge: Merge, outcome: Outcome, conflicts: Sequence[Issue] = ()) -> Answer:
    assert outcome.done is not None
    target = outcome.done.target
    return _planned(call, merge, None if target is None else target.resource(), outcome.count, conflicts)


def _planned(
    call: Call, merge: Merge, target: Resource | None, count: int, conflicts: Sequence[Issue]
) -> Answer:
    text = f"preview: nothing was changed; {count} resources would be moved from {_way(merge)}"
    issues = [Issue("information", "informational", text), *conflicts]
    result = None
    if target is not None:
        meta = {
            name: value
            for name, value in target.get("meta", {}).items()
            if name not in ("versionId", "lastUpdated")
        }
        result = {name: value for name, value in {**target, "meta": meta}.items() if value}
    return Answer(200, _body(call, issues, result), about=_about(merge))


def _answered(call: Call, merge: Merge, outcome: Outcome) -> Answer:
    if outcome.task is not None:
        text = (
            f"accepted: {outcome.count} resources are moved from {_way(merge)}; the Task says how far it is"
        )
        issue = Issue("information", "informational", text)
        place = f"{call.base}/{outcome.task.path}"
        task = outcome.task.resource()
        return Answer(202, _body(call, [issue], None, task), {"Content-Location": place}, about=_about(merge))
    assert outcome.done is not None
    text = f"{_DONE[merge.kind]}: {outcome.count} resources were moved from {_way(merge)}"
    target = outcome.done.target
    issue = Issue("information", "informational", text)
    body = _body(call, [issue], None if target is None else target.resource())
    return Answer(200, body, about=_about(merge))


def _about(merge: Merge) -> tuple[str, ...]:
    """Whose records are merged, or parted."""
    if merge.type != "Patient":
        return ()
    return f"Patient/{merge.source}", f"Patient/{merge.target}"


def _way(merge: Merge) -> str:
    source, target = f"{merge.type}/{merge.source}", f"{merge.type}/{merge.target}"
    return f"{target} to {source}" if merge.kind == "undo" else f"{source} to {target}"


def _body(call: Call, issues: list[Issue], result: Resource | None, task: Resource | None = None) -> bytes:
    outcome = {"resourceType": "OperationOutcome", "issue": [issue_element(one) for one in issues]}
    asked = call.resource if isinstance(call.resource, dict) else {"resourceType": "Parameters"}
    parts: list[tuple[str, str, Any]] = [("input", "Resource", asked), ("outcome", "Resource", outcome)]
    parts += [("result", "Resource", result)] if result is not None else []
    parts += [("task", "Resource", task)] if task is not None else []
    return json.dumps(parameters(parts))
