"""Unit tests of fhirserver.identity."""
