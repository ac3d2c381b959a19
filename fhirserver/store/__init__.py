"""Versions of resources: reading, writing, history."""
