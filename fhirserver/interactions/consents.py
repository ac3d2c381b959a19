"""What a Consent says that is not enforced, said to who writes it."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from fhirserver.errors import Issue, Unprocessable
from fhirserver.fhir.structure import Resource
from fhirserver.interactions.call import Services
from fhirserver.policy.consent import compile_consent


def enforceable(services: Services, resource: Resource) -> tuple[Issue, ...]:
    """The warnings, where consents are enforced. Raises Unprocessable if the setting `consent` says so."""
    enforcement = services.consent
    if enforcement is None or resource["resourceType"] != "Consent":
        return ()
    zone = ZoneInfo(services.settings.time_zone)
    faults = compile_consent(resource, services.keys.target, zone, services.own_bases).faults
    if faults and enforcement.refuses:
        raise Unprocessable(
            issues=[Issue("error", "business-rule", fault.text, fault.path) for fault in faults]
        )
    return tuple(Issue("warning", "business-rule", fault.text, fault.path) for fault in faults)
