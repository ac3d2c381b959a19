"""Alembic's environment: each revision by itself, over the connection that `fhirserver.db.migrate` holds."""

from alembic import context
from sqlalchemy import Connection

from fhirserver.db.migrate import VERSION_TABLE

connection = context.config.attributes.get("connection")
if not isinstance(connection, Connection):
    raise SystemExit("run `fhirserver migrate`; it takes the lock and says what it did")
context.configure(connection=connection, version_table=VERSION_TABLE, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
