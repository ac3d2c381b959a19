"""Searches for contained resources: https://hl7.org/fhir/R4/search.html#contained"""

from __future__ import annotations

from collections.abc import Iterable

from tests.oracle.evaluate import Search
from tests.oracle.world import Subject


def matches(
    search: Search, type_: str, criteria: Iterable[tuple[str, str]], which: str, given: str
) -> list[str]:
    """The paths of what is returned: `which` is false, true or both, `given` container or contained.

    A container comes once, however many of its contained resources match.
    """
    criteria = list(criteria)
    found: list[Subject] = []
    if which != "true":
        found += [search.world.by_type[type_][id_] for id_ in sorted(search.all_of(type_, criteria))]
    if which != "false":
        inside = search.world.contained(type_)
        for name, value in criteria:
            inside = search.matching(inside, type_, name, value)
        found += [one.container if given == "container" and one.container else one for one in inside]
    return list(dict.fromkeys(one.path for one in found))
