"""Profiles: their definitions, snapshots, and resources judged by them.

https://hl7.org/fhir/R4/profiling.html, https://hl7.org/fhir/R4/validation.html
"""
