"""The fast path and the walker agree on resources that something was done to.

What the fast path takes, the walker finds nothing wrong with; what is done to break a rule, the walker names.
"""

import copy
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fhirserver import errors
from fhirserver.fhir import validate
from fhirserver.fhir.structure import STRUCTURES
from tests.unit.validate.conftest import Pool

Resource = dict[str, Any]
EXTENSION = {"extension": [{"url": "http://example.org/e", "valueCode": "x"}]}
STRANGE = [
    None, True, False, 0, -1, 2**31, Decimal("1.0"), Decimal("1E+2"), "", " ", "x", "a b", "\x07", "\n",
    "é", "2021-02-30", "2020-02-29", "2021-02-29", "1900-02-29", "2000-02-29", "0000-01-01",
    "2021-01-01T24:00:00Z", "2021-01-01T00:00:00", "2021-01-01T23:59:60Z", "#", "#x", "Patient/1",
    "Nothing/1", "Patient", "Patient/", "http://example.org/fhir/Patient/1", "urn:uuid:1",
    "urn:uuid:c757873d-ec9a-4326-a141-556f43239520", "AQID", [], {}, [None], [{}], ["x"], ["x", None],
    [["x"]], {"id": "x"}, EXTENSION, {"coding": [{"code": "x"}]}, {"reference": "Patient/1"},
    {"reference": "#x"}, {"resourceType": "Patient"}, [{"resourceType": "Patient"}],
    {"resourceType": "Patient", "id": "x"}, '<div xmlns="http://www.w3.org/1999/xhtml">x</div>',
    "<div>x</div>", {"id": "a b"}, Decimal("1"), "AQ ID", {"reference": "Patient/1", "type": "Patient"},
    {"reference": "Patient/1", "type": "Group"}, [{"resourceType": "Patient", "id": "x"}] * 2,
]  # fmt: skip


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key or index) in a resource."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key
        yield from places(item)


class Parts(dict[str, list[Any]]):
    """Values by property name, to be put where they may not belong."""

    def __init__(self, *resources: Resource) -> None:
        for resource in resources:
            for container, key in places(resource):
                if isinstance(key, str):
                    self.setdefault(key, []).append(container[key])

    def __repr__(self) -> str:
        return f"<values of {len(self)} properties>"


@pytest.fixture(scope="session")
def pool(examples: dict[str, Resource]) -> Pool:
    """Examples of all types that are small enough to spoil often, and those with much containment."""
    small = [value for value in examples.values() if len(str(value)) < 6000]
    contained = [value for value in examples.values() if "contained" in value and len(str(value)) < 20_000]
    return Pool(small[::3] + contained)


@pytest.fixture(scope="session")
def parts(pool: Pool) -> Parts:
    return Parts(*pool[::4])


def mutate(resource: Resource, parts: Parts, choose: random.Random) -> None:
    """Do one thing to one place: replace, remove, rename, wrap, add a property or its companion."""
    container, key = choose.choice(list(places(resource)))
    deed = choose.choice(["replace", "remove", "rename", "wrap", "add", "companion", "transplant"])
    strange = copy.deepcopy(choose.choice([*STRANGE, [EXTENSION], [None, EXTENSION]]))
    name = choose.choice(sorted(parts))
    if deed == "replace" or (deed in ("rename", "companion") and isinstance(container, list)):
        container[key] = strange
    elif deed == "remove":
        del container[key]
    elif deed == "rename":
        container[name] = container.pop(key)
    elif deed == "wrap":
        value = container[key]
        container[key] = value[0] if isinstance(value, list) and value else [value]
    elif deed == "companion":
        container[f"_{key}"] = strange
    else:
        target = container if isinstance(container, dict) else resource
        target[name] = strange if deed == "add" else copy.deepcopy(choose.choice(parts[name]))


@settings(max_examples=2000, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_fast_path_takes_nothing_that_the_walker_refuses(pool: Pool, parts: Parts, seed: int) -> None:
    choose = random.Random(seed)
    resource = copy.deepcopy(choose.choice(pool))
    for _ in range(choose.randint(1, 3)):
        if resource:
            mutate(resource, parts, choose)
    before = copy.deepcopy(resource)
    issues = [(issue.expression, issue.diagnostics) for issue in validate.issues(resource)]
    passes = validate.passes(resource)
    assert not (passes and issues)
    assert is_valid(resource) is not bool(issues)
    assert resource == before


def is_valid(resource: Resource) -> bool:
    try:
        validate.validate(resource)
    except errors.Structure:
        return False
    return True


@settings(max_examples=500, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    key_value=st.sampled_from(
        [
            ("xyzzy", 1),
            ("id", ""),
            ("id", "a b"),
            ("id", 5),
            ("id", None),
            ("extension", []),
            ("extension", {}),
        ]
    ),
)
def test_one_broken_place_gives_one_issue_at_that_place(
    pool: Pool, seed: int, key_value: tuple[str, Any]
) -> None:
    choose = random.Random(seed)
    resource = copy.deepcopy(choose.choice(pool))
    target = choose.choice([resource, *(c[k] for c, k in places(resource) if isinstance(c[k], dict))])
    key, value = key_value
    assume(not validate.issues(resource))  # not one of the two invalid examples
    assume(key != "id" or target is resource or "resourceType" not in target)  # references would dangle too
    if key == "extension":  # an extension has a value or extensions, and three types have none
        assume("url" not in target or not any(name.startswith("value") for name in target))
        assume(target.get("resourceType") not in ("Binary", "Bundle", "Parameters"))
    target[key] = value
    issues = validate.issues(resource)
    assert len(issues) == 1
    assert str(issues[0].expression).endswith(f".{key}")
    assert not validate.passes(resource)


def test_every_required_element_is_missed(examples: dict[str, Resource]) -> None:
    """Required properties of every type's examples, taken away one by one."""
    seen: set[str] = set()
    for resource in examples.values():
        kind = resource["resourceType"]
        if kind in seen or validate.issues(resource):
            continue
        seen.add(kind)
        for key, (element, _) in STRUCTURES[kind].keys.items():
            if element.min and key in resource and len(resource) > 2:
                less = {name: item for name, item in resource.items() if name != key}
                (issue,) = validate.issues(less)
                assert (issue.code, issue.expression) == ("required", f"{kind}.{element.name}")
                assert not validate.passes(less)
    assert len(seen) > 130
