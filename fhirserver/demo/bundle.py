"""Generated charts as transaction Bundles or as plain resources.

https://hl7.org/fhir/R4/http.html#transaction
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from fhirserver.demo import hospitals as shared
from fhirserver.demo.chart import Chart, Resource, relative, urn, urn_but_directory
from fhirserver.demo.course import live


def patients(
    count: int, seed: int = 1, *, observations: float = 1.0, self_contained: bool = True, first: int = 0
) -> Iterator[dict[str, Any]]:
    """One transaction Bundle a patient, with everything around them.

    Patient number i is the same for every `count`; `first` starts later in the series. Ids are left to
    the server: entries are POSTs whose references are resolved through their fullUrl. `self_contained`
    Bundles bring the people and places they mention, created unless they exist (ifNoneExist); the
    others refer to `directory(seed)`, which then has to be on the server first. `observations`
    multiplies the number of measurements: below 1 some are left out, above 1 home measurements are
    added. The parts may be shared between Bundles and are not to be changed.
    """
    for index in range(first, first + count):
        if self_contained:
            chart = live(seed, index, urn, observations)
            entries = [*_conditional(chart), *map(_post, chart.resources)]
        else:
            entries = list(map(_post, live(seed, index, urn_but_directory, observations).resources))
        yield {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def patients_with_ids(
    count: int, seed: int = 1, *, observations: float = 1.0, first: int = 0
) -> Iterator[dict[str, Any]]:
    """As `patients`, but every entry is a PUT under the id that `resources` gives it.

    Stored again, they replace themselves instead of multiplying. The first entry is the Patient;
    `directory(seed)` has to be on the server first.
    """
    for index in range(first, first + count):
        found = live(seed, index, relative, observations).resources
        yield {"resourceType": "Bundle", "type": "transaction", "entry": list(map(_put, found))}


def directory(seed: int = 1) -> dict[str, Any]:
    """A transaction Bundle that PUTs the hospitals, places and staff of a seed under stable ids."""
    entries = list(map(_put, shared.resources(seed, relative)))
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def resources(count: int, seed: int = 1, *, observations: float = 1.0, first: int = 0) -> Iterator[Resource]:
    """The same data as plain resources with ids and relative references, the directory first."""
    yield from shared.resources(seed, relative)
    for index in range(first, first + count):
        yield from live(seed, index, relative, observations).resources


def _post(resource: Resource) -> dict[str, Any]:
    return {
        "fullUrl": f"urn:uuid:{resource['id']}",
        "resource": resource,
        "request": {"method": "POST", "url": resource["resourceType"]},
    }


def _put(resource: Resource) -> dict[str, Any]:
    url = relative(resource["resourceType"], resource["id"])
    return {"resource": resource, "request": {"method": "PUT", "url": url}}


def _conditional(chart: Chart) -> Iterable[dict[str, Any]]:
    """Entries for the people and places that a chart mentions."""
    return map(_create_unless_exists, chart.shared.values())


def _create_unless_exists(resource: Resource) -> dict[str, Any]:
    identifier = resource["identifier"][0]
    return {
        "fullUrl": urn(resource["resourceType"], resource["id"]),
        "resource": resource,
        "request": {
            "method": "POST",
            "url": resource["resourceType"],
            "ifNoneExist": f"identifier={identifier['system']}|{identifier['value']}",
        },
    }
