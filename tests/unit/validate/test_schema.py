"""The generated schemas: well-formed by the meta-schema, closed, and small enough to compile at first use."""

import jsonschema
import pytest

from fhirserver.fhir.schema import schema, validator
from fhirserver.fhir.structure import RESOURCE_TYPES


@pytest.mark.parametrize("resource_type", sorted(RESOURCE_TYPES))
def test_every_type_has_a_schema_that_compiles(resource_type: str) -> None:
    found = schema(resource_type)
    jsonschema.Draft4Validator.check_schema(found)
    assert len(found["definitions"]) < 200
    compiled = validator(resource_type)
    assert not compiled.is_valid({})
    assert not compiled.is_valid({"resourceType": "Other"})
    assert validator(resource_type) is compiled


def test_every_reference_within_a_schema_resolves() -> None:
    found = schema("Bundle")

    def references(value: object) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return own.union(*map(references, value.values()))
        return set().union(*map(references, value)) if isinstance(value, list) else set()

    assert {name.removeprefix("#/definitions/") for name in references(found)} <= found["definitions"].keys()


def test_an_unknown_type_has_none() -> None:
    with pytest.raises(KeyError):
        schema("Nothing")
