"""What signing in needs beside FHIR resources: secrets, grants and what is used once."""

from fhirserver.db.migrate import run

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run(revision)
