"""The record of a patient, or of an encounter, as one SQL statement: a page of it.

https://hl7.org/fhir/R4/operation-patient-everything.html: what lies in the compartment, and what that refers
to. It comes in three phases: the resource whose record it is, the members of its compartment by `ord`, newest
first, and what these refer to. A cursor says the phase, `ord` and `rid` to go on from.

The partitions are read through the table of all types. That takes long to plan, and much memory, so the
statement hangs on what is asked for as little as can be: it is the same for all records, times and types, and
stays prepared. A page of members reads few more of them than it shows; what they refer to is only looked for
once there are no more of them. docs/adr/0015-a-record-in-one-statement.md
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Final

from fhirserver.db.sql import FALSE, TRUE, Fragment, and_, join, not_, or_, sql, table, type_names, whole
from fhirserver.fhir.structure import COMPARTMENTS, ENDPOINT_TYPES
from fhirserver.params import reference
from fhirserver.params.condition import Scope
from fhirserver.params.date import DateValue
from fhirserver.params.facts import CLINICAL_DATES, is_patient
from fhirserver.params.registry import Registry, compartment_params
from fhirserver.search import literals
from fhirserver.search.context import Context
from fhirserver.search.page import Cursor
from fhirserver.search.restrict import criterion, permitted
from fhirserver.search.snapshot import seen
from fhirserver.search.sources import Source

OWNER: Final = 0
MEMBERS: Final = 1
REFERRED: Final = 2
"""The phases, in order: the first sort key of a row."""
KEYS: Final = 2
"""Sort keys of a row, `k0` (the phase) and `k1` (`ord`)."""
CATEGORY: Final = "category"

_ROW: Final = sql("r.type, r.id, r.version, r.updated, r.method, r.meta, r.content, r.written, r.rid")
_COLUMNS: Final = sql("{}, r.ord AS k1", _ROW)
_READ: Final = (101, 1_001)
"""Rows up to which a phase is read, whatever the size of a page: each number is a statement of its own."""
_EVER: Final = datetime(1, 1, 1, tzinfo=UTC)
_BIGINT: Final = 1 << 63


@dataclass(frozen=True, slots=True)
class Record:
    """What is wanted of the record of `type`/`id`, of which a page has `count` rows.

    `types`: only these. `since`: only what was updated later. `start` and `end` are days
    of care: members with a clinical date have to touch what is between them. `dated`: only members that have
    a clinical date; neither the resource itself nor what is referred to. `categories` are values of that
    search parameter, all of which have to hold. `rising`: the oldest members come first.
    """

    type: str
    id: str
    count: int
    types: frozenset[str] = ENDPOINT_TYPES
    since: datetime | None = None
    start: DateValue | None = None
    end: DateValue | None = None
    dated: bool = False
    categories: tuple[str, ...] = ()
    rising: bool = False


@lru_cache(maxsize=8)
def members_of(compartment: str) -> frozenset[str]:
    """The types that can lie in such a compartment."""
    return frozenset({compartment, *COMPARTMENTS[compartment]}) & ENDPOINT_TYPES


def categorised(registry: Registry) -> frozenset[str]:
    """The types that have a search parameter `category` of R4's own."""
    found = ((type_, registry.get(type_, CATEGORY)) for type_ in ENDPOINT_TYPES)
    return frozenset(type_ for type_, param in found if param is not None and not param.custom)


def statement(record: Record, context: Context, columns: Fragment, cursor: Cursor | None = None) -> Fragment:
    """A page and one row more, in order: `columns` over the row `r`, `rid`, `snapshot`, `k0` and `k1`.

    No rows where the caller may not see the resource whose record it is. Raises Invalid for a category that
    cannot be read.
    """
    return _Page(record, context, cursor).statement(columns)


@dataclass(frozen=True)
class _Page:
    record: Record
    context: Context
    cursor: Cursor | None

    def statement(self, columns: Fragment) -> Fragment:
        phases = [one for one in (self._owner(), self._members(), self._referred()) if one is not None]
        return sql(
            "WITH v AS NOT MATERIALIZED (SELECT * FROM resource r WHERE {}),"
            " b AS MATERIALIZED ({}), m AS MATERIALIZED ({}), f AS MATERIALIZED ({})"
            " SELECT {}, r.rid, {} AS snapshot, r.k0, r.k1 FROM (SELECT * FROM ({}) u ORDER BY {} LIMIT {}) r"
            " ORDER BY {}",
            self._seen,
            self._base,
            self._first_members() if self._comes(MEMBERS) else self._nobody,
            self._found() if self._comes(REFERRED) else self._nobody,
            columns,
            seen(self.context.snapshot),
            join(" UNION ALL ", (sql("({})", one) for one in phases)),
            self._by(sql("u.k0"), sql("u.k1"), sql("u.rid"), self._reverse),
            self.record.count + 1,
            self._by(sql("r.k0"), sql("r.k1"), sql("r.rid"), False),
        )

    # -- the order, and where in it to go on

    @property
    def _limit(self) -> Fragment:
        """The rows of a phase that are read: those of a page and one more, at least."""
        enough = self.record.count + 1
        return whole(next((rows for rows in _READ if rows >= enough), enough))

    @property
    def _reverse(self) -> bool:
        return self.cursor is not None and self.cursor.reverse

    @property
    def _upwards(self) -> bool:
        """Whether rows of a phase are read from the oldest on."""
        return self.record.rising is not self._reverse

    def _by(self, phase: Fragment, ord_: Fragment, rid: Fragment, reverse: bool) -> Fragment:
        order = _direction(ord_, rid, self.record.rising is not reverse)
        return sql("{} DESC, {}" if reverse else "{}, {}", phase, order)

    def _in_phase(self, ord_: Fragment, rid: Fragment) -> Fragment:
        return _direction(ord_, rid, self._upwards)

    def _after(self, phase: int, ord_: Fragment, rid: Fragment) -> Fragment:
        """What of a phase comes later in reading direction than the place; FALSE where nothing can."""
        if self.cursor is None or self.cursor.rid is None:
            return TRUE
        at_phase, at = self.cursor.values
        assert isinstance(at_phase, int)
        if at_phase != phase:
            return TRUE if (phase > at_phase) is not self._reverse else FALSE
        template = "({}, {}) > ({}, {})" if self._upwards else "({}, {}) < ({}, {})"
        return sql(template, ord_, rid, at, self.cursor.rid)

    def _comes(self, phase: int) -> bool:
        if self.record.dated and phase != MEMBERS:
            return False
        return self._after(phase, sql("r.ord"), sql("r.rid")) is not FALSE

    # -- the phases

    @cached_property
    def _base(self) -> Fragment:
        """The resource whose record it is, if the caller may see it."""
        of = self.record.type
        return sql(
            "SELECT {}, r.idk, r.ptk FROM {} r WHERE r.tenant = {} AND r.id = {} AND {} AND {} LIMIT 1",
            _COLUMNS,
            table(of),
            self.context.tenant,
            self.record.id,
            self.context.alive(self._scope),
            permitted(self.context, of),
        )

    def _owner(self) -> Fragment | None:
        if not self._comes(OWNER):
            return None
        return sql(
            "SELECT {}, r.k1, {} AS k0 FROM b r WHERE {}",
            _ROW,
            whole(OWNER),
            and_(self._wanted, self._fresh, self._after(OWNER, sql("r.k1"), sql("r.rid"))),
        )

    def _members(self) -> Fragment | None:
        return sql("SELECT *, {} AS k0 FROM m", whole(MEMBERS)) if self._comes(MEMBERS) else None

    def _first_members(self) -> Fragment:
        """Those of a page, each once, however often it names the owner."""
        wanted = and_(
            self._wanted,
            self._fresh,
            sql("r.rid IS DISTINCT FROM (SELECT b.rid FROM b)"),
            self._after(MEMBERS, sql("r.ord"), sql("r.rid")),
        )
        limited = sql("ORDER BY {} LIMIT {}", self._in_phase(sql("r.ord"), sql("r.rid")), self._limit)
        selects = [sql("({} {})", source.select(_COLUMNS), limited) for source in self._sources(wanted, True)]
        return sql(
            "SELECT DISTINCT ON (k1, rid) * FROM ({}) u ORDER BY {} LIMIT {}",
            join(" UNION ALL ", selects),
            self._in_phase(sql("k1"), sql("rid")),
            self._limit,
        )

    def _referred(self) -> Fragment | None:
        """The rows that `f` names; looked for only where the page has room for them."""
        if not self._comes(REFERRED):
            return None
        context = self.context
        test = and_(
            self._wanted,
            not_(and_(sql("r.compartments @> {}::bigint[]", [self._key]), self._is_member)),
            self._of_nobody_else,
            or_(self._fresh, sql("r.id = any(f.renewed)")),
            self._after(REFERRED, sql("r.ord"), sql("r.rid")),
        )
        rows = sql(
            "SELECT {} FROM f CROSS JOIN LATERAL (SELECT * FROM v r WHERE r.type = f.type"
            " AND r.id = any(f.ids) AND {} AND {} OFFSET 0) r",
            _COLUMNS,
            context.alive(self._scope),
            test,
        )
        room = TRUE if self._reverse else sql("(SELECT count(*) FROM m) <= {}", self.record.count)
        return sql(
            "SELECT y.*, {} AS k0 FROM (SELECT * FROM ({}) x ORDER BY {} LIMIT {}) y WHERE {}",
            whole(REFERRED),
            rows,
            self._in_phase(sql("x.k1"), sql("x.rid")),
            self._limit,
            room,
        )

    @property
    def _nobody(self) -> Fragment:
        return sql("SELECT {}, r.k1 FROM b r WHERE false", _ROW)

    # -- members

    @cached_property
    def _key(self) -> int:
        return self.context.keys.target(self.record.type, self.record.id)

    @cached_property
    def _scope(self) -> Scope:
        return self.context.scope(self.record.type)

    @cached_property
    def _seen(self) -> Fragment:
        """Tenant and restriction, of a row of whatever type.

        It can be long, and stands in the statement once: asyncpg keeps no statement prepared that is longer
        than 15 KiB.
        """
        return and_(sql("r.tenant = {}", self.context.tenant), permitted(self.context, None))

    @property
    def _is_member(self) -> Fragment:
        """Whether the row is of a type that can be one: others may be about the patient, too."""
        return sql("r.type = any({})", type_names(sorted(members_of(self.record.type))))

    @cached_property
    def _member_types(self) -> frozenset[str]:
        """Those that a member can be of: of which alone there is what is asked for."""
        types = members_of(self.record.type)
        if self.record.dated:
            types &= CLINICAL_DATES.keys()
        if self.record.categories:
            types &= categorised(self.context.registry)
        return types

    def _sources(self, wanted: Fragment, in_order: bool) -> Iterator[Source]:
        """The members; `in_order`: only those after the place are needed."""
        test = and_(
            sql("r.compartments @> {}::bigint[]", [self._key]),
            sql("EXISTS (SELECT FROM b)"),
            self._dates,
            self._categories,
            wanted,
        )
        owned, keys = self._ways
        rows = sql("v r")
        if owned:
            reached = sql("r.type = any({}) AND r.ptk = {}", type_names(owned), self._key)
            yield Source(rows, and_(reached, self.context.current(self._scope), test))
            if self.context.snapshot is not None:
                yield Source(rows, and_(reached, self.context.ended(self._scope), test))
        if keys:
            yield self._by_keys(keys, test, in_order)

    def _by_keys(self, keys: Sequence[tuple[str, int]], test: Fragment, in_order: bool) -> Source:
        """The rows to which `tok` leads; it has `ord` as well, so nothing before the place is fetched.

        The table of all types is opened once for each type, which costs more than a row does.
        """
        found = sql(
            "SELECT k.type, array_agg(t.rid) AS rids FROM unnest({}::text[], {}::bigint[]) k(type, key)"
            " CROSS JOIN LATERAL (SELECT t.rid FROM tok t WHERE t.key = k.key AND {} OFFSET 0) t GROUP BY 1",
            [type_ for type_, _ in keys],
            [key for _, key in keys],
            self._after(MEMBERS, sql("t.ord"), sql("t.rid")) if in_order else TRUE,
        )
        rows = sql(
            "({}) k CROSS JOIN LATERAL (SELECT * FROM v r WHERE r.type = k.type AND r.type = any({})"
            " AND r.rid = any(k.rids) AND {} AND {} OFFSET 0) r",
            found,
            type_names(sorted({type_ for type_, _ in keys})),
            self.context.alive(self._scope),
            test,
        )
        return Source(rows, TRUE)

    @cached_property
    def _ways(self) -> tuple[list[str], list[tuple[str, int]]]:
        """How references to the owner are found: the types where `ptk` is one, and keys of `tok` by type.

        https://hl7.org/fhir/R4/compartmentdefinition.html
        """
        owned: list[str] = []
        keys: list[tuple[str, int]] = []
        for type_ in sorted(self._member_types):
            for code in compartment_params(self.record.type, type_):
                param = self.context.registry.get(type_, code)
                if param is None:
                    continue
                if self.record.type == "Patient" and is_patient(param, type_):
                    owned.append(type_)
                else:
                    salt = reference.salt_of(self.context.keys, type_, code)
                    keys.append((type_, salt ^ self._key))
        return list(dict.fromkeys(owned)), keys

    @cached_property
    def _dates(self) -> Fragment:
        """Whether the clinical date, which may be a time, touches the days that are asked for: `ge` and `le`
        of `date.test`, with what is not asked for at the ends of all time."""
        start, end = self.record.start, self.record.end
        touching = sql(
            "r.d_hi > {} AND r.d_lo < {}", start.lo if start else -_BIGINT, end.hi if end else _BIGINT - 1
        )
        if self.record.dated:
            return and_(sql("r.d_lo IS NOT NULL"), touching)
        return or_(sql("r.d_lo IS NULL"), touching)

    @cached_property
    def _categories(self) -> Fragment:
        """What a search of each type by `category` would ask."""
        context, named = self.context, self.record.categories
        if not named:
            return TRUE
        tests = [
            sql(
                "r.type = {} AND {}",
                type_,
                and_(*(criterion(context, context.scope(type_), CATEGORY, value).filter for value in named)),
            )
            for type_ in sorted(self._member_types)
        ]
        return or_(*tests)

    @cached_property
    def _wanted(self) -> Fragment:
        return sql("r.type = any({}::text[])", sorted(self.record.types))

    @cached_property
    def _fresh(self) -> Fragment:
        return sql("r.updated > {}", self.record.since or _EVER)

    # -- what they refer to

    def _found(self) -> Fragment:
        """What the owner and the members refer to, whatever types are wanted: for each type `ids`, and of
        these `renewed`, to which one refers that was updated since: who asks for news may not know them.

        Literal references, wherever they stand, and the URLs of attachments.
        """
        every = [
            sql("SELECT r.content, {} AS renewed FROM b r", self._fresh),
            *(
                source.select(sql("r.content, {} AS renewed", self._fresh))
                for source in self._sources(TRUE, False)
            ),
        ]
        bases = self.context.reading.own_bases
        named = sql(
            "SELECT l.literal #>> ARRAY[]::text[] AS literal, bool_or(c.renewed) AS renewed FROM ({}) c"
            " CROSS JOIN LATERAL (SELECT jsonb_path_query(c.content, {}) UNION ALL"
            " SELECT jsonb_path_query(c.content, (SELECT {}::text::jsonpath))) l(literal) GROUP BY 1",
            join(" UNION ALL ", every),
            literals.REFERENCES,
            literals.attached(bases),
        )
        return sql(
            "SELECT p.parts[1] AS type, array_agg(p.parts[2]) AS ids,"
            " array_agg(p.parts[2]) FILTER (WHERE l.renewed) AS renewed"
            " FROM ({}) l CROSS JOIN LATERAL (SELECT string_to_array(split_part({}, '#', 1), '/')) p(parts)"
            " WHERE cardinality(p.parts) = 2 OR (cardinality(p.parts) = 4 AND p.parts[3] = '_history')"
            " GROUP BY 1",
            named,
            literals.relative(bases),
        )

    @cached_property
    def _of_nobody_else(self) -> Fragment:
        """Whether the row is of nobody else's record: that it is referred to does not make it part of this.

        Where it says whose it is (`ptk`), that has to be the one whose record this is. Where it does not, it
        may name no other patient.
        """
        whose = sql("CASE WHEN r.type = 'Patient' THEN r.idk ELSE r.ptk END")
        owner, path = self._patient
        others = literals.names_others(sql("r.content"), path, self.context.reading.own_bases)
        return sql(
            "CASE WHEN {} IS NOT NULL THEN {} IS NOT DISTINCT FROM {} ELSE NOT {} END",
            *(whose, whose, owner, others),
        )

    @property
    def _patient(self) -> tuple[Fragment, Fragment]:
        """Key and `Patient/[id]` of the patient whose record, or whose encounter, it is; NULL if nobody's."""
        if self.record.type == "Patient":
            return sql("{}", self._key), sql("{}", f"Patient/{self.record.id}")
        path = sql("substring(b.content #>> '{subject,reference}' FROM '(?:^|/)(Patient/[^/#]+)')")
        return sql("(SELECT b.ptk FROM b)"), sql("(SELECT {} FROM b WHERE b.ptk IS NOT NULL)", path)


def _direction(ord_: Fragment, rid: Fragment, upwards: bool) -> Fragment:
    return sql("{}, {}" if upwards else "{} DESC, {} DESC", ord_, rid)
