"""Strings: http://hl7.org/fhirpath/N1/#string-manipulation, and the additions of later drafts."""

from __future__ import annotations

import base64
import binascii
import html
import json
from collections.abc import Callable
from typing import Final

from fhirserver.fhir.fhirpath.functions.site import Entry, Site, scalar
from fhirserver.fhir.fhirpath.runtime import Compiled, Frame
from fhirserver.fhir.fhirpath.tree import FHIRPathError
from fhirserver.fhir.fhirpath.types import Node
from fhirserver.fhir.fhirpath.values import BOOLEAN, INTEGER, KINDS, STRING, one, string


def _substring(text: str, start: int, length: int | None = None) -> str | None:
    if not 0 <= start < len(text):
        return None
    return text[start:] if length is None else text[start : start + max(0, length)]


def _substring_entry(site: Site) -> Compiled:
    """`substring(start, length)`: a length that is nothing counts as none given."""
    run_source, what, at = site.source.run, site.what, site.at
    runs = [site.argument(index).run for index in range(len(site.arguments))]

    def run(frame: Frame) -> list[Node]:
        text = one(run_source(frame), STRING, what, at)
        start, *rest = [one(argument(frame), INTEGER, what, at) for argument in runs]
        if text is None or start is None:
            return []
        frame.root.require_length(len(text))
        found = _substring(text, start, *rest)
        return [] if found is None else [string(found)]

    return site.gives(run, "System.String")


def _replace(site: Site) -> Compiled:
    run_source, what, at = site.source.run, site.what, site.at
    run_old, run_new = site.argument(0).run, site.argument(1).run

    def run(frame: Frame) -> list[Node]:
        text = one(run_source(frame), STRING, what, at)
        old, new = one(run_old(frame), STRING, what, at), one(run_new(frame), STRING, what, at)
        if text is None or old is None or new is None:
            return []
        frame.root.require_length(len(text) + text.count(old) * len(new))
        if old:
            return [string(text.replace(old, new))]
        return [string("".join(new + character for character in text) + new)]

    return site.gives(run, "System.String")


def _to_chars(site: Site) -> Compiled:
    run_source = site.source.run

    def run(frame: Frame) -> list[Node]:
        text = one(run_source(frame), STRING, site.what, site.at)
        frame.root.require_room(len(text or ""))
        return [string(character) for character in text or ""]

    return site.gives(run, "System.String")


def _split(site: Site) -> Compiled:
    run_source, run_separator = site.source.run, site.argument(0).run

    def run(frame: Frame) -> list[Node]:
        text = one(run_source(frame), STRING, site.what, site.at)
        separator = one(run_separator(frame), STRING, site.what, site.at)
        if text is None or separator is None:
            return []
        frame.root.require_room(text.count(separator) + 1)
        return [string(part) for part in (text.split(separator) if separator else text)]

    return site.gives(run, "System.String")


def _join(site: Site) -> Compiled:
    run_source = site.source.run
    run_separator = site.argument(0).run if site.arguments else None

    def run(frame: Frame) -> list[Node]:
        nodes = [node for node in run_source(frame) if node.value is not None]
        separator = "" if run_separator is None else one(run_separator(frame), STRING, site.what, site.at)
        if separator is None:
            return []
        if any(KINDS.get(node.type) != STRING for node in nodes):
            raise site.error("join() takes Strings only")
        frame.root.require_length(sum(len(node.value) + len(separator) for node in nodes))
        return [string(separator.join(node.value for node in nodes))] if nodes else []

    return site.gives(run, "System.String")


_ENCODERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "base64": base64.b64encode,
    "urlbase64": base64.urlsafe_b64encode,
    "hex": binascii.hexlify,
}
_DECODERS: Final[dict[str, Callable[[str], bytes]]] = {
    "base64": lambda text: base64.b64decode(text, validate=True),
    "urlbase64": lambda text: base64.b64decode(text, altchars="-_", validate=True),
    "hex": binascii.unhexlify,
}


def _known(name: str, known: dict[str, object] | tuple[str, ...]) -> str:
    if name not in known:
        raise FHIRPathError(f"'{name[:40]}' is not known here; there is {', '.join(known)}")
    return name


def _encode(text: str, format_: str) -> str:
    return _ENCODERS[_known(format_, (*_ENCODERS,))](text.encode()).decode()


def _decode(text: str, format_: str) -> str | None:
    """None for what is no text in that encoding."""
    decoder = _DECODERS[_known(format_, (*_DECODERS,))]
    try:
        return decoder(text).decode()
    except ValueError:
        return None


_TARGETS: Final = ("html", "json")


def _escape(text: str, target: str) -> str:
    return (
        html.escape(text)
        if _known(target, _TARGETS) == "html"
        else json.dumps(text, ensure_ascii=False)[1:-1]
    )


def _unescape(text: str, target: str) -> str | None:
    if _known(target, _TARGETS) == "html":
        return html.unescape(text)
    try:
        found = json.loads(f'"{text}"')
    except ValueError:
        return text if '"' in text else None
    return found if isinstance(found, str) else None


FUNCTIONS: Final[dict[str, Entry]] = {
    "indexOf": scalar(STRING, str.find, INTEGER, STRING),
    "lastIndexOf": scalar(STRING, str.rfind, INTEGER, STRING),
    "substring": (1, 2, _substring_entry),
    "startsWith": scalar(STRING, str.startswith, BOOLEAN, STRING),
    "endsWith": scalar(STRING, str.endswith, BOOLEAN, STRING),
    "contains": scalar(STRING, str.__contains__, BOOLEAN, STRING),
    "upper": scalar(STRING, str.upper, STRING),
    "lower": scalar(STRING, str.lower, STRING),
    "length": scalar(STRING, len, INTEGER),
    "trim": scalar(STRING, str.strip, STRING),
    "encode": scalar(STRING, _encode, STRING, STRING),
    "decode": scalar(STRING, _decode, STRING, STRING),
    "escape": scalar(STRING, _escape, STRING, STRING),
    "unescape": scalar(STRING, _unescape, STRING, STRING),
    "replace": (2, 2, _replace),
    "toChars": (0, 0, _to_chars),
    "split": (1, 1, _split),
    "join": (0, 1, _join),
}
