"""Resources as XML text: https://hl7.org/fhir/R4/xml.html

The text is put together directly: every name comes from the structure tables, so only values need escaping.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from itertools import zip_longest
from operator import attrgetter
from typing import Any, Final

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] (lxml has no type stubs)

from fhirserver.errors import Structure
from fhirserver.fhir.structure import RESOURCE_TYPES, STRUCTURES, Element
from fhirserver.fhir.xml_common import FHIR, SPACE, XHTML, parse

_SPECIAL = re.compile('[&<>"\x00-\x1f\ud800-\udfff\ufffe\uffff]')
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
)
_HTML_ENTITY = re.compile(r"&(?!(?:lt|gt|amp|quot|apos);)([A-Za-z][A-Za-z0-9]{1,31};)")
_PLACES_MAX: Final = 40
_DIV = re.compile(r"<div(?=[\s/>])")
_ORDER = attrgetter("order")


class _Fault(Exception):
    """Something that XML cannot carry; `steps` collects the FHIRPath from the inside out."""

    def __init__(self, diagnostics: str) -> None:
        super().__init__(diagnostics)
        self.diagnostics = diagnostics
        self.steps: list[str] = []


@dataclass(frozen=True, slots=True)
class _Slot:
    """How one JSON property is written; `write` is given (out, value, companion, slot, pad)."""

    order: int
    name: str
    key: str
    companion: str
    type: str
    many: bool
    attr: bool
    step: str
    write: Callable[[list[str], Any, Any, _Slot, str], None]


def to_xml(resource: dict[str, Any], *, pretty: bool = False) -> bytes:
    """The resource as a UTF-8 document without XML declaration.

    Elements come in the order of the structure whatever the order of the properties. `pretty` indents by two
    spaces, except inside narratives, where white space counts. Raises Structure, with the FHIRPath, for
    characters that XML 1.0 cannot carry, narratives that are not well-formed, and what is not a resource.
    """
    out: list[str] = []
    pad = "\n" if pretty else ""
    try:
        _resource(out, resource, f' xmlns="{FHIR}"', pad)
    except _Fault as fault:
        root = resource.get("resourceType", "") if isinstance(resource, dict) else ""
        raise Structure(fault.diagnostics, ".".join([str(root), *reversed(fault.steps)])) from None
    except RecursionError:
        raise Structure("The resource is nested too deeply") from None
    return "".join(out).lstrip("\n").encode()


@cache
def _plan(type_name: str) -> dict[str, _Slot]:
    """JSON property (companions included) -> slot, for a type."""
    found = STRUCTURES[type_name]
    places = {element.name: place for place, element in enumerate(found.elements.values())}
    plan: dict[str, _Slot] = {}
    for key, (element, element_type) in found.keys.items():
        slot = _slot(places[element.name], key, element, element_type)
        plan[key] = slot
        if slot.write is _primitives or slot.write is _primitive:
            plan[slot.companion] = slot
    return plan


def _slot(order: int, key: str, element: Element, type_name: str) -> _Slot:
    if type_name == "xhtml":
        one, several = _narrative, _narrative
    elif type_name == "Resource":
        one, several = _inline, _inlines
    elif STRUCTURES[type_name].kind == "primitive":
        one, several = _primitive, _primitives
    else:
        one, several = _complex, _complexes
    write = several if element.many else one
    return _Slot(order, key, key, f"_{key}", type_name, element.many, element.attr, element.name, write)


def _resource(out: list[str], node: Any, namespace: str, pad: str) -> None:
    name = node.get("resourceType") if isinstance(node, dict) else None
    if name not in RESOURCE_TYPES:
        raise _Fault(f"{str(name)[:64]!r} is not a resource type of FHIR R4")
    out.append(f"{pad}<{name}{namespace}>")
    _children(out, node, name, f"{pad}  " if pad else "")
    out.append(f"{pad}</{name}>")


def _children(out: list[str], node: dict[str, Any], type_name: str, pad: str) -> None:
    plan = _plan(type_name)
    for slot in sorted(_present(node, plan), key=_ORDER):
        try:
            slot.write(out, node.get(slot.key), node.get(slot.companion), slot, pad)
        except _Fault as fault:
            last = fault.steps[-1] if fault.steps else ""
            if last.startswith("["):
                fault.steps[-1] = slot.step + last
            else:
                fault.steps.append(slot.step)
            raise


def _present(node: dict[str, Any], plan: dict[str, _Slot]) -> Iterator[_Slot]:
    """The slots that the node fills, each once, attributes aside."""
    for key in node:
        slot = plan.get(key)
        if slot is None:
            if key != "resourceType":
                raise _Fault(f"The property {str(key)[:64]!r} is not defined here")
        elif not slot.attr and (slot.key == key or slot.key not in node):
            yield slot


def _attributes(node: Any, type_name: str) -> str:
    """` id="…" url="…"` as far as the node has them. https://hl7.org/fhir/R4/xml.html"""
    if not isinstance(node, dict):
        raise _Fault("An object is expected here")
    text = f' id="{_value(node["id"])}"' if "id" in node else ""
    if type_name == "Extension" and "url" in node:
        text += f' url="{_value(node["url"])}"'
    return text


def _complex(out: list[str], node: Any, _: Any, slot: _Slot, pad: str) -> None:
    if node is None:
        return
    start = len(out)
    attributes = _attributes(node, slot.type)
    out.append(f"{pad}<{slot.name}{attributes}>")
    _children(out, node, slot.type, f"{pad}  " if pad else "")
    if len(out) == start + 1:
        out[start] = f"{pad}<{slot.name}{attributes}/>"
    else:
        out.append(f"{pad}</{slot.name}>")


def _complexes(out: list[str], nodes: Any, _: Any, slot: _Slot, pad: str) -> None:
    for place, node in enumerate(_array(nodes)):
        try:
            _complex(out, node, None, slot, pad)
        except _Fault as fault:
            fault.steps.append(f"[{place}]")
            raise


def _inline(out: list[str], node: Any, _: Any, slot: _Slot, pad: str) -> None:
    """A resource inside another: https://hl7.org/fhir/R4/references.html#contained"""
    if node is None:
        return
    out.append(f"{pad}<{slot.name}>")
    _resource(out, node, "", f"{pad}  " if pad else "")
    out.append(f"{pad}</{slot.name}>")


def _inlines(out: list[str], nodes: Any, _: Any, slot: _Slot, pad: str) -> None:
    for place, node in enumerate(_array(nodes)):
        try:
            _inline(out, node, None, slot, pad)
        except _Fault as fault:
            fault.steps.append(f"[{place}]")
            raise


def _primitive(out: list[str], value: Any, companion: Any, slot: _Slot, pad: str) -> None:
    """A value with the id and extensions of its `_x` companion: https://hl7.org/fhir/R4/json.html#primitive"""
    if companion is None:
        if value is not None:
            out.append(f'{pad}<{slot.name} value="{_value(value)}"/>')
        return
    attributes = _attributes(companion, "Element")
    if value is not None:
        attributes += f' value="{_value(value)}"'
    start = len(out)
    out.append(f"{pad}<{slot.name}{attributes}>")
    _children(out, companion, "Element", f"{pad}  " if pad else "")
    if len(out) == start + 1:
        out[start] = f"{pad}<{slot.name}{attributes}/>"
    else:
        out.append(f"{pad}</{slot.name}>")


def _primitives(out: list[str], values: Any, companions: Any, slot: _Slot, pad: str) -> None:
    pairs = zip_longest(_array(values), _array(companions))
    for place, (value, companion) in enumerate(pairs):
        try:
            _primitive(out, value, companion, slot, pad)
        except _Fault as fault:
            fault.steps.append(f"[{place}]")
            raise


def _array(value: Any) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise _Fault("An array is expected here")
    return value


def _value(value: Any) -> str:
    """The text of a primitive as it stands between the quotes of an attribute."""
    if type(value) is str:
        if _SPECIAL.search(value) is None:
            return value
        if (illegal := _ILLEGAL.search(value)) is not None:
            raise _Fault(f"The character U+{ord(illegal[0]):04X} cannot be written in XML 1.0; ask for JSON")
        return value.translate(_ESCAPES)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, int | float):
        return str(value)
    raise _Fault("A primitive value is expected here")


def _decimal(value: Decimal) -> str:
    """All digits of the value.

    A positive exponent stays, for writing it out would claim precision; a very negative one, for its length.
    """
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and -_PLACES_MAX <= exponent <= 0:
        return format(value, "f")
    return str(value)


def _narrative(out: list[str], text: Any, _: Any, slot: _Slot, pad: str) -> None:
    """Narrative.div, character for character: https://hl7.org/fhir/R4/narrative.html#xhtml

    HTML entities, which XML does not know, become the characters they stand for, and a missing namespace
    is added.
    """
    if text is None:
        return
    if not isinstance(text, str):
        raise _Fault("The narrative must be text")
    text = text.strip(SPACE)
    if _HTML_ENTITY.search(text):
        text = _HTML_ENTITY.sub(lambda match: html.escape(html.unescape(match[0])), text)
    root = _parsed(text)
    if root.tag == slot.name:
        text = _DIV.sub(f'<{slot.name} xmlns="{XHTML}"', text, count=1)
    elif root.tag != f"{{{XHTML}}}{slot.name}":
        raise _Fault(f'The narrative must be one <div xmlns="{XHTML}">')
    out.append(pad + text)


def _parsed(text: str) -> etree._Element:
    if text.startswith("<?"):
        raise _Fault("The narrative must not have an XML declaration")
    try:
        return parse(text.encode())
    except UnicodeEncodeError:
        raise _Fault("The narrative has characters that XML cannot carry") from None
    except Structure as error:
        raise _Fault(f"Narrative: {error}") from None
