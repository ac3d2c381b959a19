"""The same where consents are enforced: what they deny is as if it were not there, whatever one asks.

Who has broken the glass about somebody sees what is denied about them, and nothing else more.
"""

from random import Random

import pytest

from tests.equivalence import consents, run
from tests.equivalence.budget import seeds
from tests.equivalence.twin import twin

pytestmark = pytest.mark.slow
PRINCIPALS, REQUESTS = 40, 30
PURPOSES = '{"purposes": {"*": ["TREAT", "BTG"]}}'


@pytest.mark.parametrize("seed", seeds(3))
async def test_every_answer_is_that_of_a_server_without_what_consents_deny(seed: int) -> None:
    async with twin(seed, consents.drawn(Random(seed)), consent=PURPOSES) as both:
        tally = await run.check(both, seed, PRINCIPALS, REQUESTS)
    assert tally.cases == PRINCIPALS * REQUESTS
    assert tally.failures == [], f"seed {seed}: {len(tally.failures)} differ; the first:\n{tally.failures[0]}"
    assert tally.kept_out > 100, "the consents deny too little to prove anything"
    assert tally.let_in > 50, "the glass hides too little to prove anything"
    assert tally.shown > tally.cases / 10
