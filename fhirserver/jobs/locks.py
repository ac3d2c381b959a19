"""Advisory locks of the jobs, so that of all processes on a database one does each.

Class and object are the two numbers of `pg_advisory_xact_lock`; the tenant is the object where a job is
a tenant's. Whoever takes several takes them in the order in which they stand here.
"""

from __future__ import annotations

from typing import Final

SWEEP: Final = 0x4A414E49
"""The janitor's round, a lock of one number."""

REBUILD: Final = 0x46485242
"""A step of rebuilding, by tenant."""

ROWS: Final = 0x46485257
"""Index rows of versions that are dead: alone while they are removed, shared while some are added."""
