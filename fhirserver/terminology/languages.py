"""Tags of languages: their grammar, and whether their subtags are registered.

BCP 47, https://www.rfc-editor.org/rfc/rfc5646#section-2.2.9. The registry is read with the first question.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from typing import Final

import msgspec

from fhirserver.settings import data_path

_TAG: Final = re.compile(
    r"(?P<language>[a-z]{2,3}|[a-z]{4,8})"
    r"(?P<extlangs>(?:-[a-z]{3}){0,3})"
    r"(?:-(?P<script>[a-z]{4}))?"
    r"(?:-(?P<region>[a-z]{2}|[0-9]{3}))?"
    r"(?P<variants>(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*)"
    r"(?P<extensions>(?:-[0-9a-wy-z](?:-[a-z0-9]{2,8})+)*)"
    r"(?:-(?P<private>x(?:-[a-z0-9]{1,8})+))?"
)
_GROUPS: Final = {
    "language": "language",
    "ext-lang": "extlangs",
    "script": "script",
    "region": "region",
    "variant": "variants",
    "extension": "extensions",
    "private-use": "private",
}
PARTS: Final = tuple(_GROUPS)
"""What filters can be on: https://hl7.org/fhir/R4/valueset-languages.html names no properties; these are the
names that value sets use, those of BCP 47 itself."""
_PRIVATE: Final = re.compile(r"x(?:-[a-z0-9]{1,8})+")
_SINGLETON: Final = re.compile(r"-([0-9a-wy-z])(?=-)")
_RANGES: Final = {
    "language": re.compile(r"q[a-t][a-z]"),
    "script": re.compile(r"qa(?:a[a-z]|b[a-x])"),
    "region": re.compile(r"q[m-z]|x[a-z]"),
}
"""What is for private use; the registry writes it as ranges."""


def written(tag: str) -> str | None:
    """A valid tag in its recommended case (`en-Latn-US`), otherwise None.

    https://www.rfc-editor.org/rfc/rfc5646#section-2.1.1
    """
    if _is_valid(tag.casefold()):
        return _cased(tag.casefold())
    return None


def described(tag: str) -> str | None:
    """What the subtags of a valid tag stand for, for example `English (United States of America)`."""
    folded = tag.casefold()
    if found := _registered().get("grandfathered", {}).get(folded):
        return found
    matched = _TAG.fullmatch(folded)
    if matched is None:
        return None
    language = _name("language", matched["language"])
    parts = [_name("extlang", one) for one in _split(matched["extlangs"])]
    parts += [_name(type_, matched[type_]) for type_ in ("script", "region") if matched[type_]]
    parts += [_name("variant", one) for one in _split(matched["variants"])]
    return f"{language} ({', '.join(parts)})" if parts else language


def part(tag: str, name: str) -> str | None:
    """One of the `PARTS` of a valid tag, as it is written there; None where it has none."""
    matched = _TAG.fullmatch(tag.casefold())
    if matched is None:
        return tag if name == "private-use" and _PRIVATE.fullmatch(tag.casefold()) else None
    start, end = matched.span(_GROUPS[name])
    return tag[start:end].strip("-") or None


def version() -> str:
    """The date of the registry."""
    return _file()["registry"]["date"]


def _is_valid(tag: str) -> bool:
    if tag in _registered()["grandfathered"] or _PRIVATE.fullmatch(tag):
        return True
    matched = _TAG.fullmatch(tag)
    if matched is None:
        return False
    extlangs, variants = _split(matched["extlangs"]), _split(matched["variants"])
    singletons = _SINGLETON.findall(matched["extensions"])
    return (
        _is_known("language", matched["language"])
        and len(extlangs) <= 1  # no more have been or will be registered in a row
        and all(_is_known("extlang", one) for one in extlangs)
        and all(_is_known(type_, matched[type_]) for type_ in ("script", "region") if matched[type_])
        and all(_is_known("variant", one) for one in variants)
        and len(variants) == len(set(variants))
        and len(singletons) == len(set(singletons))
    )


def _is_known(type_: str, subtag: str) -> bool:
    if subtag in _registered()[type_]:
        return True
    return type_ in _RANGES and _RANGES[type_].fullmatch(subtag) is not None


def _name(type_: str, subtag: str) -> str:
    return _registered()[type_].get(subtag, subtag)


def _cased(tag: str) -> str:
    if tag in _registered()["grandfathered"]:
        return next(one for one in _file()["grandfathered"] if one.casefold() == tag)
    parts = tag.split("-")
    found = [parts[0]]
    for before, part in pairwise(parts):
        if len(before) == 1 or "x" in found or any(len(one) == 1 for one in found):
            found.append(part)
        elif len(part) == 2:
            found.append(part.upper())
        else:
            found.append(part.title() if len(part) == 4 and part.isalpha() else part)
    return "-".join(found)


def _split(subtags: str) -> list[str]:
    return subtags.removeprefix("-").split("-") if subtags else []


def _file() -> Mapping[str, dict[str, str]]:
    return msgspec.json.decode((data_path("conformance") / "terminology" / "languages.json").read_bytes())


@cache
def _registered() -> dict[str, dict[str, str]]:
    """Type -> subtag in lower case -> description."""
    return {type_: {tag.casefold(): text for tag, text in rows.items()} for type_, rows in _file().items()}
