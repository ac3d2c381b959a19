"""The data of a run: invented patients as transaction Bundles, made before the clock starts."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.client import request
from fhirserver import demo
from fhirserver.fhir.json import dumps

OBSERVATIONS = 1.0


@dataclass(slots=True)
class Load:
    """Bundles for one measurement, with the resources in them as the floor gets them."""

    bundles: list[bytes] = field(default_factory=list)
    contents: list[str] = field(default_factory=list)

    @property
    def resources(self) -> int:
        """How many there are."""
        return len(self.contents)

    @property
    def mean_bytes(self) -> float:
        """Mean length of a resource as JSON."""
        return sum(map(len, self.contents)) / max(len(self.contents), 1)

    @property
    def requests(self) -> list[bytes]:
        """The Bundles as requests."""
        return [post("", bundle) for bundle in self.bundles]


def post(resource_type: str, body: bytes) -> bytes:
    """A POST whose answer is as short as the server can make it."""
    path = f"/fhir/{resource_type}" if resource_type else "/fhir"
    return request("POST", path, body, Prefer="return=minimal")


def directory(seed: int) -> bytes:
    """The people and places that the patients of a seed refer to."""
    return post("", dumps(demo.directory(seed)))


def patients(first: int, resources: int, seed: int) -> tuple[Load, int]:
    """Patients from number `first` on, at least `resources` resources of them; also the next number."""
    load = Load()
    index = first
    while load.resources < resources:
        for bundle in demo.patients(1, seed, observations=OBSERVATIONS, self_contained=False, first=index):
            load.bundles.append(dumps(bundle))
            load.contents.extend(dumps(entry["resource"]).decode() for entry in bundle["entry"])
        index += 1
    return load, index


def observations(patient_ids: list[str], count: int, seed: int) -> list[bytes]:
    """Observations of patients that are on the server, each complete in itself."""
    made: list[bytes] = []
    index = 0
    while len(made) < count:
        for resource in demo.resources(1, seed, first=index):
            if resource["resourceType"] != "Observation":
                continue
            subject = {"reference": f"Patient/{patient_ids[index % len(patient_ids)]}"}
            kept = {
                key: value
                for key, value in resource.items()
                if key not in ("id", "encounter", "performer", "subject")
            }
            made.append(dumps({**kept, "subject": subject}))
        index += 1
    return made[:count]
