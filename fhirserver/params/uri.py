"""URI parameters: equal, character by character, `:below` and `:above` by their beginnings.

https://hl7.org/fhir/R4/search.html#uri

`:below` finds the URLs that the value asked for is the beginning of, `:above` those that are a beginning
of it; wherever that is, in the middle of a path segment as well. Both are for URLs, not for URNs. The
texts stand in `str` up to VALUE_LENGTH_MAX characters, but for those that nearly every resource has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fhirserver.db.sql import Fragment, or_, sql
from fhirserver.errors import Invalid
from fhirserver.fhir.keys import Keys
from fhirserver.params import every, hot
from fhirserver.params import text as syntax
from fhirserver.params.condition import (
    Condition,
    Rank,
    Rids,
    Scope,
    exists,
    has_keys,
    under_keys,
    unsupported_modifier,
)
from fhirserver.params.entries import Entries, Indexer, Node
from fhirserver.params.string import LAST, VALUE_LENGTH_MAX

MODIFIERS: Final = ("above", "below", "missing")
COMPARISONS: Final = ("ne",)
"""What `_filter` compares by, beside equality."""

_URL: Final = re.compile(r"(?!urn:)[a-z][a-z0-9+.\-]*:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class UriValue:
    """The URI as asked."""

    uri: str


def parse(text: str) -> UriValue:
    """A search value. Raises Invalid when empty."""
    value = syntax.unescape(text)
    if not value:
        raise Invalid("a URI to search for must not be empty")
    return UriValue(value)


def parse_url(text: str, modifier: str) -> UriValue:
    """A value of `:below` and `:above`. Raises Invalid for what is no URL, among them URNs."""
    value = parse(text)
    if not _URL.match(value.uri):
        raise Invalid(f":{modifier} is for URLs such as http://example.org/fhir/, '{text}' is none")
    if len(value.uri) > VALUE_LENGTH_MAX:
        raise Invalid(f":{modifier} takes at most {VALUE_LENGTH_MAX} characters")
    return value


def key_of(keys: Keys, resource_type: str, code: str, uri: str) -> int:
    """The key of one value."""
    return keys.param(resource_type, code) ^ keys.uri(uri)


def prefix_key(keys: Keys, resource_type: str, code: str) -> int:
    """The key of `str` under which the texts of a parameter stand."""
    return keys.of("uri/", resource_type, code)


def forms(value: str, type_: str) -> tuple[str, ...]:
    """What a value is found by: a canonical with a version without it, too."""
    url = value.partition("|")[0] if type_ == "canonical" else value
    return (value,) if url == value else (value, url)


def indexer(keys: Keys, resource_type: str, code: str, inside: bool) -> Indexer:
    """Writes what `compile` asks for. `inside`: of a resource within the one that the row holds."""
    prefix = prefix_key(keys, resource_type, code)

    def item(node: Node) -> frozenset[int]:
        of = forms(node.value, node.type) if isinstance(node.value, str) else ()
        return frozenset(key_of(keys, resource_type, code, uri) for uri in of)

    def index(nodes: Sequence[Node], entries: Entries) -> None:
        for node in nodes:
            if not isinstance(node.value, str):
                continue
            for uri in forms(node.value, node.type):
                key = key_of(keys, resource_type, code, uri)
                entries.keys.append(key)
                if not hot.is_hot_uri(code, uri):
                    entries.tok.append(key)
            if _URL.match(node.value) and (inside or not hot.is_hot_uri(code, node.value)):
                entries.str.append((prefix, node.value[:VALUE_LENGTH_MAX]))
        if len(nodes) > 1:
            every.put(keys, resource_type, code, map(item, nodes), entries)

    return index


def put_version(
    keys: Keys,
    resource_type: str,
    code: str,
    urls: Sequence[Node],
    versions: Sequence[Node],
    entries: Entries,
) -> None:
    """What finds a resource by its canonical URL with its version, `url|version`.

    https://hl7.org/fhir/R4/references.html#canonical
    """
    for url in urls:
        for version in versions:
            key = key_of(keys, resource_type, code, f"{url.value}|{version.value}")
            entries.keys.append(key)
            entries.tok.append(key)


def compile(scope: Scope, code: str, modifier: str | None, values: Sequence[UriValue]) -> Condition:
    """The condition of one clause; its values are alternatives."""
    match modifier:
        case None:
            return _equal(scope, code, [value.uri for value in values])
        case "above":
            return _equal(scope, code, [start for value in values for start in beginnings(value.uri)])
        case "below":
            return _below(scope, code, [value.uri for value in values])
        case "ne":
            return _unequal(scope, code, [value.uri for value in values])
        case _:
            raise unsupported_modifier(code, modifier, MODIFIERS)


def beginnings(url: str) -> list[str]:
    """Every beginning of a URL that is a URL itself: more than its scheme."""
    return [url[:end] for end in range(url.index(":") + 2, len(url) + 1)] or [url]


def _equal(scope: Scope, code: str, uris: Sequence[str]) -> Condition:
    wanted = [key_of(scope.keys, scope.resource_type, code, uri) for uri in dict.fromkeys(uris)]
    filter_ = has_keys(scope.alias, wanted)
    if any(hot.is_hot_uri(code, uri) for uri in uris):
        return Condition(filter_)
    return Condition(filter_, (under_keys(wanted),), Rank.URI)


def _unequal(scope: Scope, code: str, uris: Sequence[str]) -> Condition:
    wanted = [key_of(scope.keys, scope.resource_type, code, uri) for uri in uris]
    equal = has_keys(scope.alias, wanted)
    return Condition(every.unequal(scope.alias, scope.keys, scope.resource_type, code, equal, wanted))


def _below(scope: Scope, code: str, starts: Sequence[str]) -> Condition:
    """`+ 0` keeps the filter, which has the row already, off the index by key."""
    key = prefix_key(scope.keys, scope.resource_type, code)
    test = or_(*(sql("x.val >= {} AND x.val < {}", start, start + LAST) for start in starts))
    filter_ = exists(
        sql("FROM str x WHERE x.rid = {}.rid AND x.key + 0 = {} AND ({})", scope.alias, key, test)
    )
    hot_ones = [start for start in starts if hot.may_be_hot_uri(code, start)]
    if hot_ones and not scope.inline:
        return Condition(or_(filter_, _has_profile(scope.alias, hot_ones)))
    select = sql("SELECT x.rid FROM str x WHERE x.key = {} AND ({})", key, test)
    return Condition(filter_, (Rids(select),), Rank.STRING, True)


def _has_profile(alias: Fragment, starts: list[str]) -> Fragment:
    """Looked up in the row: profiles that so many resources have are in no index."""
    return exists(
        sql(
            "FROM json_array_elements_text({}.meta->'profile') p(uri), unnest({}::text[]) s(start)"
            " WHERE starts_with(p.uri, s.start)",
            alias,
            starts,
        )
    )
