"""The authorization server: SMART App Launch 2.2, OAuth 2, OpenID Connect; one module a paragraph.

https://hl7.org/fhir/smart-app-launch/STU2.2/
"""
