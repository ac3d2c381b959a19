"""$fhirpath: what an expression gives for a resource.

In and out it has the form that the public FHIRPath Lab speaks with engines on servers:
https://github.com/brianpos/fhirpath-lab/blob/master/server-api.md
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from fhirserver import settings as configuration
from fhirserver.db.pool import Connection
from fhirserver.errors import Gone, Invalid, NotFound, TooCostly
from fhirserver.fhir import fhirpath as engine
from fhirserver.fhir import json
from fhirserver.fhir.fhirpath import Environment, FHIRPathError, Limits, Node, Program, compile_located
from fhirserver.fhir.fhirpath.place import root
from fhirserver.fhir.structure import Resource
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.operations.fhirpath_known import Known, known_to
from fhirserver.interactions.operations.fhirpath_parts import node_of_part, part_of
from fhirserver.interactions.operations.inputs import Inputs
from fhirserver.interactions.searching import allowed
from fhirserver.store import read

ROUNDS_MAX: Final = 8
"""How often what was lacking is fetched: each is a step of references to references."""
CONTEXTS_MAX: Final = 1_000
_TIME_S: Final = 2.0
"""What all rounds together may take, apart from what is fetched between them."""
_STEPS_MAX: Final = 1_000_000

Traced = list[tuple[str, Sequence[Node]]]


@dataclass(frozen=True, slots=True)
class _Result:
    """The results for one context, with what was traced on the way."""

    context: Node | None
    nodes: list[Node]
    traced: Traced


async def fhirpath(connection: Connection, call: Call, inputs: Inputs) -> Answer:
    """200 with Parameters. Raises Invalid for an expression that is wrong or fails, TooCostly, NotFound."""
    resource = await _resource(connection, call, inputs)
    type_ = resource["resourceType"]
    expression, context = str(inputs.one("expression")), inputs.one("context")
    variables = _variables(inputs)
    known = await known_to(connection, call)
    try:
        names = frozenset(variables)
        outer = None if context is None else _compiled(context, "context", type_, type_, names)
        if outer is None:
            _compiled(expression, "expression", type_, type_, names)
        results = await _results(connection, call, known, _Run(resource, expression, outer, variables))
    except engine.TooCostly as error:
        raise TooCostly(str(error)) from None
    except FHIRPathError as error:
        raise Invalid(str(error)) from None
    return Answer(200, json.dumps(_answer(inputs, resource, outer, results)), {"Cache-Control": "no-store"})


async def _resource(connection: Connection, call: Call, inputs: Inputs) -> Resource:
    """The resource that is asked about: the instance, that of the request, or one with nothing in it."""
    given = inputs.one("resource")
    if call.id is None:
        if given is None:
            return {"resourceType": call.type or "Parameters"}
        if call.type is not None and given["resourceType"] != call.type:
            raise Invalid(f"the resource is a {given['resourceType']}, no {call.type}")
        return given
    if given is not None:
        raise Invalid("an instance is evaluated as it is stored: leave the resource out, or the id")
    tenant = call.services.tenant
    version = await read.latest(connection, tenant, call.resource_type, call.resource_id, allowed(call, "s"))
    if version is None:
        raise NotFound(f"{call.type}/{call.id} is not known")
    if version.deleted:
        raise Gone(f"{version.path} was deleted", headers={"ETag": version.etag})
    return version.resource()


def _variables(inputs: Inputs) -> dict[str, list[Node]]:
    """Variables by name: a part may stand several times, its values being one collection."""
    found: dict[str, list[Node]] = {}
    for given in inputs.all("variables"):
        for part in given.get("part", ()):
            nodes = found.setdefault(part["name"], [])
            node = node_of_part(part)
            if node is not None:
                nodes.append(node)
    return found


def _compiled(expression: str, what: str, type_: str, around: str, names: frozenset[str]) -> Program:
    try:
        return compile_located(expression, type_, around, names)
    except FHIRPathError as error:
        raise Invalid(f"{what}: {error}") from None


@dataclass(frozen=True, slots=True)
class _Run:
    """What is evaluated, once or more: the second time with what was lacking the first."""

    resource: Resource
    expression: str
    outer: Program | None
    variables: dict[str, list[Node]]

    def results(self, known: Known, seconds: float) -> list[_Result]:
        """Raises FHIRPathError, Invalid."""
        deadline = time.monotonic() + seconds
        whole = root(Node(self.resource, self.resource["resourceType"]))
        if self.outer is None:
            return [self._one(whole, whole, None, known, deadline)]
        contexts = self.outer.evaluate_node(whole, whole, self._environment(whole, known, deadline, []))
        if len(contexts) > CONTEXTS_MAX:
            raise engine.TooCostly(f"the context has {len(contexts)} results; at most {CONTEXTS_MAX} are")
        return [self._one(context, whole, context, known, deadline) for context in contexts]

    def _one(self, this: Node, whole: Node, context: Node | None, known: Known, deadline: float) -> _Result:
        names = frozenset(self.variables)
        program = _compiled(self.expression, "expression", this.type, whole.type, names)
        traced: Traced = []
        environment = self._environment(whole, known, deadline, traced)
        return _Result(context, program.evaluate_node(this, whole, environment), traced)

    def _environment(self, whole: Node, known: Known, deadline: float, traced: Traced) -> Environment:
        left = max(0.001, deadline - time.monotonic())
        return Environment(
            variables=self.variables,
            root_resource=whole,
            resolve=known.resolve,
            member_of=known.member_of,
            conforms_to=partial(known.conforms_to, whole),
            subsumes=known.subsumes,
            trace=lambda name, nodes: traced.append((name, nodes)),
            now=known.now,
            limits=Limits(steps_max=_STEPS_MAX, time_s=left),
        )


async def _results(connection: Connection, call: Call, known: Known, run: _Run) -> list[_Result]:
    """The results once nothing is lacking any more. In a thread, so that other requests go on."""
    known.now, left = call.now, _TIME_S
    for _ in range(ROUNDS_MAX):
        start = time.monotonic()
        try:
            found = await asyncio.to_thread(run.results, known, left)
        except engine.TooCostly:
            raise
        except FHIRPathError:
            if not known.lacks:
                raise
            found = []
        if not known.lacks:
            return found
        left -= time.monotonic() - start
        await known.fetch(connection, call)
    raise engine.TooCostly(f"references lead on after {ROUNDS_MAX} steps")


def _answer(
    inputs: Inputs, resource: Resource, outer: Program | None, results: list[_Result]
) -> dict[str, Any]:
    expression, context = str(inputs.one("expression")), inputs.one("context")
    about: list[dict[str, Any]] = [
        {"name": "evaluator", "valueString": f"fhirserver {configuration.version()} (R4)"},
        {"name": "expression", "valueString": expression},
    ]
    if context is not None:
        about.append({"name": "context", "valueString": context})
    about.append({"name": "resource", "resource": resource})
    about += [
        {"name": "variables", "part": given["part"]} for given in inputs.all("variables") if "part" in given
    ]
    if outer is None:
        names = frozenset(_variables(inputs))
        types = _compiled(
            expression, "expression", resource["resourceType"], resource["resourceType"], names
        ).types
        if types:
            about.append({"name": "expectedReturnType", "valueString": ", ".join(sorted(types))})
    return {
        "resourceType": "Parameters",
        "id": "fhirpath",
        "parameter": [
            {"name": "parameters", "part": about},
            *(_result(index, context, result) for index, result in enumerate(results)),
        ],
    }


def _result(index: int, context: str | None, result: _Result) -> dict[str, Any]:
    parts = [part_of(node) for node in result.nodes]
    for name, nodes in result.traced:
        inner = {"part": [part_of(node) for node in nodes]} if nodes else {}
        parts.append({"name": "trace", "valueString": name, **inner})
    made: dict[str, Any] = {"name": "result"}
    if result.context is not None:
        place = result.context.place
        made["valueString"] = f"{context}[{index}]" if place is None else place.path
    return made | ({"part": parts} if parts else {})
