"""Which definition, and which codes, an operation of the terminology is about.

https://hl7.org/fhir/R4/valueset-operations.html, https://hl7.org/fhir/R4/codesystem-operations.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.errors import Invalid, NotFound
from fhirserver.interactions.call import Call
from fhirserver.interactions.operations.inputs import Inputs
from fhirserver.interactions.searching import context_of
from fhirserver.interactions.stored import Stored
from fhirserver.terminology.builtin import WithBuiltIn
from fhirserver.terminology.cache import Cache
from fhirserver.terminology.codesystem import CodeSystem
from fhirserver.terminology.library import Library
from fhirserver.terminology.service import Terminology
from fhirserver.terminology.system import System
from fhirserver.terminology.valueset import ValueSet
from fhirserver.terminology.verdict import Asked

NOTHING_KEPT: Final = Cache(weight_max=0)
"""For what is worked out of definitions that come with a request."""


def stored(connection: Connection, call: Call) -> Stored:
    """The definitions that are stored and that the caller may see."""
    return Stored(connection, context_of(call), call.services.terminology)


def terminology(library: Library, call: Call, cache: Cache | None = None) -> Terminology:
    """What answers from a library."""
    services = call.services
    kept = services.terminology if cache is None else cache
    return Terminology(library, kept, services.settings.terminology_codes_max)


async def value_set_of(
    connection: Connection, call: Call, library: Library, inputs: Inputs
) -> tuple[ValueSet, Cache | None]:
    """The value set that is asked about, and where results are kept if not with those of all.

    Raises Invalid where it is not said once, NotFound.
    """
    url, given = inputs.one("url"), inputs.one("valueSet")
    require_one(call, [("url", url), ("valueSet", given)])
    version = inputs.one("valueSetVersion")
    if version is not None and url is None:
        raise Invalid("'valueSetVersion' says which version of 'url' is meant; there is none")
    if given is not None:
        return ValueSet.of(given), NOTHING_KEPT
    if url is None:
        found = await stored(connection, call).value_set_at(call.resource_id)
    else:
        name, _, its = url.partition("|")
        if its and version not in (None, its):
            raise Invalid(f"'url' names version '{its}', 'valueSetVersion' names '{version}'")
        found = await library.value_set(name, version or its or None)
    if found is None:
        what = f"'{url or call.resource_id}'" + (f" of version '{version}'" if version else "")
        raise NotFound(f"this server holds no value set {what}")
    return found, None


async def code_system_of(
    connection: Connection, call: Call, url: str | None, version: str | None, given: Any = None
) -> System | None:
    """The code system that is asked about; None where its URL is not held.

    Raises NotFound for a place where there is none.
    """
    if given is not None:
        return CodeSystem(given)
    if url is not None:
        return await WithBuiltIn(stored(connection, call)).code_system(url, version)
    found = await stored(connection, call).code_system_at(call.resource_id)
    if found is None:
        raise NotFound(f"CodeSystem/{call.id} is not known")
    if version not in (None, found.version):
        raise NotFound(f"CodeSystem/{call.id} is version {found.version!r}, not {version!r}")
    return found


def require_one(call: Call, ways: Sequence[tuple[str, Any]]) -> None:
    """Raises Invalid unless the thing is named in one way only, of which its place is one."""
    named = [name for name, value in ways if value is not None]
    if call.id is not None:
        named.append("the place")
    if len(named) != 1:
        choice = ", ".join(f"'{name}'" for name, _ in ways)
        said = " and ".join(named) if named else "none"
        raise Invalid(f"one of {choice} and the place of a {call.type} says what is meant; here {said} does")


def codings(inputs: Inputs, system: str | None, version: str | None) -> list[Asked]:
    """What is to be judged, from code, coding or codeableConcept. Raises Invalid."""
    code, coding, concept = (inputs.one(name) for name in ("code", "coding", "codeableConcept"))
    given = [name for name in ("code", "coding", "codeableConcept") if inputs.one(name) is not None]
    if len(given) != 1:
        raise Invalid(
            f"one of 'code', 'coding' and 'codeableConcept' says what is to be validated; here"
            f" {' and '.join(given) if given else 'none'} does"
        )
    display = inputs.one("display")
    if display is not None and code is None:
        raise Invalid("'display' goes with 'code'; a coding has its own")
    more = {"abstract": inputs.one("abstract") is True, "language": inputs.one("displayLanguage")}
    if code is not None:
        return [Asked(system, code, display, version, **more)]
    every: list[dict[str, Any]] = [coding] if coding is not None else (concept or {}).get("coding", [])
    found = [
        Asked(one.get("system"), one["code"], one.get("display"), one.get("version") or version, **more)
        for one in every
        if "code" in one
    ]
    if not found:
        raise Invalid(f"'{given[0]}' has no code that could be validated")
    return found
