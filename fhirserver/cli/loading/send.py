"""Sends requests, waits when the server asks to, and reads from the answers what was stored."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from time import time
from typing import Final

import httpx

from fhirserver.cli.loading import peek
from fhirserver.cli.loading.units import Piece, Unit, group

ATTEMPTS_MAX: Final = 8
WAIT_S_MAX: Final = 60.0
BUSY: Final = frozenset({429, 503})
# What may succeed once others are there: a reference whose target comes later, a conditional match.
LATER: Final = frozenset({400, 404, 409, 412, 422})
_POSITION: Final = re.compile(r"Bundle\.entry\[(\d+)\]")
_TEXT_MAX: Final = 2_000


@dataclass(frozen=True, slots=True)
class Failure:
    """What was not stored: the file, the entry within it (None for the whole), status and reason.

    `status` is 0 where no answer came.
    """

    file: Path
    entry: str | None
    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Deferred:
    """A refused request that may succeed once others are there, and the failures if it does not."""

    unit: Unit
    failures: tuple[Failure, ...]


@dataclass(slots=True)
class Result:
    """What became of a unit: resources stored, final failures, and what is worth another try."""

    stored: int = 0
    failures: list[Failure] = field(default_factory=list)
    again: Deferred | None = None


async def send(client: httpx.AsyncClient, base: str, unit: Unit) -> Result:
    """Sends a unit; a refused group is sent again as a batch, so that one bad resource fails alone."""
    response = await _request(client, base, unit)
    if isinstance(response, Failure):
        return Result(failures=[response])
    if unit.as_batch and response.status_code in LATER and len(unit.pieces) > 1:
        unit = unit.as_batch()
        response = await _request(client, base, unit)
        if isinstance(response, Failure):
            return Result(failures=[response])
    return _result(unit, response)


async def _request(client: httpx.AsyncClient, base: str, unit: Unit) -> httpx.Response | Failure:
    """The answer, or a Failure when none came; waits and repeats while the server is busy."""
    headers = {
        "Content-Type": unit.content_type,
        "Accept": "application/fhir+json",
        "Prefer": "return=minimal",
    }
    url = f"{base}/{unit.url}" if unit.url else base
    wait_s = 0.5
    for attempt in range(1, ATTEMPTS_MAX + 1):
        last = attempt == ATTEMPTS_MAX
        try:
            response = await client.request(unit.method, url, content=unit.body, headers=headers)
        except httpx.TransportError as error:
            if last or not (unit.repeatable or isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)):
                return Failure(unit.file, unit.label, 0, f"no answer: {error or type(error).__name__}")
        else:
            if last or response.status_code not in BUSY:
                return response
            wait_s = _retry_after(response) or wait_s
        await asyncio.sleep(min(wait_s, WAIT_S_MAX))
        wait_s *= 2
    raise AssertionError("the last attempt returns")


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds that the server asks to wait: https://www.rfc-editor.org/rfc/rfc9110#field.retry-after."""
    text = response.headers.get("retry-after", "")
    if text.isdigit():
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - time(), 0.0)
    except ValueError:
        return None


def _result(unit: Unit, response: httpx.Response) -> Result:
    status = response.status_code
    answer = peek.answer(response.content)
    if status >= 400 or status < 200:
        return _refused(unit, status, answer, response.text)
    if unit.url:
        return Result(stored=1)
    if answer is None or answer.resourceType != "Bundle":
        return Result(failures=[Failure(unit.file, unit.label, status, "the answer is not a Bundle")])
    return _each(unit, answer.entry)


def _refused(unit: Unit, status: int, answer: peek.Answer | None, body: str) -> Result:
    text = peek.Outcome(answer.issue).text if answer and answer.issue else body.strip()[:_TEXT_MAX]
    place = _POSITION.search(text)
    label = unit.label
    if place:
        number = int(place[1])
        label = unit.pieces[number].label if number < len(unit.pieces) else f"entry[{number}]"
        label = _within(unit, label)
    elif len(unit.pieces) == 1:
        label = unit.pieces[0].label
    failure = Failure(unit.file, label, status, text or "no reason given")
    if status in LATER:
        return Result(again=Deferred(replace(unit, share=0.0), (failure,)))
    return Result(failures=[failure])


def _each(unit: Unit, entries: Sequence[peek.ResponseEntry]) -> Result:
    """Goes through the entries of a batch or transaction answer, which stand in the order asked."""
    result = Result()
    retry: list[Piece] = []
    excuses: list[Failure] = []
    for number, entry in enumerate(entries):
        status = entry.response.code
        if 200 <= status < 400:
            result.stored += 1
            continue
        piece = unit.pieces[number] if number < len(unit.pieces) else None
        label = piece.label if piece else f"entry[{number}]"
        text = entry.response.outcome.text if entry.response.outcome else entry.response.status
        failure = Failure(unit.file, _within(unit, label), status, text or "no reason given")
        if piece and piece.resource and status in LATER:
            retry.append(piece)
            excuses.append(failure)
        else:
            result.failures.append(failure)
    if retry:
        result.again = Deferred(group(unit.source, retry, 0.0, kind="batch"), tuple(excuses))
    return result


def _within(unit: Unit, label: str) -> str:
    return f"{unit.label} {label}" if unit.label else label
