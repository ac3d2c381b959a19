"""Search values as text: separators, escapes, precision and what is refused."""

from __future__ import annotations

from datetime import UTC
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.errors import FhirError, Invalid
from fhirserver.params import date, near, number, quantity, reference, string, text, token
from fhirserver.params.registry import r4

words = st.text(alphabet="ab,$|\\ é", max_size=8)


@given(st.lists(words, min_size=1, max_size=4), st.sampled_from(",$|"))
def test_what_is_escaped_comes_back_whole(parts: list[str], separator: str) -> None:
    written = separator.join(text.escape(part) for part in parts)
    assert [text.unescape(part) for part in text.split(written, separator)] == parts


@pytest.mark.parametrize("wrong", ["a\\", "\\x", "a\\b"])
def test_a_backslash_escapes_something(wrong: str) -> None:
    with pytest.raises(Invalid):
        text.unescape(wrong)


@pytest.mark.parametrize(
    ("written", "lo", "hi"),
    [
        ("100", "99.5", "100.5"),
        ("100.00", "99.995", "100.005"),
        ("1e2", "95", "105"),
        ("2.0", "1.95", "2.05"),
        ("5.4", "5.35", "5.45"),
        ("5.40e-3", "0.005395", "0.005405"),
        ("-3", "-3.5", "-2.5"),
    ],
)
def test_a_number_is_as_precise_as_it_is_written(written: str, lo: str, hi: str) -> None:
    """The examples of https://hl7.org/fhir/R4/search.html#number and #quantity."""
    found = number.parse(written)
    assert (found.lo, found.hi) == (Decimal(lo), Decimal(hi))


@pytest.mark.parametrize(
    "wrong", ["", "gt", "abc", "1.", ".5", "1e99999", "NaN", "Infinity", "1 2", "0x1", "١"]
)
def test_what_is_no_number_is_refused(wrong: str) -> None:
    with pytest.raises(Invalid):
        number.parse(wrong)


@pytest.mark.parametrize("wrong", ["", "2020-13", "20", "gt", "2020-02-30", "yesterday", "2020-01-01T25:00"])
def test_what_is_no_date_is_refused(wrong: str) -> None:
    with pytest.raises(Invalid):
        date.parse(wrong, UTC)


def test_the_plus_of_an_offset_survives_form_decoding() -> None:
    assert date.parse("2020-01-01T00:00:00 01:00", UTC) == date.parse("2020-01-01T00:00:00+01:00", UTC)


@pytest.mark.parametrize("written", ["2020-02-29T12:00:00Z", "2020-02-29T12:00:00.000Z"])
def test_an_instant_has_no_width(written: str) -> None:
    """https://hl7.org/fhir/R4/search.html#date"""
    lo, hi = date.span(written, "instant", UTC) or (0, 0)
    assert hi - lo == 1
    assert date.span(written, "dateTime", UTC) != (lo, hi)


def test_tokens_have_four_forms() -> None:
    assert token.parse("a") == token.TokenValue(None, "a")
    assert token.parse("s|a") == token.TokenValue("s", "a")
    assert token.parse("|a") == token.TokenValue("", "a")
    assert token.parse("s|") == token.TokenValue("s", None)
    assert token.parse(r"s\|t|a\,b") == token.TokenValue("s|t", "a,b")


@pytest.mark.parametrize("wrong", ["", "|", "a|b|c"])
def test_what_is_no_token_is_refused(wrong: str) -> None:
    with pytest.raises(Invalid):
        token.parse(wrong)


def test_quantities_have_three_forms() -> None:
    assert quantity.parse("gt5").code is None
    assert quantity.parse("5||mg").code == "mg"
    found = quantity.parse("le5.4|http://unitsofmeasure.org|mg")
    assert (found.number.prefix, found.system, found.code) == ("le", "http://unitsofmeasure.org", "mg")


@pytest.mark.parametrize("wrong", ["5|mg", "5|s|", "|s|mg", "5|a|b|c"])
def test_what_is_no_quantity_is_refused(wrong: str) -> None:
    with pytest.raises(Invalid):
        quantity.parse(wrong)


BASES = ("https://here/fhir",)


@pytest.mark.parametrize(
    ("written", "modifier", "expected"),
    [
        ("1", None, reference.ReferenceValue(("Group", "Patient"), "1")),
        ("1", "Patient", reference.ReferenceValue(("Patient",), "1")),
        ("Patient/1", None, reference.ReferenceValue(("Patient",), "1")),
        ("Patient/1/_history/2", None, reference.ReferenceValue(("Patient",), "1", None, "2")),
        ("https://here/fhir/Patient/1", None, reference.ReferenceValue(("Patient",), "1")),
        ("https://there/Patient/1", None, reference.ReferenceValue(url="https://there/Patient/1")),
        ("http://q|2.0", None, reference.ReferenceValue(url="http://q", version="2.0")),
        ("urn:uuid:x", None, reference.ReferenceValue(url="urn:uuid:x")),
    ],
)
def test_references(written: str, modifier: str | None, expected: reference.ReferenceValue) -> None:
    assert reference.parse(written, ("Group", "Patient"), modifier, BASES) == expected


@pytest.mark.parametrize(
    ("written", "modifier"),
    [("", None), ("#a", None), ("Group/1", "Patient"), ("Patient?name=x", None)],
)
def test_what_is_no_reference_is_refused(written: str, modifier: str | None) -> None:
    with pytest.raises(Invalid):
        reference.parse(written, (), modifier, BASES)


@given(st.text(max_size=20))
def test_folding_twice_changes_nothing(value: str) -> None:
    assert string.fold(string.fold(value)) == string.fold(value)


@pytest.mark.parametrize(
    ("written", "folded"),
    [
        ("D'Angelo", "dangelo"),
        ("D\u2019Angelo", "dangelo"),
        ("D\u02bcAngelo", "dangelo"),
        ("Saint-Exupéry", "saint exupery"),
        ("Łukasz", "lukasz"),
        ("ØSTER", "oster"),
        ("Đặng", "dang"),
        ("Ærø", "aero"),
        ("STRAẞE 12, 3.OG", "strasse 12 3og"),
        ("a_b/c", "a b c"),
        ("100 %", "100"),
        ("日本", "日本"),
    ],
)
def test_what_does_not_count_is_folded_away(written: str, folded: str) -> None:
    """https://hl7.org/fhir/R4/search.html#string"""
    assert string.fold(written) == folded


def test_family_names_and_what_dashes_join_have_further_beginnings() -> None:
    assert string.later_parts("Carreno Quinones") == ["quinones"]
    assert string.later_parts("van den Berg") == ["den berg", "berg"]
    assert string.later_parts("Berg") == []
    assert string.joined("Rue Sainte-Thérèse 3") == "rue saintetherese 3"
    assert string.joined("A-B - C") == "ab c"
    assert string.joined("O'Neil") is None


def test_strings_to_search_for_are_bounded() -> None:
    for wrong in ("", "  ", "x" * 601):
        with pytest.raises(Invalid):
            string.parse(wrong)


def test_long_texts_are_stored_in_overlapping_pieces() -> None:
    """Whatever is searched for with `:contains` lies within one piece."""
    written = "".join(chr(97 + index % 26) + str(index) for index in range(1500))
    pieces = [value for _, value in string.rows(1, 2, written)]
    size = string.CONTAINS_LENGTH_MAX
    for start in range(len(written) - size + 1):
        assert any(written[start : start + size] in piece for piece in pieces)
    assert max(map(len, pieces)) <= string.VALUE_LENGTH_MAX


@pytest.mark.parametrize("wrong", ["1", "91|0", "0|181", "0|0|x|km", "0|0|5|kg", "a|b"])
def test_what_is_no_place_is_refused(wrong: str) -> None:
    param = r4().get("Location", "near")
    assert param is not None
    with pytest.raises(FhirError):
        near.parse(param, wrong)
