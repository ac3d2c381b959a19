"""Narrative.div: well-formed XHTML of the plain kind, without anything that acts.

Rules txt-1 and txt-2 of https://hl7.org/fhir/R4/narrative.html#Narrative.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] (lxml has no type stubs)

_XHTML: Final = "{http://www.w3.org/1999/xhtml}"
_ELEMENT_NAMES: Final = """
    a abbr acronym b big blockquote br caption cite code col colgroup dd dfn div dl dt em h1 h2 h3 h4 h5 h6 hr
    i img li ol p pre q samp small span strong sub sup table tbody td tfoot th thead tr tt ul var
"""
_ATTRIBUTE_NAMES: Final = """
    abbr accesskey align alt axis bgcolor border cellhalign cellpadding cellspacing cellvalign char charoff
    charset cite class colspan compact coords dir frame headers height href hreflang hspace id lang longdesc
    name nowrap rel rev rowspan rules scope shape span src start style summary tabindex title type valign
    value vspace width
    {http://www.w3.org/XML/1998/namespace}lang {http://www.w3.org/XML/1998/namespace}space
"""
_ELEMENTS: Final = frozenset(_XHTML + name for name in _ELEMENT_NAMES.split())
_ATTRIBUTES: Final = frozenset(_ATTRIBUTE_NAMES.split())
_LINKS: Final = ("href", "src", "cite", "longdesc")
_ACTIVE: Final = re.compile(r"(?:javascript|vbscript|data:(?!image/))", re.IGNORECASE)
_IGNORED: Final = re.compile(r"[\x00-\x20]+")
_ENTITY: Final = re.compile(r"Entity '(\w+)' not defined")
_FAULTS_MAX: Final = 5


def faults(div: str) -> list[str]:
    """What is wrong with the text of a div; empty when nothing is, at most a handful."""
    if not div.lstrip().startswith("<div"):
        return ["the narrative is one <div> element of XHTML, without declarations before it"]
    try:
        # parsers keep state while they work, so that each call has its own
        root = etree.fromstring(div.strip(), _parser())
    except (etree.XMLSyntaxError, ValueError) as error:
        return [_syntax(error)]
    if root.tag != _XHTML + "div":
        return [
            'the narrative\'s <div> is in the XHTML namespace: <div xmlns="http://www.w3.org/1999/xhtml">'
        ]
    found: list[str] = []
    for fault in _markup(root):
        if fault not in found:
            found.append(fault)
        if len(found) == _FAULTS_MAX:
            break
    if not found and not _has_content(root):
        found.append("the narrative has neither text nor an image")
    return found


def _parser() -> etree.XMLParser:
    return etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)


def _syntax(error: Exception) -> str:
    message = str(error).partition(" (<string>")[0]
    entity = _ENTITY.search(message)
    if entity:
        return f"&{entity[1]}; is no entity of XML; write the Unicode character itself"
    return f"the narrative is not well-formed XHTML: {message}"


def _markup(root: etree._Element) -> Iterator[str]:
    """Elements and attributes outside the allowed ones, and links that would run something."""
    for element in root.iter(etree.Element):
        tag = element.tag
        if tag not in _ELEMENTS:
            yield f"<{_local(str(tag))}> is not allowed in a narrative"
        for name, value in element.items():
            if name not in _ATTRIBUTES:
                yield f"the attribute {_local(name)} is not allowed in a narrative"
            elif name in _LINKS and _ACTIVE.match(_IGNORED.sub("", value)):
                yield f"the attribute {name} may not hold a script"


def _local(name: str) -> str:
    return name.rpartition("}")[2][:40]


def _has_content(root: etree._Element) -> bool:
    if any(text.strip() for text in root.itertext()):  # comments are not part of it
        return True
    return any(image.get("src") for image in root.iter(_XHTML + "img"))
