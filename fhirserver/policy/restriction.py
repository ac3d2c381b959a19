"""What a caller may see, as a value that `search/restrict` compiles into every statement.

Today every caller may see everything of the tenant; scopes, compartments, consent and labels add
their own cases here, and no interaction changes for it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Everything:
    """No restriction beyond the tenant."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """No row at all."""


Restriction = Everything | Nothing

EVERYTHING = Everything()
NOTHING = Nothing()
