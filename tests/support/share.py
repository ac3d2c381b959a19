"""How much of what could be drawn is drawn."""

import os

SHARE = float(os.environ.get("FHIRSERVER_TEST_SHARE", "1"))


def share(examples: int) -> int:
    """So many examples, or the share of them that FHIRSERVER_TEST_SHARE names.

    Continuous integration runs these tests on two PostgreSQLs and lets each draw a part.
    """
    return max(1, round(examples * SHARE))
