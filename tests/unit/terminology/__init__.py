"""Terminology without a database."""
