"""XML form of resources, driven by the structure tables: https://hl7.org/fhir/R4/xml.html

`from_xml` and `to_xml` are inverse: what one writes the other reads back unchanged, decimals to the digit and
narratives to the character. Reading lives in `xml_read`, writing in `xml_write`.
"""

from __future__ import annotations

from fhirserver.fhir.xml_read import from_xml
from fhirserver.fhir.xml_write import to_xml

__all__ = ["from_xml", "to_xml"]
