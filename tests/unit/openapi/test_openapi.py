"""The OpenAPI documents: sound in themselves, and the same as the tables that they are made of."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from fhirserver.errors import NotFound
from fhirserver.fhir.structure import COMPARTMENTS, ENDPOINT_TYPES
from fhirserver.http.openapi import SYSTEM, document
from fhirserver.http.openapi.paths import identifier, rows, template
from fhirserver.interactions.capabilities import searches
from fhirserver.interactions.run import HANDLERS
from fhirserver.interactions.table import TABLE, resolve
from fhirserver.params.registry import r4

BASE = "https://example.org/fhir"
PARTS = (None, SYSTEM, *sorted(ENDPOINT_TYPES))


def load(part: str | None) -> dict[str, Any]:
    return json.loads(document(r4(), BASE, part).body)


WHOLE = load(None)


def refs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for child in value.values():
            yield from refs(child)
    elif isinstance(value, list):
        for child in value:
            yield from refs(child)


def operations(found: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def parameters(found: dict[str, Any], operation: dict[str, Any]) -> list[dict[str, Any]]:
    known = found["components"]["parameters"]
    return [known[p["$ref"].rpartition("/")[2]] if "$ref" in p else p for p in operation["parameters"]]


@pytest.mark.parametrize("part", [None, SYSTEM, "Patient", "Binary", "Observation", "Bundle"])
def test_documents_are_sound(part: str | None) -> None:
    found = load(part)
    assert found["openapi"] == "3.1.0" and found["servers"] == [{"url": BASE}]
    for ref in set(refs(found)):
        place = found
        for key in ref.removeprefix("#/").split("/"):
            place = place[key]
    assert all(
        re.fullmatch(r"[A-Za-z0-9._-]+", name) for kind in found["components"].values() for name in kind
    )
    identifiers = Counter(operation["operationId"] for _, _, operation in operations(found))
    assert set(identifiers.values()) == {1}
    for path, method, operation in operations(found):
        given = parameters(found, operation)
        places = [(p["in"], p["name"]) for p in given]
        assert len(places) == len(set(places)), (path, method)
        in_path = {p["name"] for p in given if p["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path)), (path, method)
        assert all(p["required"] for p in given if p["in"] == "path")
        assert operation["responses"]["default"] == {"$ref": "#/components/responses/Outcome"}
        assert set(operation["tags"]) <= {tag["name"] for tag in found["tags"]}


def test_schemas_are_schemas() -> None:
    for name, schema in WHOLE["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert schema.get("type") or name in ("Resource",), name


def test_schemas_accept_the_official_examples(shared_data: Path) -> None:
    validators: dict[str, Draft202012Validator] = {}
    tried = 0
    for path in sorted((shared_data / "r4-examples-json").glob("*example*.json"))[::4]:
        resource = json.loads(path.read_text(encoding="utf-8"))
        kind = resource["resourceType"]
        if kind not in ENDPOINT_TYPES or path.stat().st_size > 60_000:
            continue
        if kind not in validators:
            schema = {"$ref": f"#/components/schemas/{kind}", "components": load(kind)["components"]}
            validators[kind] = Draft202012Validator(schema)
        errors = [
            f"{error.json_path}: {error.message[:200]}" for error in validators[kind].iter_errors(resource)
        ]
        assert errors == [], path.name
        tried += 1
    assert tried > 100


def test_schemas_refuse_what_is_wrong() -> None:
    schema = {"$ref": "#/components/schemas/Patient", "components": load("Patient")["components"]}
    judge = Draft202012Validator(schema)
    assert judge.is_valid({"resourceType": "Patient", "gender": "female", "birthDate": "1970-01"})
    for wrong in ({"gender": "f"}, {"birthDate": "1970-13"}, {"active": "true"}, {"name": {"family": "x"}}):
        assert not judge.is_valid({"resourceType": "Patient", **wrong}), wrong


def test_operations_are_the_rows_of_the_table() -> None:
    for part in (SYSTEM, "Patient", "Observation"):
        name = None if part == SYSTEM else part
        offered = {(row.method.lower(), template(row, name)) for row in rows(name)}
        assert {(method, path) for path, method, _ in operations(load(part))} == offered
    assert {row.name for row in TABLE} == HANDLERS.keys()


def test_every_operation_leads_to_its_handler() -> None:
    values = {"id": "1", "vid": "2", "type": "Observation"}
    for path, method, operation in operations(WHOLE):
        target = resolve(method.upper(), path.format(**values))
        assert target.interaction.name == operation["x-fhir-interaction"]
        assert (
            identifier(target.interaction, operation["tags"][0] if operation["tags"] != [SYSTEM] else None)
            == (operation["operationId"])
        )
        assert target.type in (None, operation["tags"][0]) or target.compartment == (
            operation["tags"][0],
            "1",
        )


def test_the_search_of_each_type_has_its_parameters() -> None:
    for name in ENDPOINT_TYPES:
        given = parameters(WHOLE, WHOLE["paths"][f"/{name}"]["get"])
        typed = {(p["name"], p["x-fhir-type"]) for p in given if p["in"] == "query" and "x-fhir-type" in p}
        assert typed == {(param.code, param.type) for param in searches.announced(r4(), name)}
        controls = {p["name"] for p in given if p["in"] == "query" and "x-fhir-type" not in p}
        assert controls == searches.CONTROLS.keys() - {"_has", "_type"}


def test_a_purpose_of_use_can_be_claimed_wherever_there_are_data() -> None:
    ref = {"$ref": "#/components/parameters/X-Purpose-Of-Use"}
    claimed = {
        one["x-fhir-interaction"]: ref in one["parameters"]
        for methods in WHOLE["paths"].values()
        for one in methods.values()
    }
    assert claimed == {name: name != "capabilities" for name in HANDLERS}


def test_compartments_list_their_members() -> None:
    for name, members in COMPARTMENTS.items():
        operation = WHOLE["paths"][f"/{name}/{{id}}/{{type}}"]["get"]
        (chosen,) = (p for p in parameters(WHOLE, operation) if p["name"] == "type")
        assert chosen["schema"]["enum"] == sorted(members.keys() & ENDPOINT_TYPES)
    assert "/Observation/{id}/{type}" not in WHOLE["paths"]


def test_slices_are_parts_of_the_whole_and_small() -> None:
    joined: dict[str, Any] = {}
    for part in PARTS[1:]:
        made = document(r4(), BASE, part)
        found = json.loads(made.body)
        assert len(made.gzip) < 40_000, part
        joined |= found["paths"]
        for kind in ("parameters", "schemas"):
            assert found["components"][kind].items() <= WHOLE["components"][kind].items()
    assert joined == WHOLE["paths"]
    assert len(document(r4(), BASE).gzip) < 200_000


def test_a_slice_of_nothing_is_refused_with_what_it_may_have_been() -> None:
    with pytest.raises(NotFound, match="Patient"):
        document(r4(), BASE, "Patinet")
    with pytest.raises(NotFound):
        document(r4(), BASE, "Parameters")
