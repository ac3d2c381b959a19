"""Stored entries against those that should be."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.fhir.dates import micros
from fhirserver.jobs.rebuild.compare import COLUMNS, Derived, Stored, columns_of, compare, probes
from fhirserver.jobs.rebuild.rows import wanted
from fhirserver.params.entries import Entries
from fhirserver.store.version import Version

AT = datetime(2024, 5, 6, tzinfo=UTC)
VERSION = Version("Patient", "1", 2, AT, "PUT", None, "{}")
KEY = st.integers(-9, 9)
ENTRIES = st.builds(
    Entries,
    ptk=st.none() | KEY,
    ord=st.none() | KEY,
    compartments=st.lists(KEY, unique=True, max_size=3),
    keys=st.lists(KEY, unique=True, min_size=1, max_size=4),
    tok=st.lists(KEY, unique=True, max_size=3),
    str=st.lists(st.tuples(KEY, st.sampled_from("ab")), unique=True, max_size=3),
    dat=st.lists(st.tuples(KEY, KEY, KEY), unique=True, max_size=3),
    qty=st.lists(st.tuples(KEY, st.just(Decimal("1.0")), st.just(Decimal(2))), unique=True, max_size=3),
    words=st.none() | st.sampled_from(["'a':1", "'b':1"]),
)


def stored(entries: Entries) -> Stored:
    """The entries as the tables hold them."""
    columns = columns_of(entries, VERSION)
    return Stored(7, VERSION, columns, wanted(entries, columns[1]))


@given(ENTRIES)
def test_what_is_as_it_should_be_does_not_differ(entries: Entries) -> None:
    assert compare(stored(entries), Derived(entries)) is None


@given(ENTRIES, ENTRIES)
def test_the_differences_make_one_into_the_other(before: Entries, after: Entries) -> None:
    there = stored(before)
    difference = compare(there, Derived(after))
    if difference is None:
        return
    columns = difference.columns or there.columns
    rows = {
        name: [row for row in there.rows[name] if row not in difference.change.removed[name]]
        + difference.change.added[name]
        for name in there.rows
    }
    assert compare(Stored(7, VERSION, columns, rows), Derived(after)) is None


def test_the_order_of_keys_does_not_matter_but_for_the_first() -> None:
    there = stored(Entries(keys=[1, 2, 3]))
    assert compare(there, Derived(Entries(keys=[1, 3, 2]))) is None
    difference = compare(there, Derived(Entries(keys=[2, 1, 3])))
    assert difference is not None
    assert difference.named == ("keys",)


def test_a_row_that_is_there_twice_becomes_one() -> None:
    entries = Entries(keys=[0], str=[(1, "a")])
    there = stored(entries)
    there.rows["str"].append((1, "a"))
    difference = compare(there, Derived(entries))
    assert difference is not None
    assert (difference.change.added["str"], difference.change.removed["str"]) == ([(1, "a")], [(1, "a")])
    assert str(difference) == "Patient/1 version 2: str: 1 missing, 1 too many"


def test_types_without_a_clinical_date_go_by_the_last_update() -> None:
    assert columns_of(Entries(keys=[0]), VERSION)[COLUMNS.index("ord")] == micros(AT)


@pytest.mark.parametrize(("of", "expected"), [("Patient", set()), ("Observation", {(5, 3 ^ 9), (5, 4 ^ 9)})])
def test_rows_of_patient_and_code_are_looked_for_by_what_the_version_says(
    of: str, expected: set[object]
) -> None:
    version = Version(of, "1", 1, AT, "PUT", None, "{}")
    found = probes(Stored(7, version, (9, 5, None, None, [], [0, 3, 4])), Entries(ord=5, keys=[0]))
    assert found == {(5, 3), (5, 4)} | expected
