"""References between the entries of a transaction, and references that are searches.

https://hl7.org/fhir/R4/http.html#trules: whatever equals a fullUrl of the Bundle becomes the identity
of that entry's resource, in references, URIs and the links of narratives. A reference to a version
stays one, to the version that the transaction gives its target.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhirserver.db.pool import Connection
from fhirserver.errors import Invalid, PreconditionFailed
from fhirserver.fhir import json
from fhirserver.fhir.links import holders, path_of, replace_uris
from fhirserver.fhir.reference import parse
from fhirserver.fhir.structure import ENDPOINT_TYPES, Resource
from fhirserver.interactions.call import Call
from fhirserver.interactions.matching import Criteria, criteria, one_match
from fhirserver.interactions.transaction.item import Item
from fhirserver.store.write import Latest

_HISTORY = "/_history/"


@dataclass(frozen=True, slots=True)
class _Link:
    """A reference in the resource of an entry: `holder[key]` is its text."""

    item: Item
    holder: dict[str, Any]
    key: str = "reference"

    @property
    def text(self) -> str:
        return self.holder[self.key]

    def path(self) -> str:
        """FHIRPath; of a patch, whose operations have none, the Binary that carries it."""
        resource = self.item.call.resource
        return path_of(resource, self.holder) if isinstance(resource, dict) else "Binary"


@dataclass(frozen=True, slots=True)
class Search:
    """A search that references stand for, and where they do."""

    type: str
    criteria: Criteria
    links: list[_Link]


class Links:
    """All references of a transaction's resources; `learn` and `settle` change them in place and `undo`
    takes that back, for a try that lost a race resolves anew."""

    def __init__(self, items: Sequence[Item], call: Call) -> None:
        self._items = [item for item in items if item.puts]
        self._links = {item.index: _links_of(item) for item in self._items}
        self._searches = _searches(call, self._links.values())
        self._conditional = {link.item.index for search in self._searches.values() for link in search.links}
        self._changed: list[tuple[_Link, str]] = []
        self._uris: dict[str, str] = {}
        self._prefixes: tuple[bytes, ...] = ()
        self._pinned: set[str] = set()

    def criteria(self) -> list[Criteria]:
        """What the conditional references search for, each once."""
        return [search.criteria for search in self._searches.values()]

    def is_conditional(self, item: Item) -> bool:
        """Whether the entry's resource has references that are searches."""
        return item.index in self._conditional

    def is_pinned(self, item: Item) -> bool:
        """Whether another entry refers to the version that this one is about to make."""
        return "/".join(item.identity) in self._pinned

    def undo(self) -> None:
        for link, text in reversed(self._changed):
            link.holder[link.key] = text
        self._changed.clear()

    def _change(self, link: _Link, text: str) -> None:
        self._changed.append((link, link.text))
        link.holder[link.key] = text

    def learn(self, latest: dict[tuple[str, str], Latest]) -> None:
        """Take over the identities that the entries have resolved to, into all references."""
        named = [item for item in self._items if item.full_url and item.id is not None]
        targets = {item.full_url: "/".join(item.identity) for item in named if item.full_url}
        versions: dict[str, int] = {}
        for item in self._items:
            versions.setdefault("/".join(item.identity), _version(item, latest))
        self._pinned = set()
        for item in self._items:
            base = _base(item.full_url, item.call.resource_type) or ""
            for link in self._links[item.index]:
                path, hash_, fragment = link.text.partition("#")
                path, history, _ = path.partition(_HISTORY)
                target = targets.get(path) or targets.get(base + path)
                if target is None:
                    continue
                if history:
                    self._pinned.add(target)
                    history += str(versions[target])
                self._change(link, f"{target}{history}{hash_}{fragment}")
        # The canonical URL of a definition is its name, not a link to where it is kept.
        own = {item.full_url for item in named if _canonical_url(item) == item.full_url}
        self._uris = {url: target for url, target in targets.items() if url not in own}
        self._prefixes = tuple({_prefix(url, target).encode() for url, target in self._uris.items()})

    def rewritten(self, item: Item) -> Resource:
        """The entry's resource with all URIs and narrative links that name another entry changed too."""
        resource: Resource = item.call.resource
        if not self._prefixes or not isinstance(resource, dict):
            return resource
        text = json.dumps(resource)
        return replace_uris(resource, self._uris) if any(p in text for p in self._prefixes) else resource

    def sought_by(self, items: Sequence[Item]) -> dict[str, Search]:
        """The searches that references of these entries stand for, by their texts."""
        indices = {item.index for item in items}
        return {
            text: search
            for text, search in self._searches.items()
            if any(link.item.index in indices for link in search.links)
        }

    def settle(self, found: dict[str, str]) -> None:
        """Replace conditional references by what their searches found."""
        for text, path in found.items():
            for link in self._searches[text].links:
                self._change(link, path)


async def find(connection: Connection, call: Call, searches: Mapping[str, Search]) -> dict[str, str]:
    """What the searches find, by their texts; each must have exactly one match."""
    found: dict[str, str] = {}
    for text, search in searches.items():
        link = search.links[0]
        with link.item.located():
            match = await one_match(connection, call, search.criteria)
            if match is None:
                raise PreconditionFailed(
                    f"the conditional reference {text[:200]!r} matches no resource", link.path()
                )
        found[text] = match.path
    return found


def _links_of(item: Item) -> list[_Link]:
    resource: Any = item.call.resource
    links = [_Link(item, holder) for holder in holders(resource)]
    if item.method == "PATCH" and isinstance(resource, list):
        links += [
            _Link(item, operation, "value")
            for operation in resource
            if isinstance(operation, dict)
            and isinstance(operation.get("value"), str)
            and str(operation.get("path")).endswith("/reference")
        ]
    if item.method == "PATCH" and isinstance(resource, dict):
        links += [_Link(item, value, "valueString") for value in _replaced_references(resource)]
    return links


def _replaced_references(patch: Resource) -> Iterable[dict[str, Any]]:
    """Where operations of a FHIRPath Patch hold the text of a reference."""
    for operation in patch.get("parameter", ()):
        parts = {part.get("name"): part for part in operation.get("part", ())}
        path, value = parts.get("path", {}).get("valueString"), parts.get("value", {})
        if str(path).endswith(".reference") and isinstance(value.get("valueString"), str):
            yield value


def _searches(call: Call, links: Iterable[list[_Link]]) -> dict[str, Search]:
    """The conditional references by their normalised texts. Raises FhirError for one that is no search."""
    searches: dict[str, Search] = {}
    for link in (link for group in links for link in group):
        reference = parse(link.text, call.services.own_bases)
        if not reference.is_conditional:
            continue
        text, type_ = reference.literal(), reference.type or ""
        if text not in searches:
            with link.item.located():
                if type_ not in ENDPOINT_TYPES:
                    raise Invalid(f"{type_} cannot be searched", link.path())
                sought = criteria(call, type_, reference.query or "", link.path())
            searches[text] = Search(type_, sought, [])
        searches[text].links.append(link)
    return searches


def _version(item: Item, latest: dict[tuple[str, str], Latest]) -> int:
    """The version that the entry's resource will have."""
    if item.answer is not None and item.answer.version is not None:
        return item.answer.version.version
    row = latest.get(item.identity)
    return row.version + 1 if row else 1


def _canonical_url(item: Item) -> str | None:
    resource: Any = item.call.resource
    return resource.get("url") if isinstance(resource, dict) else None


def _base(full_url: str | None, resource_type: str) -> str | None:
    """What relative references of an entry are relative to: `http://a/fhir/` for
    `http://a/fhir/Patient/1`; None for a fullUrl that is no RESTful URL."""
    base, slash, _ = (full_url or "").rpartition(f"/{resource_type}/")
    return f"{base}/" if slash else None


def _prefix(full_url: str, target: str) -> str:
    """What texts that equal the fullUrl begin with; short, and common to many of them."""
    return _base(full_url, target.partition("/")[0]) or full_url[: full_url.rfind(":") + 1]
