"""Search parameters, without a database."""
