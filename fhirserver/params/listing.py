"""What `_list` has to know of a List beyond its search parameter `item`.

https://hl7.org/fhir/R4/search.html#list, https://hl7.org/fhir/R4/list-definitions.html#List.entry.deleted

`item` finds all entries; `deleted` on one says that it has been taken off the list, and it is a
modifier element. A reference to a version is one to that version alone, which a history can tell. Both
are rare, so `tok` holds the exceptions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fhirserver.db.sql import Fragment, and_, not_, or_, sql
from fhirserver.fhir.keys import Keys
from fhirserver.params import reference
from fhirserver.params.condition import exists
from fhirserver.params.entries import Entries
from fhirserver.params.reference import Resolve


def _struck(keys: Keys) -> int:
    """With a target: it is in no entry but deleted ones."""
    return keys.of("list", "struck")


def _pinned(keys: Keys) -> int:
    """With a target: it is referred to by versions alone. With the version's number as well: by that one."""
    return keys.of("list", "pinned")


def indexer(keys: Keys, resolve: Resolve) -> Callable[[Mapping[str, Any], Entries], None]:
    """Writes what `kept` and `names_version` ask for."""
    struck, pinned = _struck(keys), _pinned(keys)

    def index(resource: Mapping[str, Any], entries: Entries) -> None:
        kept: dict[int, set[str | None]] = {}
        gone: set[int] = set()
        for entry in resource.get("entry", ()):
            for literal in reference.literals(entry.get("item")):
                named, target = resolve(literal)
                if not named.is_local:
                    continue
                if entry.get("deleted") is True:
                    gone.add(target)
                else:
                    kept.setdefault(target, set()).add(named.version)
        found = [struck ^ target for target in sorted(gone - kept.keys())]
        for target, versions in kept.items():
            if None not in versions:
                found.append(pinned ^ target)
                found.extend(
                    pinned ^ target ^ int(v) for v in versions if v and v.isdecimal() and len(v) < 10
                )
        entries.keys.extend(found)  # by which the janitor finds its rows of `tok`
        entries.tok.extend(found)

    return index


def kept(keys: Keys, row: Fragment, list_: Fragment) -> Fragment:
    """Whether a row that a List has as item is in an entry that is not deleted."""
    return not_(_marked(sql("({}.idk # {})", row, _struck(keys)), list_))


def names_version(keys: Keys, row: Fragment, list_: Fragment) -> Fragment:
    """Whether a List that has the row's resource as item means the row's version, or no one in particular."""
    pinned = _pinned(keys)
    this = sql("({}.idk # {} # {}.version::bigint)", row, pinned, row)
    return or_(not_(_marked(sql("({}.idk # {})", row, pinned), list_)), _marked(this, list_))


def _marked(key: Fragment, list_: Fragment) -> Fragment:
    return exists(and_(sql("FROM tok m WHERE m.key = {}", key), sql("m.rid = {}.rid", list_)))
