"""Whoever may write some rows only changes those alone, and learns nothing of the others by trying."""

from random import Random

import pytest

from tests.equivalence import writes
from tests.equivalence.budget import seeds
from tests.equivalence.principals import writers
from tests.equivalence.twin import twin

pytestmark = pytest.mark.slow
CALLERS, REQUESTS = 16, 40


@pytest.mark.parametrize("seed", seeds(3))
async def test_writes_reach_what_is_permitted_and_answer_as_if_there_was_nothing_else(seed: int) -> None:
    async with twin(seed, update_create=False) as both:
        tally = await writes.check(both, seed, writers(Random(seed), CALLERS), REQUESTS)
    assert tally.cases == CALLERS * REQUESTS
    assert tally.failures == [], f"seed {seed}: {len(tally.failures)} differ; the first:\n{tally.failures[0]}"
    assert tally.shown > tally.cases / 12 and tally.denied > tally.cases / 12
