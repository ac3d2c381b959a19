"""Tenants: their names, and row-level security behind the tenant in every statement."""

from fhirserver.db.migrate import run

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run(revision)
