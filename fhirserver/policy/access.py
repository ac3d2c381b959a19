"""The decision made once for each interaction, before anything is read.

Pure: it awaits nothing and knows neither the database nor ASGI.
"""

from __future__ import annotations

from fhirserver.policy.restriction import EVERYTHING, Restriction


def decide(resource_type: str | None, interaction: str) -> Restriction:
    """The restriction under which `interaction` on `resource_type` runs.

    Sign-in does not exist yet, so every caller of a reachable server is its administrator; the
    server therefore listens on loopback only unless it is told otherwise.
    """
    return EVERYTHING
