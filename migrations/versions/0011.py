"""AuditEvents by month, which nobody changes."""

from fhirserver.db.migrate import run

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run(revision)
