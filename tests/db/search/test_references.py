"""References in every spelling, stored and asked for: https://hl7.org/fhir/R4/search.html#reference"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any
from urllib.parse import quote

import pytest

from fhirserver.search.recheck import holds
from tests.db.search.harness import BASES, REGISTRY, Runner, query
from tests.db.search.meaning import found

HERE, THERE = BASES[0], "http://other.org/fhir"
Place = tuple[str, str | None, str | None, str | None]
"""Server (`here`, `there` or a URN), type, id, version."""

STORED: dict[str, Place] = {
    "Patient/1": ("here", "Patient", "1", None),
    f"{HERE}/Patient/1": ("here", "Patient", "1", None),
    "Patient/1/_history/2": ("here", "Patient", "1", "2"),
    f"{HERE}/Patient/1/_history/3": ("here", "Patient", "1", "3"),
    "Patient/2": ("here", "Patient", "2", None),
    "Group/1": ("here", "Group", "1", None),
    f"{THERE}/Patient/1": ("there", "Patient", "1", None),
    f"{THERE}/Patient/1/_history/2": ("there", "Patient", "1", "2"),
    f"{THERE}/Group/1": ("there", "Group", "1", None),
    "urn:uuid:53fefa32-fcbb-4ff8-8a92-55ee120877b7": ("urn:uuid:53fe", None, None, None),
    "urn:oid:1.2.3": ("urn:oid:1.2.3", None, None, None),
}
ASKED: dict[str, Place] = STORED | {"1": ("here", None, "1", None), "2": ("here", None, "2", None)}
"""An id alone is that of any type on this server."""
PARAMS = {
    "Observation?subject": None,
    "Observation?subject:Patient": "Patient",
    "Observation?subject:Group": "Group",
    "Observation?patient": "Patient",
    "Provenance?target": None,
    "Provenance?target:Patient": "Patient",
}


def population() -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for index, literal in enumerate(STORED):
        target = {"reference": literal, "identifier": {"system": "urn:mrn", "value": f"i{index}"}}
        made.append(
            {
                "resourceType": "Observation",
                "id": f"s{index}",
                "status": "final",
                "code": {"text": "x"},
                "subject": target,
            }
        )
        made.append(
            {
                "resourceType": "Provenance",
                "id": f"s{index}",
                "target": [target, {"reference": "Organization/o"}],
                "recorded": "2020-01-01T00:00:00Z",
                "agent": [{"who": {"display": "x"}}],
            }
        )
    without = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    made.append({**without, "id": "logical", "subject": {"identifier": {"value": "only"}, "type": "Patient"}})
    made.append({**without, "id": "contained", "subject": {"reference": "#p"}})
    return made


RESOURCES = population()


@pytest.fixture(scope="module")
def db(database: str) -> Iterator[Runner]:
    runner = Runner(database)
    runner.run(runner.harness.clear())
    runner.run(runner.harness.put_all(RESOURCES))
    yield runner
    runner.close()


def same(asked: Place, stored: Place, wanted_type: str | None) -> bool:
    """A version that is asked for must be there; one that is not asked for does not matter."""
    server, type_, id_, version = asked
    if (server, id_) != (stored[0], stored[2]) or version not in (None, stored[3]):
        return False
    return type_ in (None, stored[1]) and wanted_type in (None, stored[1])


def allowed(place: Place, wanted_type: str | None) -> bool:
    """Whether a value may be combined with `:Type`."""
    return wanted_type is None or place[1] == wanted_type or (place[0] == "here" and place[1] is None)


@pytest.mark.parametrize(("param", "asked"), list(product(PARAMS, ASKED)))
def test_every_spelling_finds_every_spelling(db: Runner, param: str, asked: str) -> None:
    """`patient` has references to patients alone, so a URN, which may be anybody's, is none of them."""
    place, limit = ASKED[asked], PARAMS[param]
    if ":" in param and not allowed(place, limit):
        return
    wanted = {f"s{n}" for n, stored in enumerate(STORED.values()) if same(place, stored, limit)}
    url = f"{param}={quote(asked)}"
    assert found(db, url) == wanted
    resource_type = param.partition("?")[0]
    again = [one for one in RESOURCES if one["resourceType"] == resource_type]
    held = {one["id"] for one in again if holds(query(url), REGISTRY, BASES, one)}
    assert held == wanted


def test_by_identifier(db: Runner) -> None:
    assert found(db, "Observation?subject:identifier=urn:mrn|i0") == {"s0"}
    assert found(db, "Observation?subject:identifier=i3,i4") == {"s3", "s4"}
    assert found(db, "Observation?subject:identifier=|only") == {"logical"}
    assert found(db, "Observation?patient:identifier=urn:mrn|i1") == {"s1"}
    assert found(db, "Provenance?target:identifier=urn:mrn|i10") == {"s10"}


def test_a_contained_resource_is_no_target(db: Runner) -> None:
    assert found(db, "Observation?subject=p") == set()
    assert found(db, "Observation?subject:missing=true") == set()
