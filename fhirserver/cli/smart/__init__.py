"""`fhirserver doctor --smart`: what certification asks of a SMART on FHIR server, asked over HTTP.

Written from the specifications (SMART App Launch 2.2 and its predecessors, RFC 6749 and its kin, OpenID
Connect); the lists of what Inferno's SMART App Launch and (g)(10) suites look at decided what is asked.
"""
