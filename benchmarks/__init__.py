"""Measurements of the server on the machine at hand, as shares of what that machine can do at all."""
