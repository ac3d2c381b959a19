"""FHIRPath: parse an expression, compile it for a type, evaluate it on a resource.

http://hl7.org/fhirpath/N1/, https://hl7.org/fhir/R4/fhirpath.html
"""

from fhirserver.fhir.fhirpath.compile import Program, compile_expression, compile_located
from fhirserver.fhir.fhirpath.environment import Environment, Limits
from fhirserver.fhir.fhirpath.parser import parse
from fhirserver.fhir.fhirpath.tree import FHIRPathError, TooCostly
from fhirserver.fhir.fhirpath.types import Node

__all__ = [
    "Environment",
    "FHIRPathError",
    "Limits",
    "Node",
    "Program",
    "TooCostly",
    "compile_expression",
    "compile_located",
    "parse",
]
