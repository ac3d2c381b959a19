"""Merges of Patients."""

from fhirserver.db.migrate import run

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    run(revision)
