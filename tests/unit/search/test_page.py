"""Page links work for the search and the caller they were made for, and for nobody and nothing else."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from contextlib import suppress
from dataclasses import replace
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
    "10:20:12,14", NOW, 900, (5, None, "é", Decimal("1.50"), datetime(2020, 1, 1, tzinfo=UTC)), 42, True, 7
)

values = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.text(max_size=20),
    st.decimals(allow_nan=False),
    st.datetimes(timezones=st.just(UTC)),
)


@given(
    st.none() | st.just("1:2:"),
    st.lists(values, max_size=8),
    st.none() | st.integers(0, 2**63 - 1),
    st.booleans(),
    st.none() | st.integers(0, 10**9),
)
def test_a_cursor_survives_its_link(
    snapshot: str | None, found: list[Any], rid: int | None, reverse: bool, total: int | None
) -> None:
    cursor = Cursor(snapshot, NOW, 900, tuple(found), rid, reverse, total)
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


def test_a_link_lasts_as_long_as_what_it_needs_was_and_is_kept() -> None:
    """The retention can be another one after a restart: longer does not bring back what was removed."""
    text = page.encode(replace(CURSOR, kept_s=30), SECRET, BOUND)
    for kept_s in (30, 60):
        assert page.decode(text, SECRET, BOUND, NOW + 30_000_000, kept_s).kept_s == 30
        with pytest.raises(Gone):
            page.decode(text, SECRET, BOUND, NOW + 30_000_001, kept_s)
    with pytest.raises(Gone):
        page.decode(text, SECRET, BOUND, NOW + 10_000_001, 10)


def rows(*rids: int) -> list[dict[str, Any]]:
    return [{"rid": rid, "k0": rid * 10} for rid in rids]


START = Cursor("1:2:", NOW, 900, total=3)


def test_the_first_page_has_a_next_one_if_there_is_more() -> None:
    found = page.cut(rows(9, 8, 7), 2, 1, START)
    assert [row["rid"] for row in found.rows] == [9, 8]
    assert found.next == replace(START, values=(80,), rid=8)
    assert found.first == START
    assert found.previous is None


@pytest.mark.parametrize("single", [rows(9, 8), rows(9), []])
def test_a_single_page_leads_nowhere(single: list[dict[str, Any]]) -> None:
    assert page.cut(single, 2, 1, START) == page.Page(single)


def test_a_later_page_has_a_previous_one_and_keeps_what_the_first_one_saw() -> None:
    at = replace(START, values=(80,), rid=8)
    found = page.cut(rows(7, 6), 2, 1, at)
    assert found.next is None
    assert found.previous == replace(START, values=(70,), rid=7, reverse=True)
    assert found.first == START
    assert page.cut([], 2, 1, at) == page.Page([], START)


def test_backwards_the_row_too_many_is_the_first() -> None:
    at = replace(START, values=(60,), rid=6, reverse=True)
    found = page.cut(rows(9, 8, 7), 2, 1, at)
    assert [row["rid"] for row in found.rows] == [8, 7]
    assert found.first == START
    assert found.previous is not None
    assert found.previous.rid == 8
    assert found.next is not None
    assert found.next.rid == 7
    assert page.cut(rows(8, 7), 2, 1, at).previous is None


def test_links_say_what_was_applied() -> None:
    assert page.link("http://b/fhir", "Patient", []) == "http://b/fhir/Patient"
    url = page.link("http://b/fhir", "Patient", [("name:exact", "a b&c"), ("code", "http://s|1,2")], "cur")
    assert url == "http://b/fhir/Patient?name:exact=a%20b%26c&code=http://s%7C1,2&_cursor=cur"
