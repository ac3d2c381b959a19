"""The function library: one entry per function, each compiling its call.

http://hl7.org/fhirpath/N1/#functions, https://hl7.org/fhir/R4/fhirpath.html#functions
"""

from __future__ import annotations

from typing import Final

from fhirserver.fhir.fhirpath.functions import (
    conversion,
    fhir,
    filtering,
    kinds,
    maths,
    patterns,
    references,
    strings,
    utility,
)
from fhirserver.fhir.fhirpath.functions.references import resolves_to, target, target_is
from fhirserver.fhir.fhirpath.functions.site import Entry, Site
from fhirserver.fhir.fhirpath.runtime import Compiled
from fhirserver.fhir.fhirpath.tree import FHIRPathError
from fhirserver.fhir.suggest import nearest

__all__ = ["FUNCTIONS", "call", "resolves_to", "target", "target_is"]

FUNCTIONS: Final[dict[str, Entry]] = {
    **filtering.FUNCTIONS,
    **conversion.FUNCTIONS,
    **strings.FUNCTIONS,
    **patterns.FUNCTIONS,
    **maths.FUNCTIONS,
    **utility.FUNCTIONS,
    **kinds.FUNCTIONS,
    **references.FUNCTIONS,
    **fhir.FUNCTIONS,
}
"""Name -> least and most arguments, builder."""


def call(site: Site) -> Compiled:
    """Compile a call. Raises FHIRPathError for an unknown function or a wrong number of arguments."""
    entry = FUNCTIONS.get(site.name)
    if entry is None:
        near = nearest(site.name, FUNCTIONS)
        hint = f"; did you mean {' or '.join(f'{name}()' for name in near)}?" if near else ""
        raise FHIRPathError(f"there is no function {site.name[:64]}(){hint}", site.at)
    least, most, build = entry
    count = len(site.arguments)
    if not least <= count <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise FHIRPathError(f"{site.name}() takes {wanted} argument(s), not {count}", site.at)
    return build(site)
