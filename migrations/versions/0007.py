"""Packages: what was installed, and which resources belong to what."""

from fhirserver.db.migrate import run

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run(revision)
