"""The dictionary of texts for `:text`."""

from fhirserver.db.migrate import run

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run(revision)
