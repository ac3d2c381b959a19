"""Which hospitals are looked at: the same ones in every run, or those that `make nightly` draws."""

import os

SEEDS = "FHIRSERVER_TEST_SEEDS"


def seeds(usual: int) -> list[int]:
    """1 to `usual`, or those that the environment names."""
    named = os.environ.get(SEEDS)
    return [int(text) for text in named.split(",")] if named else list(range(1, usual + 1))
