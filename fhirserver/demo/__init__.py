"""Invented patients: realistic, seeded, structurally valid R4 data for trials and measurements."""

from fhirserver.demo.bundle import directory, patients, patients_with_ids, resources

__all__ = ["directory", "patients", "patients_with_ids", "resources"]
