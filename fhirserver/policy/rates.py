"""How often somebody may ask: token buckets in a fixed piece of memory that all worker processes share.

A bucket is one number, the time at which it will be full again (the generic cell rate algorithm, ITU-T I.371
annex A), so that asking costs two look-ups and nothing has to be swept out. Which bucket is whose is told by
a keyed hash into each of two rows; what counts is the emptier use of the two. Somebody is stopped for what
others did only if both of their places are taken, and never for longer than a bucket takes to fill.
"""

from __future__ import annotations

import mmap
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from math import ceil
from pathlib import Path
from typing import Final, Literal, Self

from fhirserver.errors import TooMany
from fhirserver.settings import Settings

Kind = Literal["address", "client", "sign-in", "token", "registration"]
"""What is counted: all requests of an address, those of a client that has signed in, and per address what
tries passwords, what tries codes and secrets, and what leaves something behind."""

FILE: Final = "FHIRSERVER_RATES_FILE"
"""Environment variable: the file, made by `create_file`, through which worker processes share buckets."""

_SEED_BYTES: Final = 16
_ROW: Final = 1 << 17
_BYTES: Final = _SEED_BYTES + 2 * _ROW * 8
_PLACES_MAX: Final = 4_096
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600}


@dataclass(frozen=True, slots=True)
class Rate:
    """A bucket of `count` requests that fills in `period_s` seconds."""

    count: int
    period_s: float

    @classmethod
    def parse(cls, text: str) -> Rate | None:
        """`1000/10s` as the settings have it (see settings.RATE); None for `off`."""
        if text == "off":
            return None
        count, _, period = text.partition("/")
        return cls(int(count), int(period[:-1] or 1) * _UNITS_S[period[-1]])


class Buckets:
    """The buckets of everybody. Times are those of a clock that all processes of this machine share.

    Two processes that write at the same instant may forget one request; a lock would cost more than that.
    """

    def __init__(self, memory: bytearray | mmap.mmap) -> None:
        view = memoryview(memory)
        self._full_at = view[_SEED_BYTES:].cast("d")
        seed = bytes(view[:_SEED_BYTES])

        @lru_cache(maxsize=_PLACES_MAX)
        def places(key: str) -> tuple[int, int]:
            number = int.from_bytes(blake2b(key.encode(), key=seed, digest_size=8).digest())
            return number % _ROW, _ROW + (number >> 32) % _ROW

        self._places = places

    @classmethod
    def alone(cls) -> Buckets:
        """Of this process."""
        return cls(bytearray(_empty()))

    @classmethod
    def shared(cls, path: Path) -> Buckets:
        """Of all processes that open the file."""
        with path.open("r+b") as file:
            return cls(mmap.mmap(file.fileno(), _BYTES))

    def take(self, rate: Rate, key: str, now_s: float) -> float:
        """Take one from the bucket; the seconds until there will be one, 0 when there was."""
        first, second = self._places(key)
        full_at = self._full_at
        begin = max(now_s, min(full_at[first], full_at[second], now_s + rate.period_s))
        end = begin + rate.period_s / rate.count
        wait_s = end - now_s - rate.period_s
        # What rounding leaves over is no reason to wait.
        if wait_s > 1e-6:
            return wait_s
        full_at[first] = max(full_at[first], end)
        full_at[second] = max(full_at[second], end)
        return 0.0


def _empty() -> bytes:
    return secrets.token_bytes(_SEED_BYTES) + bytes(_BYTES - _SEED_BYTES)


def create_file(path: Path) -> None:
    """Make the file of empty buckets that `FILE` names."""
    path.write_bytes(_empty())


@dataclass(frozen=True, slots=True, eq=False)
class Rates:
    """The rates of this server. Whoever opens a door calls `take` with who stands before it."""

    limits: Mapping[Kind, Rate | None]
    buckets: Buckets | None
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As the settings say; shared with the other workers if `serve` made a file for that."""
        if not settings.limit_rates:
            return cls({}, None)
        rates: dict[Kind, Rate | None] = {
            "address": Rate.parse(settings.rate_address),
            "client": Rate.parse(settings.rate_client),
            "sign-in": Rate.parse(settings.rate_sign_in),
            "token": Rate.parse(settings.rate_token),
            "registration": Rate.parse(settings.rate_registration),
        }
        path = os.environ.get(FILE)
        return cls(rates, Buckets.shared(Path(path)) if path else Buckets.alone())

    def take(self, kind: Kind, who: str) -> None:
        """Count one request. Raises TooMany when there were too many of that kind by `who`.

        `who` is an address (`request.state.address`), a principal's id, or what else should be counted apart.
        """
        rate = self.limits.get(kind)
        if rate is None or self.buckets is None:
            return
        wait_s = self.buckets.take(rate, f"{kind} {who}", self.clock())
        if wait_s > 0:
            raise TooMany(ceil(wait_s))


UNLIMITED: Final = Rates({}, None)
"""For what is not reached through a door."""
