"""Page links work for the search and the caller they were made for, and for nobody and nothing else."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.errors import Gone, Invalid
from fhirserver.search import page
from fhirserver.search.page import Cursor

SECRET = b"s" * 32
NOW = 1_700_000_000_000_000
BOUND = page.binding("Patient", [("name", "x")], "user")
CURSOR = Cursor(
    "10:20:12,14", NOW, (5, None, "é", Decimal("1.50"), datetime(2020, 1, 1, tzinfo=UTC)), 42, True, 7
)

values = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.text(max_size=20),
    st.decimals(allow_nan=False),
    st.datetimes(timezones=st.just(UTC)),
)


@given(
    st.lists(values, max_size=8), st.integers(0, 2**63 - 1), st.booleans(), st.none() | st.integers(0, 10**9)
)
def test_a_cursor_survives_its_link(found: list[Any], rid: int, reverse: bool, total: int | None) -> None:
    cursor = Cursor("1:2:", NOW, tuple(found), rid, reverse, total)
    assert page.decode(page.encode(cursor, SECRET, BOUND), SECRET, BOUND, NOW, 60) == cursor


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_link_is_refused(position: int, byte: int) -> None:
    text = bytearray(page.encode(CURSOR, SECRET, BOUND).encode())
    index = position % len(text)
    if text[index] == byte:
        return
    text[index] = byte
    with suppress(Invalid):  # the last character of base64 has bits that mean nothing
        assert page.decode(text.decode("latin-1"), SECRET, BOUND, NOW, 60) == CURSOR


@pytest.mark.parametrize("wrong", ["", "x", "====", "é", "A" * 9_000, urlsafe_b64encode(b"{}" * 20).decode()])
def test_a_malformed_link_is_refused(wrong: str) -> None:
    with pytest.raises(Invalid):
        page.decode(wrong, SECRET, BOUND, NOW, 60)


@pytest.mark.parametrize(
    "other",
    [
        page.binding("Patient", [("name", "x")], "somebody else"),
        page.binding("Patient", [("name", "y")], "user"),
        page.binding("Patient", [("name", "x"), ("_count", "1")], "user"),
        page.binding("Observation", [("name", "x")], "user"),
        page.binding("Patient", [("name", "x")], "user", "Patient/1"),
        page.binding("Patient", [("na", "mex")], "user"),
    ],
)
def test_a_link_of_another_search_or_caller_is_refused(other: bytes) -> None:
    with pytest.raises(Invalid):
        page.decode(page.encode(CURSOR, SECRET, BOUND), SECRET, other, NOW, 60)
    with pytest.raises(Invalid):
        page.decode(page.encode(CURSOR, b"t" * 32, BOUND), SECRET, BOUND, NOW, 60)


def test_an_old_link_is_gone() -> None:
    text = page.encode(CURSOR, SECRET, BOUND)
    assert page.decode(text, SECRET, BOUND, NOW + 60_000_000, 60) == CURSOR
    with pytest.raises(Gone) as caught:
        page.decode(text, SECRET, BOUND, NOW + 60_000_001, 60)
    assert caught.value.status == 410


def rows(*rids: int) -> list[dict[str, Any]]:
    return [{"rid": rid, "snapshot": "1:2:", "k0": rid * 10} for rid in rids]


def test_the_first_page_has_a_next_one_if_there_is_more() -> None:
    found = page.cut(rows(9, 8, 7), 2, 1, None, NOW, total=3)
    assert [row["rid"] for row in found.rows] == [9, 8]
    assert found.next == Cursor("1:2:", NOW, (80,), 8, False, 3)
    assert found.previous is None
    assert page.cut(rows(9, 8), 2, 1, None, NOW).next is None
    assert page.cut([], 2, 1, None, NOW) == page.Page([], None, None)


def test_a_later_page_has_a_previous_one_and_keeps_its_time() -> None:
    at = Cursor("1:2:", NOW - 5, (80,), 8, False, 3)
    found = page.cut(rows(7, 6), 2, 1, at, NOW)
    assert found.next is None
    assert found.previous == Cursor("1:2:", NOW - 5, (70,), 7, True, 3)


def test_backwards_the_row_too_many_is_the_first() -> None:
    at = Cursor("1:2:", NOW, (60,), 6, True)
    found = page.cut(rows(9, 8, 7), 2, 1, at, NOW)
    assert [row["rid"] for row in found.rows] == [8, 7]
    assert found.previous is not None
    assert found.previous.rid == 8
    assert found.next is not None
    assert found.next.rid == 7
    assert page.cut(rows(8, 7), 2, 1, at, NOW).previous is None


def test_links_say_what_was_applied() -> None:
    assert page.link("http://b/fhir", "Patient", []) == "http://b/fhir/Patient"
    url = page.link("http://b/fhir", "Patient", [("name:exact", "a b&c"), ("code", "http://s|1,2")], "cur")
    assert url == "http://b/fhir/Patient?name:exact=a%20b%26c&code=http://s%7C1,2&_cursor=cur"
