"""The words of audit events: codings of DICOM, HL7 and IHE.

https://hl7.org/fhir/R4/valueset-audit-event-type.html, https://hl7.org/fhir/R4/valueset-audit-event-sub-type.html,
https://profiles.ihe.net/ITI/BALP/
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Coding(NamedTuple):
    """https://hl7.org/fhir/R4/datatypes.html#Coding. There are very many events: none has a display."""

    system: str
    code: str

    def element(self) -> dict[str, str]:
        """As JSON."""
        return {"system": self.system, "code": self.code}


_HL7: Final = "http://terminology.hl7.org/CodeSystem"
_DCM: Final = "http://dicom.nema.org/resources/ontology/DCM"
INTERACTION: Final = "http://hl7.org/fhir/restful-interaction"
BALP: Final = "https://profiles.ihe.net/ITI/BALP"
OPERATION: Final = "urn:fhirserver:CodeSystem:operation"
"""System of the names of operations, as second subtypes."""
ACT_REASON: Final = f"{_HL7}/v3-ActReason"
"""System of purposes of use."""

RECEIVED: Final = Coding("urn:fhirserver:CodeSystem:audit-event", "received")
"""Tag of an event that a client has sent, whatever it says of who recorded it."""

# -- AuditEvent.type and subtype

REST: Final = Coding(f"{_HL7}/audit-event-type", "rest")
AUTHENTICATION: Final = Coding(_DCM, "110114")
ALERT: Final = Coding(_DCM, "110113")
LOGIN: Final = Coding(_DCM, "110122")
LOGOUT: Final = Coding(_DCM, "110123")
EMERGENCY: Final = Coding(_DCM, "110127")
GET_TOKEN: Final = Coding("urn:ihe:event-type-code", "ITI-71")
BY_CONSENT: Final = Coding(f"{BALP}/CodeSystem/AuthZsubType", "AuthZ-Consent")
_GRANT: Final = "urn:fhirserver:CodeSystem:grant"
GRANTED: Final = Coding(_GRANT, "given")
REFRESHED: Final = Coding(_GRANT, "refreshed")
REVOKED: Final = Coding(_GRANT, "revoked")


def interaction(code: str) -> Coding:
    """A subtype of REST."""
    return Coding(INTERACTION, code)


# -- agents

SOURCE: Final = Coding(_DCM, "110153")
DESTINATION: Final = Coding(_DCM, "110152")
APPLICATION: Final = Coding(_DCM, "110150")
CUSTODIAN: Final = Coding(f"{_HL7}/provenance-participant-type", "custodian")
AUTHORIZER: Final = Coding(f"{_HL7}/extra-security-role-type", "authserver")
RECIPIENT: Final = Coding(f"{_HL7}/v3-ParticipationType", "IRCP")
AUTHOR: Final = Coding(f"{_HL7}/v3-ParticipationType", "AUT")

# -- entities

PERSON: Final = Coding(f"{_HL7}/audit-entity-type", "1")
OBJECT: Final = Coding(f"{_HL7}/audit-entity-type", "2")
REQUEST: Final = Coding(f"{BALP}/CodeSystem/BasicAuditEntityType", "XrequestId")
PATIENT: Final = Coding(f"{_HL7}/object-role", "1")
DOMAIN_RESOURCE: Final = Coding(f"{_HL7}/object-role", "4")
SECURITY_RESOURCE: Final = Coding(f"{_HL7}/object-role", "13")
CONSENT: Final = Coding("http://hl7.org/fhir/resource-types", "Consent")
QUERY: Final = Coding(f"{_HL7}/object-role", "24")

APPLICATION_SERVER: Final = Coding(f"{_HL7}/security-source-type", "4")
