"""Narrative.div in XML: its source text where possible, so that reading changes no character.

https://hl7.org/fhir/R4/narrative.html#xhtml
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] (lxml has no type stubs)

from fhirserver.fhir.xml_common import XHTML, local_name

_TOKEN = re.compile(
    rb"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<\?.*?\?>"
    rb"|<(?P<close>/)?(?:[^\s<>/:\"'!?]+:)?(?P<div>div)(?=[\s/>])"
    rb"(?:[^>\"'/]|/(?!>)|\"[^\"]*\"|'[^']*')*(?P<empty>/)?>",
    re.DOTALL,
)
_XML = "{http://www.w3.org/XML/1998/namespace}"
_OWN_NAMESPACE = re.compile(r"<div\s[^>]*?\bxmlns\s*=\s*[\"']http://www\.w3\.org/1999/xhtml[\"']")


def divs(data: bytes) -> Iterator[str | None]:
    """The source of each outermost div of a well-formed document, in document order.

    None for one that cannot stand on its own, because it leans on a namespace declared further out.
    """
    depth, start = 0, 0
    for token in _TOKEN.finditer(data):
        if token["div"] is None:
            continue
        if token["close"] is not None:
            depth -= 1
        else:
            start = token.start() if depth == 0 else start
            depth += token["empty"] is None
        if depth == 0:
            yield _standing_alone(data[start : token.end()])


def _standing_alone(source: bytes) -> str | None:
    text = source.decode().replace("\r\n", "\n").replace("\r", "\n")
    return text if _OWN_NAMESPACE.match(text) else None


def serialized(div: etree._Element, source: str | None) -> str:
    """The div as text. Raises ValueError, with what is wrong, for anything in it that is not XHTML."""
    prefixed = False
    for element in div.iter(etree.Element):
        if not element.tag.startswith(f"{{{XHTML}}}"):
            raise ValueError(f"<{local_name(element.tag)}> is not in the namespace {XHTML}")
        for name, _ in element.items():
            if name.startswith("{") and not name.startswith(_XML):
                raise ValueError(f"the attribute {local_name(name)} is not one of XHTML")
        prefixed = prefixed or element.prefix is not None
    if source is not None and not prefixed:
        return source
    try:
        return etree.tostring(_cleaned(div), encoding="unicode", with_tail=False)
    except RecursionError:
        raise ValueError("the narrative is nested too deeply") from None


def _cleaned(div: etree._Element) -> etree._Element:
    """A copy with XHTML as the default namespace and none that is not used."""
    copy = etree.Element(div.tag, dict(div.attrib), nsmap={None: XHTML})
    copy.text = div.text
    for child in div:
        copy.append(_cleaned(child) if isinstance(child.tag, str) else _same(child))
    for child, original in zip(copy, div, strict=True):
        child.tail = original.tail
    return copy


def _same(node: etree._Element) -> etree._Element:
    return etree.Comment(node.text) if isinstance(node, etree._Comment) else etree.PI(node.target, node.text)
