"""Formats, preferences, entity tags and dates from headers: the rules one by one, and any text at all."""

import contextlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fhirserver import errors
from fhirserver.http.negotiate import (
    Accepted,
    Format,
    PatchFormat,
    body_type,
    http_date,
    media_ranges,
    negotiate,
    patch_format,
    prefer,
    raw_accepted,
    request_format,
)
from fhirserver.interactions.headers import ETags, Handling, Prefer, Return, etag, etags

J, X = Format.JSON, Format.XML
HEADERS = st.text() | st.text('abjsonxml/;=,"*q.019\\ W-+:GMT', max_size=200)
CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "application/fhir+json"),
        ("", "application/fhir+json"),
        ("*/*", "application/fhir+json"),
        ("application/*", "application/fhir+json"),
        ("text/html", "application/fhir+json"),
        (CHROME, "application/fhir+json"),
        ("application/fhir+json", "application/fhir+json"),
        ("application/json", "application/json"),
        ("text/json", "text/json"),
        ("application/json+fhir", "application/fhir+json"),
        ("application/fhir+xml", "application/fhir+xml"),
        ("APPLICATION/FHIR+XML; charset=UTF-8", "application/fhir+xml"),
        ("application/xml", "application/xml"),
        ("text/xml", "text/xml"),
        ("application/xml+fhir", "application/fhir+xml"),
        ("application/fhir+xml, application/fhir+json", "application/fhir+xml"),
        ("application/fhir+xml;q=0.5, application/fhir+json;q=0.6", "application/fhir+json"),
        ("application/fhir+json; q=0.5 , application/xml", "application/xml"),
        ("*/*, application/fhir+xml", "application/fhir+xml"),
        ("application/fhir+json;q=0.5, */*", "application/fhir+xml"),
        ("application/fhir+json;q=0, */*", "application/fhir+xml"),
        ("application/fhir+json;q=0, application/json", "application/json"),
        ("image/png, */*;q=0.1", "application/fhir+json"),
        ("application/fhir+json; fhirVersion=4.0", "application/fhir+json"),
        ('application/fhir+xml; fhirVersion="4.0.1"', "application/fhir+xml"),
        (
            "application/fhir+json;fhirVersion=5.0, application/fhir+xml;fhirVersion=4.0",
            "application/fhir+xml",
        ),
        ("application/fhir+json;fhirVersion=5.0, */*;q=0.1", "application/fhir+json"),
        ("nonsense", "application/fhir+json"),
        ("/, ;;, a/b/c, */json, application/json;q=7, application/json;q", "application/fhir+json"),
        ("nonsense, application/xml", "application/xml"),
        (", ,application/xml,", "application/xml"),
        ("application/xml;", "application/xml"),
        ("x/y" * 1000, "application/fhir+json"),
    ],
)
def test_accept(accept: str | None, media_type: str) -> None:
    assert negotiate(accept).media_type == media_type


@pytest.mark.parametrize(
    "accept",
    [
        "image/png",
        "text/turtle",
        "application/fhir+json;fhirVersion=3.0",
        "application/fhir+json;q=0",
        "*/*;q=0",
        "*/*;q=0.000, text/html;q=0",
    ],
)
def test_nothing_acceptable(accept: str) -> None:
    with pytest.raises(errors.NotAcceptable, match=r"application/fhir\+json") as caught:
        negotiate(accept, None)
    assert caught.value.status == 406


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("json", J),
        ("xml", X),
        ("JSON", J),
        ("application/json", J),
        ("text/json", J),
        ("application/fhir+json", J),
        ("application/fhir json", J),
        ("application/fhir xml", X),
        ("text/xml", X),
        ("application/fhir+xml;fhirVersion=4.0", X),
    ],
)
def test_format_overrides_accept(value: str, expected: Format) -> None:
    assert negotiate("application/fhir+xml", value).format is expected
    assert negotiate("image/png", value).format is expected


@pytest.mark.parametrize(
    "value", ["ttl", "html", "text/html", "x", "application/fhir+json;fhirVersion=5.0", " "]
)
def test_format_that_cannot_be_produced(value: str) -> None:
    with pytest.raises(errors.NotAcceptable, match="_format"):
        negotiate(None, value)


def test_empty_format_counts_as_absent() -> None:
    assert negotiate("application/xml", "") == negotiate("application/xml")


@pytest.mark.parametrize(
    ("accept", "content_type", "raw"),
    [
        (None, "application/pdf", True),
        ("*/*", "application/pdf", True),
        ("application/pdf", "application/pdf", True),
        ("image/*", "image/png; a=b", True),
        ("image/png", "application/pdf", True),
        ("application/fhir+json", "application/pdf", False),
        ("application/fhir+json", "application/fhir+json", False),
        ("application/xml+fhir", "application/xml", False),
        ("application/fhir+json;q=0.5, application/pdf", "application/pdf", True),
        ("application/fhir+json;q=0.5, application/pdf", "image/png", False),
        ("*/*, application/fhir+json", "application/pdf", False),
        ("application/fhir+json; fhirVersion=3.0", "application/pdf", False),
        ("application/pdf;q=0", "application/pdf", False),
        ("application/json", "application/pdf", False),
        ("application/json", "application/json", True),
        ("text/json", "application/vnd.xacml+json", True),
        ("application/xml", "application/fhir+xml", True),
        ("application/xml", "application/json", False),
        ("application/json, text/plain, */*", "application/pdf", True),
        (CHROME, "application/pdf", True),
        ("*/*", "no type", False),
    ],
)
def test_binaries_are_sent_raw_unless_fhir_is_asked_for(
    accept: str | None, content_type: str, raw: bool
) -> None:
    assert raw_accepted(content_type, media_ranges(accept)) is raw


@given(HEADERS, st.none() | HEADERS)
@example('"' * 500 + "\\", None)
@example("a/b;" + ";" * 900, None)
def test_any_headers_give_a_format_or_406(accept: str, format_param: str | None) -> None:
    with contextlib.suppress(errors.NotAcceptable):
        assert isinstance(negotiate(accept, format_param), Accepted)


QUALITIES = st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)


@given(QUALITIES, QUALITIES)
def test_the_higher_quality_wins(json_quality: float, xml_quality: float) -> None:
    accept = f"application/fhir+json;q={json_quality:.3f}, application/fhir+xml;q={xml_quality:.3f}"
    if json_quality == xml_quality == 0:
        with pytest.raises(errors.NotAcceptable):
            negotiate(accept)
    else:
        assert negotiate(accept).format is (X if xml_quality > json_quality else J)


TOKENS = st.text("abcXYZ019+-._!#", min_size=1, max_size=8)


@given(st.lists(st.tuples(TOKENS, TOKENS), min_size=1, max_size=5))
def test_well_formed_ranges_are_all_read(pairs: list[tuple[str, str]]) -> None:
    header = " , ".join(f'{kind}/{sub}; p="a,\\"b;" ;q=0.5' for kind, sub in pairs)
    found = media_ranges(header)
    assert [(r.type, r.subtype) for r in found] == [(kind.lower(), sub.lower()) for kind, sub in pairs]
    assert all(r.parameter("p") == 'a,"b;' and r.quality == 0.5 for r in found)


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/fhir+json", J),
        ("application/fhir+json; charset=utf-8", J),
        ('application/fhir+json; charset="UTF-8"; fhirVersion=4.0', J),
        ("application/json", J),
        ("text/json", J),
        ("application/fhir+xml;charset=utf8", X),
        ("application/xml", X),
        ("text/xml", X),
    ],
)
def test_request_format(content_type: str, expected: Format) -> None:
    assert request_format(content_type) is expected


@pytest.mark.parametrize(
    ("content_type", "hint"),
    [
        (None, "is missing"),
        ("", "is missing"),
        ("json", "is malformed"),
        ("*/*", "is malformed"),
        ("text/plain", "text/plain is not read"),
        ("application/x-www-form-urlencoded", "is not read"),
        ("application/fhir+json; charset=iso-8859-1", "UTF-8"),
        ("application/fhir+json; fhirVersion=5.0", "4.0"),
        ("application/json-patch+json", "is not read"),
    ],
)
def test_unsupported_bodies(content_type: str | None, hint: str) -> None:
    with pytest.raises(errors.UnsupportedMediaType, match=hint) as caught:
        request_format(content_type)
    assert caught.value.status == 415


def test_patch_format() -> None:
    assert patch_format("application/json-patch+json; charset=utf-8") is PatchFormat.JSON_PATCH
    assert patch_format("application/fhir+json") is PatchFormat.FHIRPATH_JSON
    assert patch_format("application/fhir+xml") is PatchFormat.FHIRPATH_XML
    for other in ("application/json", "application/xml-patch+xml", "application/merge-patch+json", None):
        with pytest.raises(errors.UnsupportedMediaType):
            patch_format(other)


@given(HEADERS)
def test_any_content_type_gives_a_format_or_415(content_type: str) -> None:
    for read in (request_format, patch_format):
        with contextlib.suppress(errors.UnsupportedMediaType):
            read(content_type)
    assert body_type(content_type) == body_type(content_type).lower()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, Prefer()),
        ("", Prefer()),
        ("return=minimal", Prefer(returns=Return.MINIMAL)),
        ("return=representation", Prefer(returns=Return.REPRESENTATION)),
        ("return=OperationOutcome", Prefer(returns=Return.OPERATION_OUTCOME)),
        ("RETURN = operationoutcome", Prefer(returns=Return.OPERATION_OUTCOME)),
        ("return=nothing", Prefer()),
        ('handling="strict"', Prefer(handling=Handling.STRICT)),
        ("handling=lenient; x=1, return=minimal", Prefer(Return.MINIMAL, Handling.LENIENT)),
        ("respond-async, wait=10", Prefer(respond_async=True)),
        ("return=minimal, return=representation", Prefer(returns=Return.MINIMAL)),
        ('x="a, return=minimal"', Prefer()),
    ],
)
def test_prefer(header: str | None, expected: Prefer) -> None:
    assert prefer(header) == expected


@given(HEADERS)
def test_any_prefer_is_read(header: str) -> None:
    assert isinstance(prefer(header), Prefer)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("*", ETags(any=True)),
        ('W/"3"', ETags(versions=frozenset({"3"}))),
        ('"3"', ETags(versions=frozenset({"3"}))),
        (' W/"3" ,"4"', ETags(versions=frozenset({"3", "4"}))),
        ("3", ETags(versions=frozenset({"3"}))),
        ("W/3", ETags(versions=frozenset({"3"}))),
    ],
)
def test_etags(header: str | None, expected: ETags | None) -> None:
    assert etags(header) == expected


@pytest.mark.parametrize("header", ["", 'w/"3"', '"3', 'W/"3", x y', ",", "*, *", '"a b"', "W/"])
def test_malformed_etags_are_refused(header: str) -> None:
    with pytest.raises(errors.Invalid, match="If-None-Match"):
        etags(header, "If-None-Match")


@given(HEADERS, st.integers(1, 10**9))
def test_any_etag_is_read_or_invalid(header: str, version: int) -> None:
    with contextlib.suppress(errors.Invalid):
        etags(header)
    own = etags(etag(version))
    assert own is not None
    assert own.match(version)
    assert own.match(str(version))
    assert not own.match(version + 1)
    assert not own.match(None)


def test_any_version_matches_but_needs_one() -> None:
    assert ETags(any=True).match("1")
    assert not ETags(any=True).match(None)


MOMENTS = st.datetimes(datetime(1600, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC))


@given(MOMENTS)
def test_dates_come_back(moment: datetime) -> None:
    assert http_date(format_datetime(moment, usegmt=True)) == moment.replace(microsecond=0)


@pytest.mark.parametrize(
    "header",
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"],
)
def test_all_three_forms_of_dates(header: str) -> None:
    assert http_date(header) == datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)


def test_two_digit_years_are_near() -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    header = "Sunday, 06-Nov-{:02} 08:49:37 GMT"
    years = [found.year for two in (80, 81, 99, 0) if (found := http_date(header.format(two), now))]
    assert years == [2080, 1981, 1999, 2000]


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "x",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 25:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
    ],
)
def test_malformed_dates_are_ignored(header: str | None) -> None:
    assert http_date(header) is None


@given(HEADERS)
def test_any_date_is_read_or_ignored(header: str) -> None:
    found = http_date(header)
    assert found is None or found.utcoffset() == timedelta(0)
