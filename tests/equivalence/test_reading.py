"""Whatever a client can ask, it is answered as by a server that holds only what the caller may see.

Searches with chains, `_has`, includes and every order, page by page; reads, versions and feeds of
versions; batches. Statuses, headers, bodies, totals and links: byte for byte.
"""

import pytest

from tests.equivalence import run
from tests.equivalence.budget import seeds
from tests.equivalence.forms import FORMS
from tests.equivalence.twin import twin

pytestmark = pytest.mark.slow
PRINCIPALS, REQUESTS = 48, 44


@pytest.mark.parametrize("seed", seeds(5))
async def test_every_answer_is_that_of_a_server_with_the_permitted_rows_alone(seed: int) -> None:
    async with twin(seed) as both:
        tally = await run.check(both, seed, PRINCIPALS, REQUESTS)
    assert tally.cases == PRINCIPALS * REQUESTS
    assert tally.failures == [], f"seed {seed}: {len(tally.failures)} differ; the first:\n{tally.failures[0]}"
    assert sum(seen > 10 for seen in tally.rows.values()) >= 5, tally.rows
    assert not [form for form in FORMS if not tally.forms[form]], tally.forms
    # Empty and refused answers are alike too easily: most have to show something, or to hide it.
    assert tally.shown > tally.cases / 6 and tally.denied < tally.cases / 2 > 2 * tally.refused
