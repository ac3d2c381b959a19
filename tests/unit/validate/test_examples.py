"""Real data: what is valid passes, on the fast path wherever it can, and the invalid does not."""

from typing import Any

import pytest

from fhirserver import errors
from fhirserver.fhir import json, validate

Resource = dict[str, Any]
INVALID = {
    "devicemetric-example.json": ("value", "DeviceMetric.parent.reference"),
    "questionnaireresponse-extensions-QuestionnaireResponse-item-subject.json": (
        "value",
        "SearchParameter.id",
    ),
}


def test_exactly_the_two_invalid_official_examples_are_refused(examples: dict[str, Resource]) -> None:
    assert len(examples) == 2459
    found = {name: validate.issues(resource) for name, resource in examples.items()}
    refused = {
        name: [(issue.code, issue.expression) for issue in issues] for name, issues in found.items() if issues
    }
    assert refused == {name: [issue] for name, issue in INVALID.items()}


def test_the_fast_path_takes_most_examples_and_none_that_the_walker_refuses(
    examples: dict[str, Resource],
) -> None:
    passed = {name for name, resource in examples.items() if validate.passes(resource)}
    assert not passed & INVALID.keys()
    assert len(passed) > 0.95 * len(examples)


def test_validation_changes_nothing(examples: dict[str, Resource]) -> None:
    for resource in examples.values():
        before = json.dumps(resource)
        validate.passes(resource)
        validate.issues(resource)
        assert json.dumps(resource) == before


def test_transactions_pass_whole_and_entry_by_entry(bundles: dict[str, Resource]) -> None:
    assert len(bundles) == 24
    slow = 0
    for bundle in bundles.values():
        validate.validate(bundle, "Bundle")
        validate.validate(bundle, "Bundle", entries=False)
        for entry in bundle["entry"]:
            assert validate.issues(entry["resource"]) == []
            slow += not validate.passes(entry["resource"])
    assert slow < 10  # of 4,130: the fast path is the path of real data


def test_the_error_of_an_invalid_resource_carries_all_issues(examples: dict[str, Resource]) -> None:
    resource = examples["devicemetric-example.json"] | {"nmae": 1}
    with pytest.raises(errors.Structure) as caught:
        validate.validate(resource, "DeviceMetric")
    assert caught.value.status == 400
    assert {issue.expression for issue in caught.value.issues} == {
        "DeviceMetric.parent.reference",
        "DeviceMetric.nmae",
    }
