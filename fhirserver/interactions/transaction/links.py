"""References between the entries of a transaction, and references that are searches.

https://hl7.org/fhir/R4/http.html#trules: whatever equals a fullUrl of the Bundle becomes the identity
of that entry's resource, in references, URIs and the links of narratives.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fhirserver.db.pool import Connection
from fhirserver.errors import PreconditionFailed
from fhirserver.fhir import json
from fhirserver.fhir.links import holders, path_of, replace_uris
from fhirserver.fhir.reference import Reference, parse
from fhirserver.fhir.structure import Resource
from fhirserver.interactions.call import Call
from fhirserver.interactions.matching import Criteria, criteria, one_match
from fhirserver.interactions.transaction.item import Item

_WRITES = ("create", "update", "update_conditional", "patch", "patch_conditional")


class Links:
    """All references of a transaction's resources; `rewrite` changes them in place and `undo` takes
    that back, for a try that lost a race resolves anew."""

    def __init__(self, items: Sequence[Item], own_bases: tuple[str, ...]) -> None:
        self._items = items
        self._own_bases = own_bases
        self._changed: list[tuple[dict[str, Any], str]] = []
        self._holders: dict[int, list[dict[str, Any]]] = {}
        self._conditional: dict[int, list[tuple[dict[str, Any], Reference]]] = {}
        self._targets: dict[str, str] = {}
        self._roots: tuple[str, ...] = ()
        for item in items:
            if item.interaction in _WRITES:
                self._collect(item)

    def _collect(self, item: Item) -> None:
        found = list(holders(item.call.resource))
        self._holders[item.index] = found
        searches = [(holder, parse(holder["reference"], self._own_bases)) for holder in found]
        conditional = [(holder, reference) for holder, reference in searches if reference.is_conditional]
        if conditional:
            self._conditional[item.index] = conditional

    def undo(self) -> None:
        for holder, text in self._changed:
            holder["reference"] = text
        self._changed.clear()

    def is_conditional(self, item: Item) -> bool:
        """Whether the entry's resource has references that are searches."""
        return item.index in self._conditional

    def criteria(self, call: Call) -> list[Criteria]:
        """What the conditional references search for, each once."""
        return list(self._searches(call).values())

    def _searches(self, call: Call) -> dict[str, Criteria]:
        searches: dict[str, Criteria] = {}
        for index, references in self._conditional.items():
            item = self._item(index)
            for holder, reference in references:
                if reference.literal() not in searches:
                    with item.located():
                        searches[reference.literal()] = criteria(
                            call,
                            reference.type or "",
                            reference.query or "",
                            path_of(item.call.resource, holder),
                        )
        return searches

    def _item(self, index: int) -> Item:
        return self._items[index]

    def learn(self) -> None:
        """Take over the identities that the entries have resolved to."""
        self._targets = {
            item.full_url: "/".join(item.identity)
            for item in self._items
            if item.full_url and item.id is not None and item.interaction in _WRITES
        }
        self._roots = tuple({_root(url, target) for url, target in self._targets.items()})

    def rewrite(self, item: Item) -> Resource:
        """The entry's resource with everything that names another entry changed to its identity."""
        root = _root(item.full_url, "/".join(item.identity)) if item.full_url else ""
        for holder in self._holders[item.index]:
            text: str = holder["reference"]
            target = self._targets.get(text) or self._targets.get(f"{root}{text}")
            if target is not None and target != text:
                self._change(holder, target)
        resource: Resource = item.call.resource
        text = json.dumps(resource).decode() if self._roots else ""
        if any(root in text for root in self._roots):
            return replace_uris(resource, self._targets)
        return resource

    def _change(self, holder: dict[str, Any], target: str) -> None:
        self._changed.append((holder, holder["reference"]))
        holder["reference"] = target

    async def resolve(self, connection: Connection, call: Call, items: Iterable[Item]) -> None:
        """Replace conditional references by what they find; exactly one match or the transaction fails."""
        found: dict[str, str] = {}
        searches = self._searches(call)
        for item in items:
            for holder, reference in self._conditional[item.index]:
                literal = reference.literal()
                if literal not in found:
                    with item.located():
                        match = await one_match(connection, call, searches[literal])
                        if match is None:
                            raise PreconditionFailed(
                                f"the conditional reference {literal[:200]!r} matches no resource",
                                path_of(item.call.resource, holder),
                            )
                        found[literal] = match.path
                self._change(holder, found[literal])


def _root(full_url: str, identity: str) -> str:
    """What stands before a relative reference: `http://a/fhir/` of `http://a/fhir/Patient/1`; of a URN
    its scheme."""
    if full_url.startswith("urn:"):
        return ":".join(full_url.split(":")[:2]) + ":"
    base, slash, _ = full_url.rstrip("/").rpartition(f"/{identity.partition('/')[0]}/")
    return f"{base}/" if slash else full_url
