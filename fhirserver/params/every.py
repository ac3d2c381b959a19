"""What holds for every value of a parameter that repeats: the other half of `ne` in `_filter`.

https://hl7.org/fhir/R4/search_filter.html#ops: "an item in the set has an unequal value". A row's keys
say which values are there. With one item, unequal is whatever is not equal; a row with several has a
key that says so, and one for each value that all of them have.
"""

from __future__ import annotations

from collections.abc import Iterable

from fhirserver.db.sql import Fragment, and_, not_, or_
from fhirserver.fhir.keys import Keys
from fhirserver.params.condition import has_keys
from fhirserver.params.entries import Entries


def _several(keys: Keys, resource_type: str, code: str) -> int:
    return keys.of("several", resource_type, code)


def _of_all(keys: Keys, resource_type: str, code: str, key: int) -> int:
    """The key that says that every item has the value that `key` stands for."""
    return keys.of("every", resource_type, code) ^ key


def put(keys: Keys, resource_type: str, code: str, items: Iterable[frozenset[int]], entries: Entries) -> None:
    """Writes what `unequal` asks for, from the keys of each of several items."""
    distinct = set(items)
    if len(distinct) < 2:
        return
    entries.keys.append(_several(keys, resource_type, code))
    shared = frozenset.intersection(*distinct)
    entries.keys.extend(_of_all(keys, resource_type, code, key) for key in sorted(shared))


def unequal(
    alias: Fragment, keys: Keys, resource_type: str, code: str, equal: Fragment, wanted: list[int]
) -> Fragment:
    """Whether some item of a row that has any is unequal to a value.

    `equal`: some item is equal to it; `wanted` are the keys that stand for it in an item.
    """
    several = has_keys(alias, [_several(keys, resource_type, code)])
    every = has_keys(alias, [_of_all(keys, resource_type, code, key) for key in wanted])
    return not_(and_(equal, or_(not_(several), every)))
