"""What the matches on a page refer to and what refers to them, round by round.

https://hl7.org/fhir/R4/search.html#revinclude

The first round starts from the matches; further ones, which are for `:iterate` alone, from what the one
before has added. A round is one statement. Every version comes once, and none that is a match of the
page. A reference to a version includes that version: https://hl7.org/fhir/R4/search.html#versions. A
canonical without a version includes all versions of what it names. Contained resources stay in their
container. The restriction applies to every row before any limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from fhirserver.db.sql import Fragment, sql, table
from fhirserver.fhir.reference import Reference, parse_canonical
from fhirserver.fhir.reference import parse as parse_reference
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.params import uri
from fhirserver.params.condition import Driver, Ids, Tokens
from fhirserver.params.extract import extractor_of
from fhirserver.params.facts import may_be_canonical
from fhirserver.params.reference import literals
from fhirserver.params.registry import SearchParam
from fhirserver.search.context import Context
from fhirserver.search.hops import pointed
from fhirserver.search.include import followed
from fhirserver.search.link import has_url
from fhirserver.search.query import Include
from fhirserver.search.referring import Referred, Url, referring
from fhirserver.search.restrict import visible
from fhirserver.search.sources import select_all, sources
from fhirserver.search.spread import Part, union

_ROW: Final = sql("r.type, r.id, r.version, r.updated, r.method, r.meta, r.content, r.written, r.rid")


class Row(Protocol):
    """A version on the page."""

    @property
    def type(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def version(self) -> int: ...
    def resource(self) -> dict[str, Any]: ...


_Row = TypeVar("_Row", bound=Row)


def _key(row: Row) -> tuple[str, str, int]:
    return row.type, row.id, row.version


@dataclass(slots=True)
class Rounds:
    """The rounds of one page: what to look for next, given what has been found.

    `statement` and `take` alternate until there is no statement. `limit` is how many rows all rounds
    together may add; `remarks` say what was left out.
    """

    includes: Sequence[Include]
    context: Context
    limit: int
    rounds_max: int
    remarks: list[str] = field(default_factory=list)
    _done: int = 0
    _added: int = 0
    _from: Sequence[Row] = ()
    _current: set[tuple[str, str]] = field(default_factory=set)
    _versions: set[tuple[str, str, int]] = field(default_factory=set)
    _named: set[tuple[str, str, int]] = field(default_factory=set)

    def start(self, matches: Sequence[Row]) -> None:
        """Begin with the matches of the page."""
        self._from = matches
        self._current = {(row.type, row.id) for row in matches}
        self._versions = {_key(row) for row in matches}

    def statement(self, columns: Fragment) -> Fragment | None:
        """What the next round adds, as `columns` over `r`; None when there can be nothing."""
        includes = [one for one in self.includes if one.iterate or not self._done]
        wanted = _targets(self.context, includes, self._from)
        wanted.ids -= self._current
        wanted.versions -= self._versions
        selects = [*_forward(self.context, wanted), *_reverse(self.context, includes, self._from)]
        if not selects:
            return None
        if self._done == self.rounds_max:
            self.remarks.append(f"includes were followed for {self.rounds_max} rounds; there may be more")
            return None
        self._done += 1
        self._named = wanted.versions
        return sql(
            "SELECT {} FROM (SELECT DISTINCT ON (u.rid) u.* FROM ({}) u ORDER BY u.rid LIMIT {}) r"
            " ORDER BY r.rid",
            columns,
            union(selects, sql("r_of")),
            len(self._versions) + self.limit - self._added + 1,
        )

    def take(self, found: Sequence[_Row]) -> Sequence[_Row]:
        """Those rows that are new on the page; the next round starts from them."""
        new = [row for row in found if self._is_new(row)]
        kept = new[: self.limit - self._added]
        self._added += len(kept)
        self._versions.update(_key(row) for row in kept)
        self._current.update((row.type, row.id) for row in kept if _key(row) not in self._named)
        self._from = kept
        if len(kept) < len(new):
            self.remarks.append(f"only {self.limit} included resources are given")
            self._from = ()
        return kept

    def _is_new(self, row: Row) -> bool:
        if _key(row) in self._versions:
            return False
        return _key(row) in self._named or (row.type, row.id) not in self._current


@dataclass(slots=True)
class _Wanted:
    """What references lead to: resources, versions of them, and `url` or `url|version` of a type."""

    ids: set[tuple[str, str]] = field(default_factory=set)
    versions: set[tuple[str, str, int]] = field(default_factory=set)
    urls: set[tuple[str, str]] = field(default_factory=set)

    def add(self, found: Reference, target: str | None) -> None:
        """A literal reference; one to a contained resource or to elsewhere leads to nothing here."""
        if not found.is_local or found.type not in ENDPOINT_TYPES or target not in (None, found.type):
            return
        assert found.id is not None
        if found.version is None:
            self.ids.add((found.type, found.id))
        elif found.version.isascii() and found.version.isdigit() and len(found.version) < 10:
            self.versions.add((found.type, found.id, int(found.version)))

    def add_url(self, found: Reference, possible: Sequence[str]) -> None:
        """A canonical, to whichever of the types has it."""
        if found.url:
            text = found.url if found.version is None else f"{found.url}|{found.version}"
            self.urls.update((type_, text) for type_ in possible)


def _targets(context: Context, includes: Sequence[Include], rows: Sequence[Row]) -> _Wanted:
    """What the rows refer to by the parameters to be included."""
    wanted = _Wanted()
    ways: dict[str, list[_Way]] = {}
    for row in rows:
        if row.type not in ways:
            ways[row.type] = [
                (
                    param,
                    one.target,
                    [one.target] if one.target else pointed(context.registry, param, row.type),
                )
                for one in includes
                if not one.reverse and one.source in (None, row.type)
                for param in ([one.param] if one.param else followed(context.registry, row.type))
            ]
        if ways[row.type]:
            _targets_of(context, row, ways[row.type], wanted)
    return wanted


_Way = tuple[SearchParam, str | None, Sequence[str]]
"""A parameter to follow, the type it shall lead to, and the types that its canonicals may lead to."""


def _targets_of(context: Context, row: Row, ways: Sequence[_Way], wanted: _Wanted) -> None:
    nodes = extractor_of(tuple(param for param, _, _ in ways), row.type)(row.resource())
    for param, target, possible in ways:
        for node in nodes.get(param.code, ()):
            for literal in literals(node.value):
                wanted.add(parse_reference(literal, context.reading.own_bases), target)
            if isinstance(node.value, str):
                wanted.add_url(parse_canonical(node.value), possible)


def _forward(context: Context, wanted: _Wanted) -> list[Part]:
    """The rows that are wanted."""
    ids: dict[str, list[str]] = {}
    for type_, id_ in sorted(wanted.ids):
        ids.setdefault(type_, []).append(id_)
    keys: dict[str, list[int]] = {}
    for type_, text in sorted(wanted.urls):
        if has_url(context.registry, type_):
            keys.setdefault(type_, []).append(uri.key_of(context.keys, type_, "url", text))
    versions: dict[str, list[tuple[str, int]]] = {}
    for type_, id_, version in sorted(wanted.versions):
        versions.setdefault(type_, []).append((id_, version))
    found: list[Part] = []
    for type_, some in ids.items():
        found += _driven(context, type_, [Ids(tuple(some))])
    for type_, some in keys.items():
        found += _driven(context, type_, [Tokens(tuple(some))])
    found += (Part(type_, _by_version(context, type_, some)) for type_, some in versions.items())
    return found


def _driven(context: Context, type_: str, drivers: Sequence[Driver]) -> list[Part]:
    """The rows that the drivers yield, which hold nothing else."""
    found = sources(context, context.scope(type_), [], drivers)
    return [Part(type_, select_all(found, _ROW))] if found else []


def _by_version(context: Context, type_: str, versions: Sequence[tuple[str, int]]) -> Fragment:
    """The versions named, current or not; a deletion has no content to give."""
    return sql(
        "SELECT {} FROM unnest({}::text[], {}::int[]) w(id, version) CROSS JOIN LATERAL"
        " (SELECT * FROM {} r WHERE {} AND r.id = w.id AND r.version = w.version AND r.method <> 'DELETE'"
        " OFFSET 0) r",
        _ROW,
        [id_ for id_, _ in versions],
        [version for _, version in versions],
        table(type_),
        visible(context, context.scope(type_)),
    )


def _reverse(context: Context, includes: Sequence[Include], rows: Sequence[Row]) -> list[Part]:
    """The rows that refer to any of these."""
    found: list[Part] = []
    for include in includes:
        if not include.reverse:
            continue
        referred = _referred(context, include, rows)
        for source in (include.source,) if include.source else sorted(ENDPOINT_TYPES):
            params = [include.param] if include.param else followed(context.registry, source)
            found += _driven(context, source, referring(context.scope(source), params, referred))
    return found


def _referred(context: Context, include: Include, rows: Sequence[Row]) -> Referred:
    """What a reference has to name to lead to one of the rows."""
    keys: dict[str, list[int]] = {}
    urls: dict[str, list[Url]] = {}
    by_url = (
        include.param is None or include.source is None or may_be_canonical(include.param, include.source)
    )
    for row in rows:
        if include.target not in (None, row.type):
            continue
        keys.setdefault(row.type, []).append(context.keys.target(row.type, row.id))
        if by_url and has_url(context.registry, row.type):
            resource = row.resource()
            if isinstance(url := resource.get("url"), str):
                urls.setdefault(row.type, []).append((url, resource.get("version")))
    return Referred(keys, urls)
