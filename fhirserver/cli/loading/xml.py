"""Looks into XML resources and turns collections into transactions: https://hl7.org/fhir/R4/xml.html.

Entities, DTDs and the network are off: files to load may come from anywhere.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] (lxml has no type stubs)

from fhirserver.cli.loading.peek import Head, target

_NAMESPACE: Final = "http://hl7.org/fhir"
_DROPPED: Final = ("total", "link", "signature")


def _parse(data: bytes) -> etree._Element:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise ValueError(f"is not well-formed XML: {error.msg}") from error
    if etree.QName(root).namespace != _NAMESPACE:
        raise ValueError(f"is not a FHIR resource: its namespace is not {_NAMESPACE}")
    if root.getroottree().docinfo.doctype:
        raise ValueError("has a document type declaration, which FHIR does not allow")
    return root


def _tag(name: str) -> str:
    return f"{{{_NAMESPACE}}}{name}"


def _value(parent: etree._Element, name: str) -> str | None:
    found = parent.find(_tag(name))
    return None if found is None else found.get("value")


def _head(root: etree._Element) -> Head:
    name = etree.QName(root).localname
    kind = _value(root, "type") if name == "Bundle" else None
    return Head(name, _value(root, "id"), msgspec.Raw(msgspec.json.encode(kind)))


def head(data: bytes) -> Head:
    """Type, id and Bundle type of a resource. Raises ValueError."""
    return _head(_parse(data))


class Regrouped(NamedTuple):
    """An entry kept: its number in the file, what is asked for it, and its fullUrl (empty if absent)."""

    number: int
    method: str
    url: str
    full_url: str


def regrouped(data: bytes, kind: str) -> tuple[bytes, list[Regrouped]]:
    """A collection rewritten as a Bundle of type `kind`, transaction or batch, and the entries kept.

    Entries with an id become PUTs, others POSTs. Raises ValueError.
    """
    root = _parse(data)
    for name in _DROPPED:
        for element in root.findall(_tag(name)):
            root.remove(element)
    written = root.find(_tag("type"))
    if written is None:
        raise ValueError("is a Bundle without type")
    written.set("value", kind)
    kept: list[Regrouped] = []
    for number, entry in enumerate(root.findall(_tag("entry"))):
        resource = entry.find(_tag("resource"))
        if resource is None or not len(resource):
            root.remove(entry)
            continue
        found = _head(resource[0])
        method, url = target(found.resourceType, found.id)
        _request(entry, method, url)
        kept.append(Regrouped(number, method, url, _value(entry, "fullUrl") or ""))
    return etree.tostring(root, encoding="UTF-8", xml_declaration=True), kept


def _request(entry: etree._Element, method: str, url: str) -> None:
    for name in ("link", "search", "request", "response"):
        for element in entry.findall(_tag(name)):
            entry.remove(element)
    request = etree.SubElement(entry, _tag("request"))
    etree.SubElement(request, _tag("method")).set("value", method)
    etree.SubElement(request, _tag("url")).set("value", url)
