"""Token buckets: against a model that keeps every request, alone and shared between processes."""

import multiprocessing
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.errors import TooMany
from fhirserver.policy import rates
from fhirserver.policy.rates import Buckets, Rate, Rates
from fhirserver.settings import Settings

steps = st.lists(st.tuples(st.integers(0, 3_000), st.sampled_from("ab")), max_size=200)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("1000/10s", Rate(1000, 10)),
        ("60/m", Rate(60, 60)),
        ("5/2h", Rate(5, 7_200)),
        ("1/s", Rate(1, 1)),
        ("off", None),
    ],
)
def test_how_rates_are_written(text: str, rate: Rate | None) -> None:
    assert Rate.parse(text) == rate


@pytest.mark.parametrize("text", ["", "0/s", "5", "5/", "5/0s", "5/d", "-1/s", "5/s ", "OFF", "1e3/s"])
def test_what_is_no_rate_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(ValueError, match="rate_client"):
        Settings(rate_client=text)


@given(st.integers(1, 20), st.integers(1, 30), steps)
def test_a_bucket_holds_and_fills_as_a_bucket_does(count: int, period_s: int, asked: Any) -> None:
    """The model holds tokens, exactly; times are in milliseconds since the last request."""
    buckets, rate = Buckets.alone(), Rate(count, period_s)
    held = dict.fromkeys("ab", Fraction(count))
    seen = dict.fromkeys("ab", 0)
    now_ms = 0
    for passed_ms, who in asked:
        now_ms += passed_ms
        filled = held[who] + Fraction(count * (now_ms - seen[who]), period_s * 1000)
        held[who], seen[who] = min(Fraction(count), filled), now_ms
        wait_s = buckets.take(rate, who, now_ms / 1000)
        if held[who] >= 1:
            assert wait_s == 0
            held[who] -= 1
        else:
            assert wait_s == pytest.approx(float((1 - held[who]) * period_s / count), abs=1e-4)


def test_many_others_stop_nobody() -> None:
    buckets, rate = Buckets.alone(), Rate(1, 3600)
    waiting = [buckets.take(rate, f"somebody {number}", 1_000.0) for number in range(5_000)]
    assert sum(wait_s > 0 for wait_s in waiting) < 25


def test_no_memory_makes_anybody_wait_longer_than_a_bucket_fills() -> None:
    """Such as one that is left over from before the machine was started again."""
    buckets = Buckets.alone()
    assert buckets.take(Rate(1, 3600), "a", 1e9) == 0
    assert 0 < buckets.take(Rate(2, 10), "a", 5.0) <= 10


def _take_in_a_process(path: Path, count: int, results: Any) -> None:
    buckets = Buckets.shared(path)
    results.put(sum(buckets.take(Rate(100, 3600), "a", 50.0) == 0 for _ in range(count)))


def test_processes_share_a_bucket(tmp_path: Path) -> None:
    rates.create_file(tmp_path / "rates")
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    taken = []
    for _ in range(2):
        process = context.Process(target=_take_in_a_process, args=(tmp_path / "rates", 70, results))
        process.start()
        taken.append(results.get(timeout=30))
        process.join()
    assert taken == [70, 30]


def test_who_is_refused_is_told_when_to_come_again() -> None:
    now_s = 0.0
    limited = Rates({"sign-in": Rate(2, 60)}, Buckets.alone(), lambda: now_s)
    for _ in range(2):
        limited.take("sign-in", "a")
    with pytest.raises(TooMany) as refused:
        limited.take("sign-in", "a")
    assert refused.value.headers == {"Retry-After": "30"}
    limited.take("sign-in", "b")
    limited.take("client", "a")
    now_s = 30.0
    limited.take("sign-in", "a")


def test_the_settings_say_what_is_limited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not Settings().limit_rates
    assert Settings(auth="smart").limit_rates
    assert Settings(host="0.0.0.0", insecure=True).limit_rates
    assert not Settings(host="0.0.0.0", rate_limits="off").limit_rates
    assert Rates.of(Settings()).buckets is None
    limited = Rates.of(Settings(rate_limits="on", rate_address="off"))
    assert limited.limits["client"] == Rate(1000, 10) and limited.limits["address"] is None
    rates.create_file(tmp_path / "rates")
    monkeypatch.setenv(rates.FILE, str(tmp_path / "rates"))
    first, second = (Rates.of(Settings(rate_limits="on", rate_token="1/h")) for _ in range(2))
    first.take("token", "a")
    with pytest.raises(TooMany):
        second.take("token", "a")
