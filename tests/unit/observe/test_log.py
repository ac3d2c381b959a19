"""Log lines: stable keys, one line each, and nothing of a record in them."""

import io
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.observe import log

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """A configured stream; the logging of the test run is restored."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    found = io.StringIO()
    log.configure("info", "json", found)
    yield found
    log.configure("warning", "json", io.StringIO())
    logging.captureWarnings(False)
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture
def lines(stream: io.StringIO) -> Lines:
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_lines_are_json_with_stable_keys(lines: Lines) -> None:
    log.get("store").info("written", rows=3)
    [line] = lines()
    assert list(line) == ["time", "level", "event", "area", "rows"]
    assert line["time"].endswith("Z")
    assert (line["level"], line["event"], line["area"], line["rows"]) == ("info", "written", "store", 3)


def test_request_lines_look_the_same(lines: Lines) -> None:
    log.request_done(request_id="r", method="GET", status=200, duration_ms=1.5)
    [line] = lines()
    assert list(line) == ["time", "level", "event", "request_id", "method", "status", "duration_ms"]
    assert line["event"] == "request"


def test_level_is_kept(stream: io.StringIO, lines: Lines) -> None:
    log.configure("warning", "json", stream)
    log.get("a").info("no")
    log.request_done(status=200)
    logging.getLogger("library").info("no")
    log.get("a").warning("yes")
    assert [line["event"] for line in lines()] == ["yes"]


def test_content_does_not_get_in(stream: io.StringIO, lines: Lines) -> None:
    log.get("http").warning(
        "odd",
        body={"name": "Smith"},
        raw=b"Smith",
        many=["Patient?name=Smith", "b"],
        url="/Patient?name=Smith&x=1",
    )
    try:
        raise ValueError("Smith")
    except ValueError as error:
        log.get("http").error("failed", exc_info=error)
        logging.getLogger("uvicorn.error").exception("Exception in %s", "GET /Patient?name=Smith")
    logging.getLogger("uvicorn.access").info("GET /Patient?name=Smith")
    logging.getLogger("httpx").info("GET http://x/Patient?name=Smith")
    assert "Smith" not in stream.getvalue()
    odd, failed, library = lines()
    assert (odd["body"], odd["raw"], odd["many"]) == ("<dict>", "<bytes>", ["Patient?...", "b"])
    assert odd["url"] == "/Patient?..."
    assert failed["error"] == "ValueError"
    assert failed["trace"][0].endswith("test_log:" + str(_line_of_raise()) + ":test_content_does_not_get_in")
    assert library["event"] == "Exception in GET /Patient?..."


def _line_of_raise() -> int:
    with open(__file__, encoding="utf-8") as source:
        return next(number for number, line in enumerate(source, 1) if 'raise ValueError("Smith")' in line)


def test_causes_and_sqlstates_are_named() -> None:
    class Refused(Exception):
        sqlstate = "23505"

    error = Refused("Smith")
    error.__cause__ = KeyError("Smith")
    assert log.described(error) == {
        "error": f"{Refused.__qualname__}",
        "trace": [],
        "sqlstate": "23505",
        "cause": "KeyError",
    }


def test_warnings_are_lines(lines: Lines) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", stacklevel=1)
    assert lines()[0]["logger"] == "py.warnings"


@given(st.text())
def test_any_text_becomes_one_short_line(text: str) -> None:
    found = log.plain(text)
    assert len(found) <= log.TEXT_CHARS_MAX
    assert found.isprintable()


@given(st.recursive(st.none() | st.floats() | st.text() | st.binary(), st.lists))
def test_any_value_can_be_logged(value: Any) -> None:
    line = log.json_line(None, "info", log.reduce_values(None, "info", {"event": "x", "value": value}))
    assert json.loads(line)["event"] == "x"


def test_people_get_readable_lines(capsys: pytest.CaptureFixture[str], stream: io.StringIO) -> None:
    log.configure("info", "console", stream)
    log.request_done(status=200, method="GET")
    assert "request" in stream.getvalue()
    assert not stream.getvalue().startswith("{")
    log.configure("info", "auto", sys.stderr)
    log.get("a").info("auto")
    assert '"event":"auto"' in capsys.readouterr().err
