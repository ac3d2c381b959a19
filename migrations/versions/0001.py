"""Resources as immutable versions, their index tables, and the roles of owner and application."""

from fhirserver.db.migrate import run

revision = "0001"
down_revision = None


def upgrade() -> None:
    run(revision)
