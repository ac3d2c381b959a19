"""Consent: the rules of consents, and what decides by them."""

from fhirserver.db.migrate import run

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run(revision)
