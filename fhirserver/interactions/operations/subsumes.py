"""CodeSystem/$subsumes: https://hl7.org/fhir/R4/codesystem-operation-subsumes.html"""

from __future__ import annotations

from fhirserver.db.pool import Connection
from fhirserver.errors import Invalid, NotFound, NotSupported
from fhirserver.fhir import json
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.operations.asked import code_system_of, require_one, stored
from fhirserver.interactions.operations.inputs import Inputs, parameters
from fhirserver.terminology.library import unknown_system
from fhirserver.terminology.system import Questions, System


async def subsumes(connection: Connection, call: Call, inputs: Inputs) -> Answer:
    """200 with Parameters. Raises NotFound for what is not held, NotEnumerable where the code system does not
    say what subsumes what, Invalid."""
    (of_a, a), (of_b, b) = _asked(inputs, "A"), _asked(inputs, "B")
    system = await _system(connection, call, inputs, {one for one in (of_a, of_b) if one is not None})
    matching = stored(connection, call).matching
    await system.learn(Questions(frozenset((a, b)), related=True), matching)
    return Answer(200, json.dumps(parameters([("outcome", "code", _outcome(system, a, b))])))


def _asked(inputs: Inputs, which: str) -> tuple[str | None, str]:
    """System and code of one of both."""
    code, coding = inputs.one(f"code{which}"), inputs.one(f"coding{which}")
    if (code is None) == (coding is None):
        raise Invalid(f"either 'code{which}' or 'coding{which}' is needed")
    if coding is None:
        return None, str(code)
    if "code" not in coding:
        raise Invalid(f"'coding{which}' has no code")
    return coding.get("system"), coding["code"]


async def _system(connection: Connection, call: Call, inputs: Inputs, of_codings: set[str]) -> System:
    url, version = inputs.one("system"), inputs.one("version")
    if url is None and call.id is None and len(of_codings) == 1:
        (url,) = of_codings
    require_one(call, [("system", url)])
    found = await code_system_of(connection, call, url, version)
    if found is None:
        raise NotFound(str(unknown_system(str(url), version)))
    if of_codings - {found.url}:
        raise NotSupported(
            f"codes of {', '.join(sorted(of_codings | {found.url}))}: what one subsumes of another is not"
            " known"
        )
    return found


def _outcome(system: System, a: str, b: str) -> str:
    """https://hl7.org/fhir/R4/valueset-concept-subsumption-outcome.html"""
    known_a, known_b = _known(system, a), _known(system, b)
    if known_a == known_b:
        return "equivalent"
    if known_a in system.subsumption.above(known_b):
        return "equivalent" if known_b in system.subsumption.above(known_a) else "subsumes"
    return "subsumed-by" if known_b in system.subsumption.above(known_a) else "not-subsumed"


def _known(system: System, code: str) -> str:
    found = system.find(code)
    if found is None:
        raise NotFound(f"the code system '{system.name}' has no code '{code}' here")
    return found
