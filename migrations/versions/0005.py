"""An index of the words of rows."""

from fhirserver.db.migrate import run

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run(revision)
