"""Searches against PostgreSQL."""
