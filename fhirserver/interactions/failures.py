"""What a failure of the database means to a client.

A request of its own fails with it; in a batch only the entry does, for others may have been done.
"""

from __future__ import annotations

from typing import ClassVar

import asyncpg

from fhirserver.db.pool import UNREACHABLE, unavailable
from fhirserver.errors import FhirError, TooCostly


class Unexpected(FhirError):
    """Something broke that no client can mend (500)."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "exception"


def translated(error: Exception) -> FhirError | None:
    """The error as a client is to see it; None for what nobody foresaw."""
    match error:
        case asyncpg.QueryCanceledError():
            return TooCostly("the statement took longer than this server allows; narrow the search")
        case asyncpg.ReadOnlySQLTransactionError() | asyncpg.InsufficientResourcesError():
            return unavailable("the database does not take writes at the moment")
        case asyncpg.ProgramLimitExceededError():
            return TooCostly("a value of this request is larger than the database can hold")
        case _ if isinstance(error, UNREACHABLE):
            return unavailable("the database cannot be reached")
        case _:
            return None
