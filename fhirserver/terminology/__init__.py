"""Code systems and value sets: what is in a value set, and what stands below and above a code.

https://hl7.org/fhir/R4/terminology-module.html. The way in is `service.Terminology`; where definitions
come from is behind `library.Library`.
"""
