"""What a Bundle demands beyond its type's invariants: full URLs, and references that stay inside.

https://hl7.org/fhir/R4/bundle.html#bundle-unique, https://hl7.org/fhir/R4/bundle.html#references
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from fhirserver.fhir.links import holders
from fhirserver.fhir.primitives import show
from fhirserver.fhir.profile.examination import Place
from fhirserver.fhir.profile.item import text_of

_REST: Final = re.compile(r"(?:https?://\S+/)?(?P<type>[A-Z][A-Za-z]+)/(?P<id>[A-Za-z0-9\-.]{1,64})")
_URN: Final = ("urn:uuid:", "urn:oid:")
_WHOLE: Final = frozenset({"document", "message"})
"""Kinds of Bundles that are complete: what is referred to within should be there."""
_NAMELESS: Final = frozenset({"transaction", "batch", "transaction-response", "batch-response"})
"""Kinds of Bundles whose entries need no full URL."""


def seen_from(place: Place) -> Mapping[str, Any]:
    """What references in a resource of a Bundle can mean: resources by full URL and by `Type/id`."""
    bundle = place.resource.value
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        return {}
    if place.bundle:
        return place.bundle
    found: dict[str, Any] = {}
    for _, entry in _entries(bundle):
        resource, url = entry.get("resource"), entry.get("fullUrl")
        if not isinstance(resource, dict):
            continue
        if isinstance(url, str):
            found.setdefault(url, resource)
        if isinstance(resource.get("id"), str) and not (isinstance(url, str) and url.startswith(_URN)):
            found.setdefault(f"{resource.get('resourceType')}/{resource['id']}", resource)
    place.bundle = found
    return found


def _entries(bundle: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    entries = bundle.get("entry")
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, dict):
            yield index, entry


def check(bundle: dict[str, Any], path: str, place: Place) -> None:
    """The rules of a Bundle as a whole; those of its first entry are among R4's invariants."""
    known = seen_from(place)
    for index, entry in _entries(bundle):
        where = f"{path}.entry[{index}]"
        if "fullUrl" in entry:
            _check_full_url(entry, where, place)
        elif text_of(bundle, "type") not in _NAMELESS:
            _check_no_full_url(entry, where, place)
        if isinstance(entry.get("resource"), dict):
            _check_links(bundle, entry["resource"], known, f"{where}.resource", place)


def _check_full_url(entry: dict[str, Any], path: str, place: Place) -> None:
    """A full URL that is an address on a server ends in the resource's type and id."""
    url, resource = entry.get("fullUrl"), entry.get("resource")
    if not isinstance(url, str) or not isinstance(resource, dict):
        return
    if not url.startswith(("http://", "https://", "urn:")):
        text = f"{show(url)} is not absolute: a full URL begins with http:, https: or urn:"
        place.exam.say("error", "value", text, f"{path}.fullUrl")
        return
    rest = _REST.fullmatch(url)
    id_ = resource.get("id")
    if rest is None or rest["type"] != resource.get("resourceType") or not isinstance(id_, str):
        return
    if rest["id"] != id_:
        text = f"{show(url)} does not end in the id of the resource, {show(id_)}"
        place.exam.say("error", "value", text, f"{path}.fullUrl")


def _check_no_full_url(entry: dict[str, Any], path: str, place: Place) -> None:
    """Each resource has one, https://hl7.org/fhir/R4/bundle-definitions.html#Bundle.entry.fullUrl

    What a search says about itself has no identity to state.
    """
    search, resource = entry.get("search"), entry.get("resource")
    is_outcome = isinstance(search, dict) and search.get("mode") == "outcome"
    if isinstance(resource, dict) and not is_outcome:
        text = "an entry with a resource has a full URL, except in transactions and batches"
        place.exam.say("error", "required", text, path)


def _check_links(
    bundle: dict[str, Any], resource: dict[str, Any], known: Mapping[str, Any], path: str, place: Place
) -> None:
    """A URN says nothing outside of the Bundle that defines it; a document or message is complete."""
    kind = text_of(bundle, "type")
    for holder in holders(resource):
        text: str = holder["reference"]
        if text.startswith("#") or text.partition("/_history/")[0].partition("#")[0] in known:
            continue
        if text.startswith(_URN) and kind not in ("searchset", "history"):
            place.exam.say("error", "not-found", f"{show(text)} is the full URL of no entry", path)
        elif kind in _WHOLE and _REST.fullmatch(text):
            what = f"{show(text)} is not in the Bundle, though a {kind} should hold what it refers to"
            place.exam.say("warning", "not-found", what, path)
