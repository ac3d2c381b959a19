"""Search parameters defined at run time, the rebuilding of index entries, and the format they are in."""

from fhirserver.db.migrate import run

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run(revision)
