"""SELECTs of one shape become one, with what differs in a list of values."""

from __future__ import annotations

import re

import pytest

from fhirserver.db.sql import TRUE, Fragment, sql, table
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.search.spread import BRANCHES_MAX, Part, union

TYPES = sorted(ENDPOINT_TYPES)[: BRANCHES_MAX + 4]
OF = sql("i1_of")


def select(type_: str, key: object, same: object = 7) -> Fragment:
    return sql(
        "SELECT i.idk FROM {} i WHERE i.keys @> {}::bigint[] AND i.tenant = {}", table(type_), key, same
    )


def test_few_are_branches_of_their_own() -> None:
    parts = [Part(type_, select(type_, [1])) for type_ in TYPES[:BRANCHES_MAX]]
    text, args = union(parts, OF).numbered()
    assert text.count("UNION ALL") == BRANCHES_MAX - 1
    assert "VALUES" not in text
    assert len(args) == 2 * BRANCHES_MAX


def test_many_are_one_with_their_own_arguments_in_a_list() -> None:
    parts = [Part(type_, select(type_, [number])) for number, type_ in enumerate(TYPES)]
    text, args = union(parts, OF).numbered()
    assert "UNION ALL" not in text
    assert text.startswith(f"SELECT x.* FROM (VALUES ('{TYPES[0]}'::text,$1::bigint[]),('{TYPES[1]}',$2),")
    assert "y.type = i1_of.type" in text
    assert re.search(
        r"i\.keys @> i1_of\.c\d::bigint\[\] AND i\.tenant = \$\d+ OFFSET 0\) x WHERE true$", text
    )
    assert args == [*([number] for number in range(len(TYPES))), 7]


def test_a_gate_is_looked_at_before_the_table_is() -> None:
    parts = [
        Part(type_, select(type_, [number]), sql("r.keys @> {}::bigint[]", [number * 10]))
        for number, type_ in enumerate(TYPES)
    ]
    text, args = union(parts, OF).numbered()
    assert re.search(r"OFFSET 0\) x WHERE r\.keys @> i1_of\.c\d::bigint\[\]$", text)
    assert [20] in args
    few, _ = union(parts[:1], OF).numbered()
    assert few.endswith("OFFSET 0) x WHERE r.keys @> $3::bigint[]")


def test_shapes_stay_apart_and_what_no_list_can_hold_stays_as_it_is() -> None:
    parts = [Part(type_, select(type_, [1])) for type_ in TYPES[:5]]
    parts += [
        Part(type_, sql("SELECT i.idk FROM {} i WHERE i.id = {}", table(type_), type_))
        for type_ in TYPES[5:-2]
    ]
    parts.append(Part(TYPES[-2], sql("SELECT i.idk FROM {} i LIMIT {}", table(TYPES[-2]), 3)))
    parts.append(Part(TYPES[-1], select(TYPES[-1], None)))
    text, args = union(parts, OF).numbered()
    assert text.count("VALUES") == 2
    assert text.count("UNION ALL") == 3
    assert table(TYPES[-1]).texts[0] in text
    assert args.count(None) == 1
    assert set(re.findall(r"\$(\d+)", text)) == {str(number + 1) for number in range(len(args))}


def test_the_text_depends_on_the_shape_alone() -> None:
    texts = {
        union(
            [Part(type_, select(type_, [number, seed])) for number, type_ in enumerate(TYPES)], OF
        ).numbered()[0]
        for seed in (5, 6)
    }
    assert len(texts) == 1


def test_a_fragment_spliced_but_for_one() -> None:
    own = table("Patient")
    texts, args = sql("a {} b {} c", sql("x {} y", 1), own).flat(own)
    assert (texts, args) == (("a x ", " y b ", " c"), (1, own))
    assert TRUE.flat(own) == (("true",), ())


def test_only_types_of_the_specification_get_into_the_text() -> None:
    with pytest.raises(KeyError):
        union([Part("x'; DROP TABLE resource --", TRUE)] * (BRANCHES_MAX + 1), OF)
