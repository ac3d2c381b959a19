"""Consent: most rows are decided by a look into an index; who broke the glass, and until when."""

from fhirserver.db.migrate import run

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run(revision)
