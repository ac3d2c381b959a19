"""The patterns of IHE Basic Audit Log Patterns as a list of what an event does not fulfil.

https://profiles.ihe.net/ITI/BALP/content.html, stated here slice by slice, apart from what the server builds.
"""

from typing import Any

Event = dict[str, Any]
BASE = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
DCM = "http://dicom.nema.org/resources/ontology/DCM"
PART = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
ENTITY = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
REST = "http://hl7.org/fhir/restful-interaction"

KINDS: dict[str, tuple[str, set[str], str, str, str]] = {
    "Create": ("C", {"create"}, "110153", "110152", "AUT"),
    "Update": ("U", {"update", "patch"}, "110153", "110152", "AUT"),
    "Delete": ("D", {"delete"}, "110150", "custodian", "AUT"),
    "Read": ("R", {"read", "vread", "history-instance"}, "110152", "110153", "IRCP"),
    "Query": (
        "E",
        {"search-type", "search-system", "operation", "history-type", "history-system"},
        *("110153", "110152", "IRCP"),
    ),
}
"""By profile: action, subtypes of REST, what app, server and user are."""


def faults(event: Event) -> list[str]:
    """What is wrong with an event that says that it follows a profile of BALP."""
    name = event["meta"]["profile"][0].removeprefix(BASE)
    kind = name.removeprefix("Patient")
    action, subtypes, app, server, user = KINDS[kind]
    found: list[str] = []

    def check(what: str, holds: object) -> None:
        if not holds:
            found.append(f"{name}: {what}")

    check("type", event["type"]["code"] == "rest")
    check("action", event["action"] == action)
    check("outcome", event["outcome"] == "0")
    check("subtype", subtypes & {one["code"] for one in event["subtype"] if one["system"] == REST})
    agents = {agent["type"]["coding"][0]["code"]: agent for agent in event["agent"]}
    check("agents", len(agents) == len(event["agent"]) >= 2)
    for code in (app, server):
        check(f"agent {code}", agents.get(code, {}).get("who") and agents[code].get("network"))
        check(f"media of {code}", "media" not in agents.get(code, {}))
    if user in agents:
        check("user", agents[user]["requestor"] is True and agents[user]["who"])
        check("network of the user", "network" not in agents[user])
    entities = event.get("entity", [])
    patients = [one for one in entities if _is(one, "1") and one.get("role", {}).get("code") == "1"]
    check("patient", len(patients) == (1 if name.startswith("Patient") else 0))
    check("whose", all(one["what"]["reference"].startswith("Patient/") for one in patients))
    requests = [one for one in entities if one["type"]["code"] == "XrequestId"]
    check("request", len(requests) <= 1 and all(one["what"]["identifier"]["value"] for one in requests))
    objects = [one for one in entities if _is(one, "2")]
    check("one object", len(objects) == 1)
    for one in objects:
        if kind == "Query":
            check("query", one["role"]["code"] == "24" and one["query"] and "what" not in one)
        else:
            check("data", one["role"]["code"] == "4" and one["what"])
    return found


def _is(entity: Event, code: str) -> bool:
    return entity["type"] == {"system": ENTITY, "code": code}
