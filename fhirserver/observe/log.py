"""Structured logs: one line per event, JSON for machines, colours for a terminal.

Logs outlive requests and are read by people who may not read records, so nothing of a resource or a query
ever gets in: values are scalars, texts are cut, addresses lose their query, and of an exception only its type
and the places it passed are written, not its message (a database driver quotes the row it refused).
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Literal, TextIO

import orjson
import structlog
from structlog.typing import Processor, WrappedLogger

LogFormat = Literal["auto", "json", "console"]
Event = MutableMapping[str, Any]

TEXT_CHARS_MAX: Final = 256
FRAMES_MAX: Final = 12
_QUERY = re.compile(r"\?[^\s\"']+")
_LINE: Final = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z
_SAFE: Final = (bool, int, float, type(None))
_QUIET: Final = ("uvicorn.access", "httpx", "httpcore", "asyncio", "alembic.runtime.plugins")
"""Loggers whose lines name addresses with their queries, or say nothing."""


def _nothing(fields: dict[str, str | int | float]) -> None:
    """The level is above info."""


def _through_structlog(fields: dict[str, str | int | float]) -> None:
    structlog.get_logger().info("request", **fields)


def _direct(stream: TextIO) -> Callable[[dict[str, str | int | float]], None]:
    def write(fields: dict[str, str | int | float]) -> None:
        head = {"time": datetime.now(UTC), "level": "info", "event": "request"}
        stream.write(orjson.dumps(head | fields, option=_LINE).decode())
        stream.flush()

    return write


_write_request: Callable[[dict[str, str | int | float]], None] = _nothing


def configure(level: str = "info", form: LogFormat = "auto", stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging; call it once per process, again to change it.

    `auto` is for people when the stream is a terminal, JSON otherwise. Lines of libraries take the same form.
    """
    place: TextIO = stream or sys.stderr
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        reduce_exception,
        reduce_values,
    ]
    people = form == "console" or (form == "auto" and place.isatty())
    renderer: Processor = _console() if people else json_line
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(place),
        cache_logger_on_first_use=False,
    )
    _configure_standard(number, shared, renderer, place)
    global _write_request
    if number > logging.INFO:
        _write_request = _nothing
    else:
        _write_request = _through_structlog if people else _direct(place)


def request_done(**fields: str | int | float) -> None:
    """The line of one answered request, keys in the order given; the caller passes nothing a client wrote.

    It takes a short way past the processors, for it is written tens of thousands of times a second.
    """
    _write_request(fields)


def get(name: str) -> Any:
    """A logger whose lines carry `area: name`."""
    return structlog.get_logger(area=name)


def _console() -> Processor:
    return structlog.dev.ConsoleRenderer(timestamp_key="time", pad_event_to=0)


def _configure_standard(level: int, shared: list[Processor], renderer: Processor, stream: TextIO) -> None:
    """Give the lines of libraries that use `logging` the same form, and quiet the talkative."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        pass_foreign_args=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.captureWarnings(True)


def json_line(_: WrappedLogger, __: str, event: Event) -> str:
    """The event as one JSON line, `time`, `level` and `event` first, so that lines read alike."""
    ordered = {key: event[key] for key in ("time", "level", "event") if key in event}
    ordered.update(event)
    return orjson.dumps(ordered, default=lambda value: f"<{type(value).__name__}>").decode()


def reduce_values(_: WrappedLogger, __: str, event: Event) -> Event:
    """Keep scalars, cut texts and queries, and replace everything else by the name of its type."""
    for key, value in event.items():
        if isinstance(value, _SAFE) or key.startswith("_"):
            continue
        if isinstance(value, str):
            event[key] = plain(value)
        elif isinstance(value, (list, tuple)) and all(isinstance(part, str) for part in value):
            event[key] = [plain(part) for part in value[:FRAMES_MAX]]
        else:
            event[key] = f"<{type(value).__name__}>"
    return event


def plain(text: str) -> str:
    """The text on one line without the query of an address, cut to TEXT_CHARS_MAX characters."""
    if "?" in text:
        text = _QUERY.sub("?...", text)
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    return text if len(text) <= TEXT_CHARS_MAX else text[: TEXT_CHARS_MAX - 3] + "..."


def reduce_exception(_: WrappedLogger, __: str, event: Event) -> Event:
    """Replace `exc_info` by `error` (the type) and `trace` (module, line and function, innermost first)."""
    info = event.pop("exc_info", None)
    event.pop("stack_info", None)
    if not info:
        return event
    if isinstance(info, BaseException):
        error: BaseException | None = info
    elif isinstance(info, tuple):
        error = info[1]
    else:
        error = sys.exc_info()[1]
    if error is not None:
        event.update(described(error))
    return event


def described(error: BaseException) -> Mapping[str, Any]:
    """Type, SQLSTATE if there is one, cause and places of an exception, without its message."""
    found: dict[str, Any] = {"error": type(error).__qualname__, "trace": _places(error.__traceback__)}
    sqlstate = getattr(error, "sqlstate", None)
    if isinstance(sqlstate, str):
        found["sqlstate"] = sqlstate
    if error.__cause__ is not None:
        found["cause"] = type(error.__cause__).__qualname__
    return found


def _places(start: TracebackType | None) -> list[str]:
    frames = [
        f"{frame.f_globals.get('__name__', '?')}:{line}:{frame.f_code.co_name}"
        for frame, line in traceback.walk_tb(start)
    ]
    return frames[::-1][:FRAMES_MAX]
