"""Positions of elements in texts, against where a search for them finds them."""

from __future__ import annotations

import json as plain
from pathlib import Path
from typing import Any

import pytest

from fhirserver.fhir import json, positions, xml
from fhirserver.fhir.positions import Position, steps_of

TEXT = """{
  "resourceType": "Observation",
  "id": "x", "code": {"text": "a \\"{[ }]"},
  "valueQuantity": {
    "value": 1
  },
  "_issued": {"extension": [ {"url": "u"},
     {"url": "v"}]},
  "note": [{"text": "1"}, {
      "text": "2"}]
}
"""


@pytest.mark.parametrize(
    ("expression", "place"),
    [
        ("Observation", (1, 1)),
        ("Observation.id", (3, 3)),
        ("Observation.code.text", (3, 23)),
        ("Observation.value.ofType(Quantity)", (4, 3)),
        ("Observation.value.ofType(Quantity).value", (5, 5)),
        ("Observation.value.ofType(Quantity).unit", (4, 3)),
        ("Observation.issued.extension[1].url", (8, 7)),
        ("Observation.note[1].text", (10, 7)),
        ("Observation.note[0]", (9, 12)),
        ("Observation.note[5].text", (9, 3)),
        ("Observation.subject.reference", (1, 1)),
    ],
)
def test_an_element_or_what_is_around_it(expression: str, place: tuple[int, int]) -> None:
    steps = steps_of(expression)
    assert positions.in_json(TEXT.encode(), [steps])[steps] == Position(*place)


def every(value: Any, steps: positions.Steps = ()) -> list[positions.Steps]:
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    return [steps, *(found for key, child in children for found in every(child, (*steps, key)))]


def test_every_element_of_real_resources(shared_data: Path) -> None:
    """At each position stands the property that was asked for, or the value in its array."""
    for file in sorted((shared_data / "r4-examples-json").glob("*.json"))[::40]:
        data = file.read_bytes()
        resource = json.loads(data)
        ways = every(resource)
        places = positions.in_json(data, ways)
        lines = data.decode("utf-8-sig").split("\n")
        for way in ways[1:]:
            at = places[way]
            assert at.column is not None
            text = lines[at.line - 1][at.column - 1 :]
            if isinstance(way[-1], str):
                assert text.startswith(plain.dumps(way[-1])), (file.name, way)
            else:
                value: Any = resource
                for step in way:
                    value = value[step]
                assert text[0] == (
                    "{" if isinstance(value, dict) else '"' if isinstance(value, str) else text[0]
                )


def test_lines_of_xml() -> None:
    resource = {
        "resourceType": "Patient",
        "contained": [{"resourceType": "Organization", "id": "o", "name": "n"}],
        "name": [{"family": "a"}, {"given": ["b", "c"]}],
    }
    data = xml.to_xml(resource, pretty=True)
    lines = data.decode().split("\n")
    for expression, words in {
        "Patient.contained[0].name": '<name value="n"',
        "Patient.name[1].given[1]": '<given value="c"',
        "Patient.name[1].family": "<name>",
    }.items():
        steps = steps_of(expression)
        at = positions.in_xml(data, [steps])[steps]
        assert words in lines[at.line - 1]
