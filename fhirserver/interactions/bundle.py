"""Bundles of what was read and done: https://hl7.org/fhir/R4/bundle.html

Resources go in as the text that the database gave, never decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from fhirserver.store.version import Version, instant

Entry = dict[str, Any]
"""A Bundle.entry ready for orjson."""


@dataclass(frozen=True, slots=True)
class Link:
    """Bundle.link."""

    relation: str
    url: str


def bundle(
    kind: Literal["searchset", "history", "batch-response", "transaction-response"],
    entries: list[Entry],
    links: list[Link] | tuple[Link, ...] = (),
    *,
    total: int | None = None,
    updated: str | None = None,
) -> bytes:
    """A Bundle as JSON; absent and empty elements are left out. `updated` is an instant."""
    content: dict[str, Any] = {"resourceType": "Bundle"}
    if updated:
        content["meta"] = {"lastUpdated": updated}
    content["type"] = kind
    if total is not None:
        content["total"] = total
    if links:
        content["link"] = [{"relation": link.relation, "url": link.url} for link in links]
    if entries:
        content["entry"] = entries
    return orjson.dumps(content)


def search_entry(
    base: str,
    version: Version,
    mode: Literal["match", "include"],
    extension: Sequence[Any] = (),
    score: float | None = None,
) -> Entry:
    """`extension` is what the search has to say of the match besides, `score` how good it is, from 0 to 1."""
    search: Entry = {"extension": extension, "mode": mode} if extension else {"mode": mode}
    if score is not None:
        search["score"] = score
    return {
        "fullUrl": f"{base}/{version.path}",
        "resource": orjson.Fragment(version.json()),
        "search": search,
    }


def outcome_entry(outcome: bytes) -> Entry:
    """A search's remarks about itself: https://hl7.org/fhir/R4/search.html#entries"""
    return {"resource": orjson.Fragment(outcome), "search": {"mode": "outcome"}}


def history_entry(base: str, version: Version) -> Entry:
    """request and response are mandatory in a history: bdl-3, bdl-4."""
    entry: Entry = {"fullUrl": f"{base}/{version.path}"}
    if not version.deleted:
        entry["resource"] = orjson.Fragment(version.json())
    url = version.type if version.method == "POST" else version.path
    entry["request"] = {"method": version.method, "url": url}
    status = {"DELETE": "204 No Content"}.get(
        version.method, "201 Created" if version.version == 1 else "200 OK"
    )
    entry["response"] = {
        "status": status,
        "location": f"{base}/{version.versioned_path}",
        "etag": version.etag,
        "lastModified": instant(version.updated),
    }
    return entry
