"""What a browser carries for the server, and where it may be led."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.people.sealed import seal, unseal

SECRET = b"s" * 32


@given(st.dictionaries(st.text(), st.integers(-(2**53), 2**53) | st.text() | st.none()))
def test_what_was_sealed_is_read_again_for_its_purpose_alone(value: dict[str, object]) -> None:
    text = seal(SECRET, "one", value)
    assert unseal(SECRET, "one", text, 60) == value
    assert unseal(SECRET, "other", text, 60) is None
    assert unseal(b"t" * 32, "one", text, 60) is None


@given(st.text())
def test_anything_else_is_nothing(text: str) -> None:
    assert unseal(SECRET, "one", text, 60) is None


def test_what_is_too_old_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    text, now = seal(SECRET, "one", 1), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 61)
    assert unseal(SECRET, "one", text, 60) is None
    assert unseal(SECRET, "one", text, 120) == 1
