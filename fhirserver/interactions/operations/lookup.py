"""CodeSystem/$lookup: https://hl7.org/fhir/R4/codesystem-operation-lookup.html"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.errors import Invalid, NotFound
from fhirserver.fhir import json
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.operations.asked import stored
from fhirserver.interactions.operations.inputs import Inputs, parameters
from fhirserver.terminology.builtin import WithBuiltIn
from fhirserver.terminology.concept import Concept
from fhirserver.terminology.library import unknown_system
from fhirserver.terminology.system import Questions, System

Part = tuple[str, str, Any]

_RELATED: Final = ("parent", "child")


async def lookup(connection: Connection, call: Call, inputs: Inputs) -> Answer:
    """200 with Parameters. Raises NotFound for a code or code system that is not held, Invalid."""
    url, code, version = _asked(inputs)
    library = WithBuiltIn(stored(connection, call))
    system = await library.code_system(url, version)
    if system is None:
        raise NotFound(str(unknown_system(url, version)))
    await system.learn(Questions(frozenset((code,)), related=True), library.matching)
    written = system.find(code)
    if written is None:
        raise NotFound(f"the code system '{system.name}' has no code '{code}' here")
    return Answer(200, json.dumps(parameters(list(_parts(system, system.concept(written), inputs)))))


def _asked(inputs: Inputs) -> tuple[str, str, str | None]:
    """System, code and version."""
    code, system, coding = inputs.one("code"), inputs.one("system"), inputs.one("coding")
    version = inputs.one("version")
    if coding is not None:
        if code is not None or system is not None:
            raise Invalid("either 'coding' or 'code' and 'system' say what is looked up, not both")
        code, system = coding.get("code"), coding.get("system")
        version = version or coding.get("version")
    if code is None or system is None:
        raise Invalid("a code is looked up by 'code' and 'system', or by a 'coding' that has both")
    return system, code, version


def _parts(system: System, concept: Concept, inputs: Inputs) -> Iterable[Part]:
    wanted = frozenset(inputs.all("property"))
    display = concept.displayed(inputs.one("displayLanguage"))
    yield "name", "string", system.title
    if system.version is not None:
        yield "version", "string", system.version
    yield "display", "string", display or concept.code
    for one in concept.designations:
        if not wanted or "designation" in wanted or f"lang.{one.language}" in wanted:
            found = one.element()
            texts = [("language", "code"), ("use", "Coding"), ("value", "string")]
            yield (
                "designation",
                "part",
                [(name, type_, found[name]) for name, type_ in texts if name in found],
            )
    for parts in _properties(system, concept):
        if not wanted or parts[0][2] in wanted:
            yield "property", "part", parts


def _properties(system: System, concept: Concept) -> Iterable[list[Part]]:
    """Those that the system gives it, and those that every code has."""
    if concept.definition is not None:
        yield [("code", "code", "definition"), ("value", "string", concept.definition)]
    if not any(one.name == "inactive" for one in concept.properties):
        yield [("code", "code", "inactive"), ("value", "boolean", system.is_inactive(concept.code))]
    for one in concept.properties:
        if one.name not in _RELATED:
            type_ = one.key.removeprefix("value")
            value: Part = ("value", type_, one.value)
            described = _described(system, one.value) if one.key == "valueCode" else []
            yield [("code", "code", one.name), value, *described]
    for name in _RELATED:
        related = system.structure.parents if name == "parent" else system.structure.children
        for code in related(concept.code):
            yield [("code", "code", name), ("value", "code", code), *_described(system, code)]


def _described(system: System, code: str) -> list[Part]:
    written = system.find(code)
    display = None if written is None else system.concept(written).display
    return [] if display is None else [("description", "string", display)]
