"""The record of one patient while it is being written: resources, links and the current visit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from fhirserver.demo.chance import Chance
from fhirserver.demo.concepts import OWN

Resource = dict[str, Any]
Link = Callable[[str, str], str]

LAST_DAY = date(2025, 12, 31)
"""No event lies after this day, so that the data do not depend on the day they are made."""

SHARED_TYPES = frozenset({"Organization", "Location", "Practitioner", "PractitionerRole"})
"""The types of the directory, whose resources belong to no single patient."""


def relative(resource_type: str, id_: str) -> str:
    """The link of a resource that keeps its id: a relative reference."""
    return f"{resource_type}/{id_}"


def urn(resource_type: str, id_: str) -> str:
    """The link of a resource whose id the server is to assign, as the fullUrl of its entry."""
    return _shared_urn(resource_type, id_) if resource_type in SHARED_TYPES else f"urn:uuid:{id_}"


@lru_cache(maxsize=4_096)
def _shared_urn(resource_type: str, id_: str) -> str:
    """Ids of the directory are readable, not UUIDs, and unique within their type only."""
    return uuid5(NAMESPACE_URL, f"{OWN}{resource_type}/{id_}").urn


def urn_but_directory(resource_type: str, id_: str) -> str:
    """As `urn`, but people and places that are on the server already are named by their ids."""
    return f"{resource_type}/{id_}" if resource_type in SHARED_TYPES else f"urn:uuid:{id_}"


@dataclass(slots=True)
class Visit:
    """A planned encounter. `kind` is wellness, follow-up, acute, emergency or inpatient."""

    start: datetime
    end: datetime
    kind: str
    fever: bool = False
    id: str = ""
    reference: dict[str, str] = field(default_factory=dict)
    performer: list[dict[str, str]] = field(default_factory=list)
    at: str = ""
    issued: str = ""

    def open(self, id_: str, reference: dict[str, str], performer: dict[str, str]) -> None:
        """Gives the visit its identity and the times at which its findings are dated."""
        self.id, self.reference, self.performer = id_, reference, [performer]
        middle = self.start + timedelta(minutes=10)
        self.at = middle.isoformat()
        self.issued = (middle + timedelta(minutes=7, milliseconds=len(id_) + middle.day)).isoformat(
            timespec="milliseconds"
        )


@dataclass(slots=True)
class Chart:
    """Collects a patient's resources; `add` is the only way in."""

    chance: Chance
    link: Link
    scale: float
    subject: dict[str, str] = field(default_factory=dict)
    resources: list[Resource] = field(default_factory=list)
    shared: dict[str, Resource] = field(default_factory=dict)

    def add(self, resource_type: str, **elements: Any) -> str:
        """Files a resource under a fresh id and returns the id; None elements are left out."""
        id_ = self.chance.uuid()
        resource: Resource = {"resourceType": resource_type, "id": id_}
        for name, value in elements.items():
            if value is not None:
                resource[name] = value
        self.resources.append(resource)
        return id_

    def refer(self, resource_type: str, id_: str, display: str | None = None) -> dict[str, str]:
        """A Reference: https://hl7.org/fhir/R4/references.html#Reference."""
        reference = {"reference": self.link(resource_type, id_)}
        if display:
            reference["display"] = display
        return reference

    def share(self, resource: Resource, display: str) -> dict[str, str]:
        """A Reference to a resource of the directory, remembered as used by this patient."""
        self.shared[f"{resource['resourceType']}/{resource['id']}"] = resource
        return self.refer(resource["resourceType"], resource["id"], display)
