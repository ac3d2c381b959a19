"""JSON Patch: the official cases, another implementation as oracle, and errors that name the operation."""

import copy
import json as stdlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver import errors
from fhirserver.fhir import json
from fhirserver.fhir.patch_json import apply

PATIENT = {
    "resourceType": "Patient",
    "name": [{"family": "Chalmers", "given": ["Peter", "James"]}],
    "active": True,
    "extension": [{"url": "http://example.org/weight", "valueDecimal": Decimal("1.50")}],
}

keys = st.sampled_from(["a", "b", "a/b", "m~n", "", "0"])
documents = st.recursive(
    st.one_of(st.integers(0, 3), st.sampled_from(["", "x"]), st.none(), st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=10,
)


def test_official_cases(shared_data: Path) -> None:
    cases = stdlib.loads((shared_data / "patch" / "json-patch-tests.json").read_bytes())
    assert len(cases) == 16
    for case in cases:
        if "error" in case:
            with pytest.raises(errors.Unprocessable):
                apply(case["doc"], case["patch"])
        else:
            assert apply(case["doc"], case["patch"]) == case["expected"], case["comment"]


@given(documents, documents)
def test_a_patch_made_by_another_implementation_leads_to_its_target(before: Any, after: Any) -> None:
    patch = jsonpatch.make_patch(before, after).patch
    assert stdlib.dumps(apply(before, patch), sort_keys=True) == stdlib.dumps(after, sort_keys=True)


pointers = st.lists(
    st.sampled_from(["a", "b", "0", "1", "2", "-", "a~1b", "m~0n", "", "00", "-1"]), max_size=3
).map(lambda tokens: "".join("/" + token for token in tokens))
operations = st.one_of(
    st.fixed_dictionaries(
        {"op": st.sampled_from(["add", "replace", "test"]), "path": pointers, "value": documents}
    ),
    st.fixed_dictionaries({"op": st.just("remove"), "path": pointers}),
    st.fixed_dictionaries({"op": st.sampled_from(["copy", "move"]), "path": pointers, "from": pointers}),
)


@given(
    st.lists(documents, max_size=4) | st.dictionaries(keys, documents, max_size=4),
    st.lists(operations, min_size=1, max_size=4),
)
def test_it_agrees_with_another_implementation_and_leaves_its_input_alone(document: Any, patch: Any) -> None:
    given_document, given_patch = copy.deepcopy(document), copy.deepcopy(patch)
    try:
        expected = jsonpatch.apply_patch(document, copy.deepcopy(patch))
    except (
        jsonpatch.JsonPatchException,
        jsonpatch.JsonPointerException,
        TypeError,
        AttributeError,
        KeyError,
    ):
        expected = errors.FhirError
    try:
        found = apply(document, patch)
    except errors.FhirError as refused:
        assert expected is errors.FhirError or known_difference(patch), refused
    else:
        assert known_difference(patch) or stdlib.dumps(found) == stdlib.dumps(expected)
    assert (document, patch) == (given_document, given_patch)


def known_difference(patch: list[dict[str, Any]]) -> bool:
    """Where the oracle leaves RFC 6902: whole documents removed, copied, moved or given as text."""
    whole = any(item["path"] == "" or item.get("from") == "" for item in patch)
    return whole or any(str(item.get("from", "x")).endswith("-") for item in patch)


@pytest.mark.parametrize(
    ("operation", "diagnostics"),
    [
        (
            {"op": "remove", "path": "/birthDate"},
            "operation 1 (remove /birthDate) failed: /birthDate does not exist",
        ),
        ({"op": "replace", "path": "/name/1", "value": {}}, "/name/1 does not exist"),
        ({"op": "add", "path": "/name/5", "value": {}}, "/name/5 is beyond the end of the array of 1"),
        ({"op": "add", "path": "/name/x", "value": {}}, "'x' is not an index"),
        ({"op": "add", "path": "/name/00", "value": {}}, "'00' is not an index"),
        ({"op": "add", "path": "/active/x", "value": 1}, "/active is neither an object nor an array"),
        ({"op": "remove", "path": "/name/-"}, "only add can write"),
        ({"op": "test", "path": "/active", "value": False}, "the value is another one"),
        ({"op": "test", "path": "/active", "value": 1}, "the value is another one"),
        ({"op": "test", "path": "/gone", "value": None}, "/gone does not exist"),
        ({"op": "move", "from": "/gone", "path": "/x"}, "/gone does not exist"),
        ({"op": "remove", "path": ""}, "cannot be removed"),
    ],
)
def test_an_operation_that_does_not_fit_is_unprocessable(operation: dict[str, Any], diagnostics: str) -> None:
    with pytest.raises(errors.Unprocessable) as caught:
        apply(PATIENT, [{"op": "add", "path": "/gender", "value": "male"}, operation])
    (issue,) = caught.value.issues
    assert caught.value.status == 422
    assert issue.diagnostics.startswith("operation 1 (")
    assert diagnostics in issue.diagnostics
    assert "gender" not in PATIENT


@pytest.mark.parametrize(
    ("patch", "diagnostics"),
    [
        ({"op": "remove", "path": "/a"}, "an array of operations"),
        ([1], "operation 0 of the patch is not an object"),
        ([{"path": "/a"}], "needs an op"),
        ([{"op": "delete", "path": "/a"}], "one of add, remove, replace, move, copy, test"),
        ([{"op": ["add"], "path": "/a"}], "needs an op"),
        ([{"op": "remove"}], "needs a path"),
        ([{"op": "remove", "path": "a"}], "needs a path such as /name/0/given"),
        ([{"op": "remove", "path": 1}], "needs a path"),
        ([{"op": "remove", "path": "/a~2"}], "'~' in its path"),
        ([{"op": "add", "path": "/a"}], "(add) needs a value"),
        ([{"op": "copy", "path": "/a"}], "(copy) needs a from"),
        ([{"op": "move", "from": "a", "path": "/b"}], "needs a from such as"),
        (
            [{"op": "remove", "path": "/name"}, {"op": "move", "from": "/a", "path": "/a/b"}],
            "moves a value into itself",
        ),
    ],
)
def test_a_malformed_patch_is_refused_before_anything_is_done(patch: Any, diagnostics: str) -> None:
    with pytest.raises(errors.Invalid) as caught:
        apply(PATIENT, patch)
    assert caught.value.status == 400
    assert diagnostics in caught.value.issues[0].diagnostics


@pytest.mark.parametrize("value", [Decimal("1.5"), Decimal("1.500"), Decimal("15E-1")])
def test_numbers_are_tested_by_value(value: Decimal) -> None:
    path = "/extension/0/valueDecimal"
    assert apply(PATIENT, [{"op": "test", "path": path, "value": value}]) == PATIENT


def test_decimals_keep_their_precision() -> None:
    patch = json.loads(
        b'[{"op":"replace","path":"/extension/0/valueDecimal","value":2.500},{"op":"add","path":"/x","value":1.0}]'
    )
    text = json.dumps(apply(PATIENT, patch))
    assert b'"valueDecimal":2.500' in text
    assert b'"x":1.0}' in text


def test_what_a_patch_adds_twice_is_not_shared() -> None:
    patch = [
        {"op": "add", "path": "/a", "value": {"n": [1]}},
        {"op": "copy", "from": "/a", "path": "/b"},
        {"op": "add", "path": "/b/n/-", "value": 2},
    ]
    assert apply({}, patch) == {"a": {"n": [1]}, "b": {"n": [1, 2]}}
    assert patch[0]["value"] == {"n": [1]}


def test_limits() -> None:
    with pytest.raises(errors.TooCostly, match="at most 2"):
        apply({}, [{"op": "add", "path": "/a", "value": 1}] * 3, operations_max=2)
    doubling = [{"op": "add", "path": "/a", "value": ["x"] * 100}] + [
        {"op": "copy", "from": "/a", "path": "/a/-"}
    ] * 60
    with pytest.raises(errors.TooCostly, match="copies more than"):
        apply({}, doubling)
    deeper = [{"op": "add", "path": "/a" * depth, "value": {}} for depth in range(1, 70)]
    with pytest.raises(errors.TooCostly, match="deeper than 64"):
        apply({}, deeper)
    nesting = [{"op": "copy", "from": "", "path": "/a"}] * 1000
    with pytest.raises(errors.TooCostly, match="deeper than 64"):
        apply({}, nesting)
