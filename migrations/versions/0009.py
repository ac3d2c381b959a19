"""Identifiers that only one resource may have."""

from fhirserver.db.migrate import run

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run(revision)
