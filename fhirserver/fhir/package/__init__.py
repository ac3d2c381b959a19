"""FHIR packages: what a .tgz holds, read without trusting it.

https://hl7.org/fhir/packages.html
"""
