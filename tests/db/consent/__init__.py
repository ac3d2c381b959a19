"""Consents: SQL and a literal evaluator, compared."""
