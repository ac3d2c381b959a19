"""A caller's restriction as SQL: the one place where policy meets rows.

Every statement over `resource` carries it, for the rows that are sought and for those that a chain,
`_has`, an include or a sort looks at on the way.
"""

from __future__ import annotations

from typing import Final

from fhirserver.db.sql import FALSE, TRUE, Fragment, sql
from fhirserver.policy.restriction import Everything, Nothing, Restriction

ROW: Final = sql("r")
"""The alias under which `store` and `search` read rows."""


def compile_restriction(
    restriction: Restriction, resource_type: str | None = None, alias: Fragment = ROW
) -> Fragment:
    """Whether the row under `alias` may be seen. `resource_type` None: of whatever type it is."""
    match restriction:
        case Everything():
            return TRUE
        case Nothing():
            return FALSE
