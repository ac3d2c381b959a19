"""An entry of a transaction on its way from the request to the response."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fhirserver.errors import Invalid, Issue
from fhirserver.fhir.validate import validate
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.draft import new_id
from fhirserver.interactions.entries import entry_call, located, relocated
from fhirserver.interactions.matching import Criteria, criteria, require_no_criteria
from fhirserver.interactions.permission import decided
from fhirserver.store.version import Version

_PUT = frozenset({"create", "update", "update_conditional", "patch", "patch_conditional"})
_DELETES = frozenset({"delete", "delete_conditional"})


@dataclass(slots=True)
class Item:
    """`id` is the identity the entry resolves to, `new_id` the one that a create would get, `doomed`
    the ids that a delete removes, `unmatched` whether the criteria of an update found nothing, `before` the
    versions that it ended. They are set anew for each try."""

    index: int
    entry: dict[str, Any]
    method: str
    call: Call
    criteria: Criteria | None
    new_id: str
    id: str | None = None
    answer: Answer | None = None
    doomed: list[str] = field(default_factory=list)
    unmatched: bool = False
    before: list[Version] = field(default_factory=list)

    @property
    def interaction(self) -> str:
        return self.call.interaction

    @property
    def deletes(self) -> bool:
        return self.interaction in _DELETES

    @property
    def puts(self) -> bool:
        """Whether the entry writes a resource, or would if it were not there already."""
        return self.interaction in _PUT

    @property
    def full_url(self) -> str | None:
        return self.entry.get("fullUrl")

    @property
    def identity(self) -> tuple[str, str]:
        """Type and id; only once `id` is resolved."""
        assert self.id is not None
        return self.call.resource_type, self.id

    @property
    def identities(self) -> list[tuple[str, str]]:
        """What the entry updates or deletes, as far as it is known; a create has a new one."""
        if self.interaction == "create":
            return []
        ids = self.doomed if self.deletes else [self.id] if self.puts and self.id else []
        return [(self.call.resource_type, id_) for id_ in ids]

    def reset(self) -> None:
        """Forget what a try that lost a race had resolved."""
        self.id, self.answer, self.doomed, self.unmatched = self.call.id, None, [], False
        self.before = []

    def located(self) -> located:
        """`with item.located():` locates the errors raised inside."""
        return located(self.index, self.entry)

    def about(self, issue: Issue) -> Issue:
        """The issue, located in the Bundle."""
        return relocated(issue, self.index, self.entry)


def read_item(call: Call, index: int, entry: dict[str, Any]) -> Item:
    """The entry, decided upon and validated. Raises FhirError."""
    made = entry_call(call, entry)
    if made.interaction == "bundle":
        raise Invalid("a transaction cannot contain a Bundle to process", "request.url")
    decided(made)
    if made.interaction == "create":
        require_no_criteria(made)
    if made.interaction in ("create", "update", "update_conditional"):
        validate(made.resource, made.type)
    if made.interaction == "update" and made.resource.get("id") != made.id:
        raise Invalid(
            f"the resource's id is {made.resource.get('id')!r}; request.url says {made.id!r}",
            f"{made.type}.id",
        )
    return Item(index, entry, entry["request"]["method"], made, _criteria(made), new_id())


def _criteria(made: Call) -> Criteria | None:
    if made.interaction == "create" and made.if_none_exist is not None:
        return criteria(made, made.resource_type, made.if_none_exist, "request.ifNoneExist")
    if made.interaction.endswith("_conditional"):
        return criteria(made, made.resource_type, made.query, "request.url")
    return None
