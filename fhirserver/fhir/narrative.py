"""Whether a narrative's XHTML is what FHIR permits: https://hl7.org/fhir/R4/narrative.html#xhtml

Formatting, tables, links and images; nothing active, no forms, frames, objects or styles from elsewhere.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] (lxml has no type stubs)

from fhirserver.fhir.xml_common import XHTML, local_name

_PARTS_MAX: Final = 100_000
_KEPT_LENGTH_MAX: Final = 32_768
_ELEMENTS: Final = frozenset(
    {
        "p", "br", "div", "h1", "h2", "h3", "h4", "h5", "h6", "a", "span", "b", "em", "i", "strong",
        "small", "big", "tt", "dfn", "q", "var", "abbr", "acronym", "cite", "blockquote", "hr", "address",
        "bdo", "kbd", "sub", "sup", "ul", "ol", "li", "dl", "dt", "dd", "pre", "table", "caption",
        "colgroup", "col", "thead", "tr", "tfoot", "tbody", "th", "td", "code", "samp", "img", "map",
        "area", "ins", "del",
    }
)  # fmt: skip
_ATTRIBUTES: Final = frozenset(
    {
        "title", "style", "class", "id", "lang", "dir", "space", "accesskey", "tabindex", "span", "width",
        "align", "valign", "char", "charoff", "abbr", "axis", "headers", "scope", "rowspan", "colspan",
    }
)  # fmt: skip
_OF_ELEMENTS: Final = {
    "a": frozenset(("href", "name", "target", "rel", "type", "charset", "shape", "coords")),
    "area": frozenset(("href", "shape", "coords", "alt", "nohref")),
    "img": frozenset(("src", "alt", "border", "height", "usemap", "longdesc", "ismap")),
    "map": frozenset(("name",)),
    "blockquote": frozenset(("cite",)),
    "q": frozenset(("cite",)),
    "ins": frozenset(("cite", "datetime")),
    "del": frozenset(("cite", "datetime")),
    "table": frozenset(("border", "summary", "cellpadding", "cellspacing", "frame", "rules", "bgcolor")),
    "tr": frozenset(("bgcolor",)),
    "td": frozenset(("nowrap", "bgcolor", "height")),
    "th": frozenset(("nowrap", "bgcolor", "height")),
    "ol": frozenset(("type", "start")),
    "ul": frozenset(("type",)),
    "li": frozenset(("value", "type")),
    "br": frozenset(("clear",)),
    "hr": frozenset(("size", "noshade")),
    "pre": frozenset(("width",)),
}
_LINKS: Final = frozenset(("href", "src", "cite", "longdesc"))
_ACTIVE: Final = ("javascript:", "vbscript:", "data:text/html")


def _fault_of(element: etree._Element) -> str | None:
    """What is wrong with one element, its content apart."""
    if not isinstance(element.tag, str):
        return None if element.tag is etree.Comment else "it holds a processing instruction or an entity"
    name = local_name(element.tag)
    if not element.tag.startswith(f"{{{XHTML}}}") or name not in _ELEMENTS:
        return f"<{name[:40]}> is not permitted"
    permitted = _OF_ELEMENTS.get(name, frozenset())
    for attribute, value in element.attrib.items():
        key = local_name(attribute)
        if key not in _ATTRIBUTES and key not in permitted:
            return f"the attribute '{key[:40]}' of <{name}> is not permitted"
        if key in _LINKS and "".join(value.split()).lower().startswith(_ACTIVE):
            return f"the attribute '{key}' of <{name}> must not run a script"
    return None


def fault(div: str) -> str | None:
    """What is wrong with the XHTML of `Narrative.div`; None if nothing is.

    It is a div of the XHTML namespace with some text or an image in it (the rules txt-1 and txt-2, which
    ask about each narrative one after the other).
    """
    return _kept(div) if len(div) <= _KEPT_LENGTH_MAX else _fault(div)


@lru_cache(maxsize=64)
def _kept(div: str) -> str | None:
    return _fault(div)


def _fault(div: str) -> str | None:
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_pis=False
    )
    try:
        root = etree.fromstring(div.encode(), parser)
    except etree.XMLSyntaxError as error:
        return f"it is not well-formed: {error.msg}"
    if root.getroottree().docinfo.doctype:
        return "it has a document type"
    if root.tag != f"{{{XHTML}}}div":
        return "it is not a div of the namespace http://www.w3.org/1999/xhtml"
    has_content = False
    for count, element in enumerate(root.iter()):
        if count > _PARTS_MAX:
            return f"it has more than {_PARTS_MAX} elements"
        found = _fault_of(element)
        if found is not None:
            return found
        if not isinstance(element.tag, str):
            continue
        has_content = has_content or local_name(element.tag) == "img" or bool((element.text or "").strip())
        has_content = has_content or bool((element.tail or "").strip())
    return None if has_content else "it has no content"
