"""What reading and writing XML share: names, parsers without DTD or network, and the prolog check."""

from __future__ import annotations

import re
from typing import Final

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] (lxml has no type stubs)

from fhirserver.errors import Structure

FHIR: Final = "http://hl7.org/fhir"
XHTML: Final = "http://www.w3.org/1999/xhtml"
XSI: Final = "http://www.w3.org/2001/XMLSchema-instance"
SPACE: Final = " \t\r\n"
"""White space of XML 1.0; narrower than what `str.strip()` removes."""

_HUGE_BYTES: Final = 8 * 1024 * 1024
_DECLARATION = re.compile(rb"<\?xml\s[^>]*?\bencoding\s*=\s*[\"']([A-Za-z0-9._-]+)[\"']")
_SPACES = re.compile(rb"[ \t\r\n]*")
_UTF8_NAMES: Final = frozenset({b"utf-8", b"utf8", b"us-ascii", b"ascii"})


def _parser(*, huge: bool) -> etree.XMLParser:
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        attribute_defaults=False,
        huge_tree=huge,
    )


_SMALL = _parser(huge=False)
_HUGE = _parser(huge=True)


def parse(data: bytes) -> etree._Element:
    """The root element of a UTF-8 document without document type.

    libxml2 refuses attributes above 10 MB unless told otherwise, and Binary.data may be longer; that is only
    allowed for bodies long enough to need it. Raises Structure when the document is not well-formed.
    """
    data = data.removeprefix(b"\xef\xbb\xbf")
    check_prolog(data)
    try:
        return etree.fromstring(data, _HUGE if len(data) > _HUGE_BYTES else _SMALL)
    except etree.XMLSyntaxError as error:
        raise Structure(f"The XML is not well-formed: {error.msg}") from None


def check_prolog(data: bytes) -> None:
    """Refuse a document type and encodings other than UTF-8 before the parser sees them.

    A document type declaration is how entities are defined, and nothing in FHIR needs one
    (https://hl7.org/fhir/R4/security.html#narrative). It can only stand before the root element.
    """
    if data[:2] in (b"\xfe\xff", b"\xff\xfe") or b"\x00" in data[:4]:
        raise Structure("The XML is not encoded in UTF-8")
    declared = _DECLARATION.match(data)
    if declared is not None and declared[1].lower() not in _UTF8_NAMES:
        raise Structure(f"The XML declares the encoding {declared[1].decode()}; FHIR uses UTF-8")
    position = 0
    while True:
        match = _SPACES.match(data, position)
        position = match.end() if match else position
        if data.startswith(b"<!--", position):
            close = b"-->"
        elif data.startswith(b"<?", position):
            close = b"?>"
        elif data.startswith(b"<!", position):
            raise Structure("A document type declaration (<!DOCTYPE ...>) is not allowed")
        else:
            return
        end = data.find(close, position + 2)
        if end < 0:
            return
        position = end + len(close)


def local_name(tag: str) -> str:
    """The name without namespace, cut to a length that may stand in a message."""
    return tag.rpartition("}")[2][:64]
