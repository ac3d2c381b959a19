"""Types: `ofType`, `as`, `is`, `type`: http://hl7.org/fhirpath/N1/#types"""

from __future__ import annotations

from typing import Final

from fhirserver.fhir.fhirpath.functions.site import Entry, Site
from fhirserver.fhir.fhirpath.navigate import only_type, type_test
from fhirserver.fhir.fhirpath.parser import type_argument
from fhirserver.fhir.fhirpath.runtime import Compiled, Frame
from fhirserver.fhir.fhirpath.types import Node, type_name
from fhirserver.fhir.structure import STRUCTURES


def _of_type(site: Site) -> Compiled:
    return only_type(site.source, type_name(type_argument(site.arguments[0]), site.at))


def _is(site: Site) -> Compiled:
    return type_test(site.source, type_name(type_argument(site.arguments[0]), site.at), site.at)


def _type(site: Site) -> Compiled:
    """A SimpleTypeInfo or ClassInfo for each item: http://hl7.org/fhirpath/N1/#reflection"""
    run_source = site.source.run

    def run(frame: Frame) -> list[Node]:
        return [_info(node.type) for node in run_source(frame)]

    return site.gives(run, "System.SimpleTypeInfo", "System.ClassInfo")


def _info(type_: str) -> Node:
    namespace, _, name = type_.rpartition(".")
    if namespace == "System":
        value = {"namespace": "System", "name": name, "baseType": "System.Any"}
        return Node(value, "System.SimpleTypeInfo")
    found = STRUCTURES[type_]
    if found.kind == "backbone":
        name, base = found.base or "BackboneElement", "Element"
    else:
        name, base = type_, found.base
    value = {"namespace": "FHIR", "name": name, "baseType": f"FHIR.{base}" if base else "System.Any"}
    return Node(value, "System.SimpleTypeInfo" if found.kind == "primitive" else "System.ClassInfo")


FUNCTIONS: Final[dict[str, Entry]] = {
    "ofType": (1, 1, _of_type),
    "as": (1, 1, _of_type),
    "is": (1, 1, _is),
    "type": (0, 0, _type),
}
