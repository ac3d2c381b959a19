"""Derivation of the committed R4 tables from the published definitions, one module per table."""
