"""Search parameters defined at run time, the rebuilding of index entries, and the format they are in."""

from fhirserver.db.migrate import run

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run(revision)
