"""What a patient grants an app, as FHIR resources: a Consent whose actor is the app's Device.

https://hl7.org/fhir/R4/consent.html. It permits what it names to that Device and says nothing of anybody
else. Making the Consent inactive, here or by the FHIR API, ends the grant (the trigger `consent_ends_grant`).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.errors import PreconditionFailed
from fhirserver.interactions.call import Call
from fhirserver.interactions.run import run
from fhirserver.oauth.clients import Client
from fhirserver.oauth.context import Server, now
from fhirserver.oauth.scopes import RESOURCES
from fhirserver.people import resources
from fhirserver.people.identity import Identity
from fhirserver.policy.scopes import parse

_HL7: Final = "http://terminology.hl7.org/CodeSystem"
ATTEMPTS: Final = 5
POLICY: Final = "http://hl7.org/fhir/smart-app-launch"


async def device(connection: Connection, server: Server, client: Client) -> str:
    """The id of the Device that is the app, which is made when it is first needed."""
    system = server.url("client")
    resource = {
        "resourceType": "Device",
        "identifier": [{"system": system, "value": client.id}],
        "status": "active",
        "deviceName": [{"name": client.name, "type": "user-friendly-name"}],
        "type": {"text": "application"},
    }
    call = Call(
        server.services,
        "create",
        server.base,
        now(),
        type="Device",
        resource=resource,
        if_none_exist=f"identifier={system}|{client.id}",
    )
    answer = await run(connection, call)
    assert answer.version is not None
    return answer.version.id


async def consent(
    connection: Connection,
    server: Server,
    client: Client,
    who: Identity,
    patient: str,
    scopes: Sequence[str],
    until: datetime,
) -> str:
    """The id of a new, active Consent to what the scopes say."""
    stored = await resources.create(
        connection,
        server.services,
        {
            "resourceType": "Consent",
            "status": "active",
            "scope": _concept("consentscope", "patient-privacy"),
            "category": [_concept("v3-ActCode", "IDSCL")],
            "patient": {"reference": f"Patient/{patient}"},
            "dateTime": _instant(now()),
            "performer": [{"reference": "/".join(who.user), "display": who.name}],
            "sourceAttachment": {
                "contentType": "text/plain",
                "title": "Scopes that were granted",
                "data": b64encode(" ".join(scopes).encode()).decode(),
            },
            "policy": [{"uri": POLICY}],
            "provision": await _provision(connection, server, client, scopes, until),
        },
    )
    return stored["id"]


async def _provision(
    connection: Connection, server: Server, client: Client, scopes: Sequence[str], until: datetime
) -> dict[str, Any]:
    granted = [parse(one) for one in scopes if one.startswith(RESOURCES)]
    types = sorted({one.type for one in granted} - {"*"})
    writes = any(one.actions & set("cud") for one in granted)
    found: dict[str, Any] = {
        "type": "permit",
        "period": {"start": _instant(now()), "end": _instant(until)},
        "actor": [
            {
                "role": _concept("v3-ParticipationType", "IRCP"),
                "reference": {
                    "reference": f"Device/{await device(connection, server, client)}",
                    "display": client.name,
                },
            }
        ],
        "action": [_concept("consentaction", code) for code in ("access", *(["correct"] if writes else []))],
    }
    if types and not any(one.type == "*" for one in granted):
        found["class"] = [{"system": "http://hl7.org/fhir/resource-types", "code": type_} for type_ in types]
    return found


async def end(connection: Connection, server: Server, consent_id: str) -> None:
    """Make a Consent inactive, if it is there and active; whoever else writes it at the same time."""
    for attempt in range(ATTEMPTS):
        stored = await resources.stored(connection, server.services, "Consent", consent_id)
        if stored is None or stored.get("status") != "active":
            return
        try:
            async with connection.transaction():
                await resources.update(connection, server.services, {**stored, "status": "inactive"})
        except PreconditionFailed:
            if attempt == ATTEMPTS - 1:
                raise


def _concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": f"{_HL7}/{system}", "code": code}]}


def _instant(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
