"""The lexical spaces: the plain part lies within the full one, and dates are days of the calendar."""

import base64
import calendar
import datetime
import re
from decimal import Decimal
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.fhir import json, primitives
from fhirserver.fhir.primitives import ELEMENT_ID, KEYWORDS, NUMBERS, TEXTS, fault, json_schema
from fhirserver.fhir.structure import STRUCTURES

VALIDATORS = {
    name: jsonschema_rs.Draft4Validator(json_schema(name), keywords=KEYWORDS)
    for name in (*TEXTS, *NUMBERS, "boolean")
}
INTERESTING = st.text("09:.-+TZ aé/=\n\t\x01\u00a0\u2028urnoid", max_size=12)


def test_every_primitive_of_the_tables_has_a_lexical_space() -> None:
    primitive = {name for name, found in STRUCTURES.items() if found.kind == "primitive"}
    assert set(VALIDATORS) == primitive | {ELEMENT_ID}


@pytest.mark.parametrize("type_name", sorted(set(TEXTS) - {"xhtml"}))
@given(data=st.data())
def test_what_the_fast_path_takes_is_in_the_lexical_space(type_name: str, data: st.DataObject) -> None:
    value = data.draw(
        st.one_of(st.from_regex(f"^(?:{TEXTS[type_name].plain})$"), INTERESTING, st.text(max_size=5))
    )
    if VALIDATORS[type_name].is_valid(value):
        assert fault(type_name, value) is None


@pytest.mark.parametrize("type_name", [*NUMBERS, "boolean"])
@given(
    st.one_of(
        st.integers(), st.integers(-3, 3), st.decimals(allow_nan=False, allow_infinity=False), st.booleans()
    )
)
def test_numbers_on_the_fast_path_and_off_it(type_name: str, value: Any) -> None:
    if VALIDATORS[type_name].is_valid(value):
        assert fault(type_name, value) is None


@given(st.integers(1, 9999), st.integers(0, 13), st.integers(0, 32))
def test_a_date_is_a_day_of_the_calendar(year: int, month: int, day: int) -> None:
    text = f"{year:04}-{month:02}-{day:02}"
    exists = 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]
    assert (fault("date", text) is None) is exists
    assert VALIDATORS["date"].is_valid(text) is exists
    assert (fault("dateTime", text + "T00:00:00Z") is None) is exists
    assert (fault("instant", text + "T00:00:00.5+14:00") is None) is exists


@given(st.datetimes(timezones=st.just(datetime.UTC)))
def test_iso_times_with_zone_are_instants(moment: datetime.datetime) -> None:
    assert fault("instant", moment.isoformat()) is None
    assert VALIDATORS["instant"].is_valid(moment.isoformat())
    assert fault("time", moment.time().isoformat()) is None


@given(st.binary(min_size=1, max_size=30))
def test_base64(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    assert fault("base64Binary", text) is None
    assert VALIDATORS["base64Binary"].is_valid(text)
    assert fault("base64Binary", text + "A") is not None


@given(st.binary(min_size=1, max_size=30), st.data())
def test_white_space_in_base64_stands_between_groups_of_four(binary: bytes, data: st.DataObject) -> None:
    text = base64.b64encode(binary).decode()
    place = data.draw(st.integers(0, len(text)))
    space = data.draw(st.text(" \t\r\n", min_size=1, max_size=3))
    broken = text[:place] + space + text[place:]
    pattern = str(STRUCTURES["base64Binary"].regex)  # that of the specification
    assert (re.fullmatch(pattern, broken) is not None) is (place % 4 == 0)
    assert (fault("base64Binary", broken) is None) is (place % 4 == 0)


@given(st.integers(-(2**31), 2**31 - 1), st.integers(0, 3))
def test_a_whole_number_is_written_without_an_exponent(value: int, zeros: int) -> None:
    for literal in (f"{value}e0", f"{value}E+0", f"{value}.{'0' * zeros}0e{zeros + 1}", f"{value}.0"):
        number = json.loads(literal.encode())
        assert fault("decimal", number) is None
        for type_name in ("integer", "unsignedInt", "positiveInt"):
            assert fault(type_name, number) is not None
            assert not VALIDATORS[type_name].is_valid(number)
    assert fault("integer", json.loads(str(value).encode())) is None
    assert VALIDATORS["integer"].is_valid(value)


@pytest.mark.parametrize(
    ("type_name", "value", "valid"),
    [
        ("date", "2018", True),
        ("date", "1973-06", True),
        ("date", "0000", False),
        ("date", "2018-6", False),
        ("date", "2018\n", False),
        ("date", "٢٠١٨", False),
        ("dateTime", "2015-02-07T13:28:17-05:00", True),
        ("dateTime", "2015-02-07T13:28:60Z", True),
        ("dateTime", "2015-02-07T13:28:17+14:30", False),
        ("dateTime", "2015-02-07T24:00:00Z", False),
        ("instant", "2015-02-07", False),
        ("time", "14:35", False),
        ("time", "14:35:00Z", False),
        ("decimal", 1, True),
        ("decimal", Decimal("1E+300"), True),
        ("decimal", 10**401, False),
        ("decimal", "1.0", False),
        ("integer", 2**31 - 1, True),
        ("integer", 2**31, False),
        ("integer", Decimal("1.0"), False),
        ("integer", Decimal("1E+2"), False),
        ("integer", Decimal("1"), False),
        ("decimal", Decimal("1"), True),
        ("unsignedInt", -1, False),
        ("positiveInt", 0, False),
        ("string", "a\tb\r\nc", True),
        ("string", "\x00", False),
        ("string", "x" * (1024 * 1024), True),
        ("string", "x" * (1024 * 1024 + 1), False),
        ("markdown", "\u00a0", True),
        ("code", "a b", True),
        ("code", "a  b", False),
        ("uri", "urn:x y", False),
        ("uri", "http://example.org/é", True),
        ("oid", "urn:oid:1.2.3", True),
        ("oid", "1.2.3", False),
        ("uuid", "urn:uuid:C757873D-EC9A-4326-A141-556F43239520", False),
        ("id", "A-1.b", True),
        ("id", "a_b", False),
        ("base64Binary", " ", False),
        ("base64Binary", "====", False),
        ("base64Binary", " AQID\r\n\tBAUG ", True),
        ("base64Binary", "AQ ID", False),
        ("base64Binary", "AQID\u00a0BAUG", False),
        ("base64Binary", "AQID\x0cBAUG", False),
        (ELEMENT_ID, "Patient.name:slice[x]_é", True),
        (ELEMENT_ID, "a b", False),
        (ELEMENT_ID, "a\n", False),
        (ELEMENT_ID, "x" * (1024 * 1024 + 1), False),
        ("boolean", True, True),
        ("boolean", 1, False),
    ],
)
def test_values_at_the_edges(type_name: str, value: Any, valid: bool) -> None:
    assert (fault(type_name, value) is None) is valid
    assert valid or not VALIDATORS[type_name].is_valid(value)


def test_long_values_are_shortened_in_messages() -> None:
    assert primitives.show("x" * 100) == f"'{'x' * 59}…'"
    assert len(str(fault("uri", "x " * 1000))) < 200
