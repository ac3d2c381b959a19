"""Tests against PostgreSQL."""
