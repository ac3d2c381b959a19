"""Extraction, against an independent FHIRPath and against plain evaluation of each expression."""

import json
import re
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import fhirpathpy
import pytest
from fhirpathpy.models import models

from fhirserver.fhir.fhirpath import FHIRPathError, Node, compile_expression
from fhirserver.fhir.fhirpath.functions import target
from fhirserver.fhir.structure import RESOURCE_TYPES
from fhirserver.params.extract import Composite, extractor
from fhirserver.params.registry import Component, SearchParam, r4

EXAMPLES = Path(__file__).parents[3] / "../shared/data/r4-examples-json"
REGISTRY = r4()


@cache
def examples() -> list[dict[str, Any]]:
    if not EXAMPLES.exists():
        pytest.skip("the R4 examples are not there")
    found = [json.loads(path.read_bytes(), parse_float=Decimal) for path in sorted(EXAMPLES.glob("*.json"))]
    return [resource for resource in found if resource.get("resourceType") in RESOURCE_TYPES]


def text(value: Any) -> str:
    """A value as text, so that order and representation of numbers do not matter."""

    def plain(part: Any) -> Any:
        part = getattr(part, "data", part)
        if isinstance(part, dict):
            return {key: plain(inner) for key, inner in part.items()}
        if isinstance(part, list):
            return [plain(inner) for inner in part]
        if isinstance(part, int | float | Decimal) and not isinstance(part, bool):
            return str(Decimal(str(part)).normalize())
        return getattr(part, "asStr", part)

    return json.dumps(plain(value), sort_keys=True, default=str)


class Oracle:
    """fhirpathpy, given what it lacks: `resolve`, leading abstract types, `as` over collections."""

    def __init__(self) -> None:
        self._resource: dict[str, Any] = {}
        self._options = {"userInvocationTable": {"resolve": {"fn": self._resolve, "arity": {0: []}}}}
        self._compiled: dict[str, Callable[..., list[Any]]] = {}

    def _resolve(self, inputs: list[Any]) -> list[Any]:
        values = [getattr(item, "data", item) for item in inputs]
        nodes = [
            target(Node(v, "Reference" if isinstance(v, dict) else "uri"), self._resource) for v in values
        ]
        return [node.value for node in nodes if node is not None]

    def evaluate(self, expression: str, resource: dict[str, Any]) -> list[str]:
        """The values of an adapted expression, as sorted texts."""
        self._resource = resource
        run = self._compiled.get(expression)
        if run is None:
            run = self._compiled[expression] = fhirpathpy.compile(expression, models["r4"], self._options)
        return sorted(text(value) for value in run(resource, {"resource": resource}))


def adapted(expression: str, type_: str) -> str:
    """The branches that begin with the type, in the words that the oracle understands."""
    begins = re.compile(rf"\W*({type_}|Resource|DomainResource)\b|[a-z%]")
    branches = expression.split("|")
    kept = " | ".join(branch for branch in branches if begins.match(branch.strip()))
    if len(branches) > 1:
        kept += " | {}"  # a union has no duplicates, even where one branch only applies
    kept = re.sub(r"(?<![A-Za-z])(Resource|DomainResource)\.", f"{type_}.", kept)
    kept = re.sub(r"resolve\(\) is (\w+)", r"resolve().resourceType = '\1'", kept)
    if " as uri)" in kept:  # its ofType does not take a canonical for a uri, though its as does
        return kept
    return re.sub(r"\.as\((\w+)\)", r".ofType(\1)", re.sub(r"\(([\w.]+) as (\w+)\)", r"\1.ofType(\2)", kept))


def composite_part(param: SearchParam, position: int, base: str, type_: str) -> str:
    """One component's values, of those bases of one branch for which every component has values."""
    parts = [adapted(part.expression, type_) for part in param.components]
    complete = " and ".join(f"({part}).exists()" for part in parts)
    return f"{base}.where({complete}).select({parts[position]})"


def test_all_pairs_agree_with_fhirpathpy():
    oracle, different, used = Oracle(), Counter(), set()
    for resource in examples():
        type_ = resource["resourceType"]
        found = extractor(REGISTRY, type_)(resource)
        for code, param in REGISTRY.for_type(type_).items():
            if param.expression is None or param.components:
                continue
            expected = oracle.evaluate(adapted(param.expression, type_), resource)
            if sorted(text(node.value) for node in found.get(code, ())) != expected:
                different[type_, code] += 1
            if expected:
                used.add((type_, code))
    assert different == {}
    assert len(used) > 1_600


def test_composites_agree_with_fhirpathpy():
    oracle, used = Oracle(), set()
    for resource in examples()[::3]:
        type_ = resource["resourceType"]
        found = extractor(REGISTRY, type_)(resource)
        composites = [param for param in REGISTRY.for_type(type_).values() if param.components]
        for param in composites:
            bases = [branch.strip() for branch in (param.expression or "").split("|")]
            for position in range(len(param.components)):
                got = [text(n.value) for one in found.get(param.code, ()) for n in one.components[position]]
                expected = [
                    value
                    for base in bases
                    if base.partition(".")[0] == type_
                    for value in oracle.evaluate(composite_part(param, position, base, type_), resource)
                ]
                assert sorted(got) == sorted(expected), (type_, param.code, position)
                used.update({(type_, param.code)} if got else ())
    assert len(used) > 10


def test_one_walk_finds_what_each_expression_finds_alone():
    """Values and their types: the merged walk and the general evaluation share no code."""
    for resource in examples():
        type_ = resource["resourceType"]
        found = extractor(REGISTRY, type_)(resource)
        for code, param in REGISTRY.for_type(type_).items():
            if param.expression is None or param.components:
                continue
            nodes = compile_expression(param.expression, type_).evaluate(resource, type_)
            alone = [
                (text(value), kind.removeprefix("System.").lower())
                for value, kind in nodes
                if value is not None
            ]
            merged = [(text(value), kind.lower()) for value, kind in found.get(code, ())]
            assert sorted(merged) == sorted(alone), (type_, code)


def test_nothing_found_leaves_nothing():
    for type_ in RESOURCE_TYPES - {"Patient"}:
        assert extractor(REGISTRY, type_)({"resourceType": type_}) == {}
    assert extractor(REGISTRY, "Patient")({"resourceType": "Patient"}) == {"deceased": [(False, "boolean")]}


def test_an_observation():
    code, other = {"coding": [{"code": "a"}]}, {"coding": [{"code": "b"}]}
    quantity, systolic = {"value": Decimal("1.0")}, {"value": Decimal(120)}
    resource = {
        "resourceType": "Observation",
        "id": "o",
        "meta": {"lastUpdated": "2026-11-20T23:20:51.123456Z", "tag": [{"code": "t"}]},
        "status": "final",
        "code": code,
        "subject": {"reference": "Patient/1"},
        "valueQuantity": quantity,
        "component": [
            {"code": other, "valueQuantity": systolic},
            {"code": code, "dataAbsentReason": {"text": "none"}},
        ],
        "contained": [{"resourceType": "Patient", "id": "p", "identifier": [{"value": "never"}]}],
    }
    base, component = Node(resource, "Observation"), Node(resource["component"][0], "Observation.component")
    codes, others = [Node(code, "CodeableConcept")], [Node(other, "CodeableConcept")]
    values, systolics = [Node(quantity, "Quantity")], [Node(systolic, "Quantity")]
    assert extractor(REGISTRY, "Observation")(resource) == {
        "_id": [Node("o", "id")],
        "_lastUpdated": [Node("2026-11-20T23:20:51.123456Z", "instant")],
        "_tag": [Node({"code": "t"}, "Coding")],
        "code": codes,
        "code-value-quantity": [Composite(base, (codes, values))],
        "combo-code": [*codes, *others],
        "combo-code-value-quantity": [
            Composite(component, (others, systolics)),
            Composite(base, (codes, values)),
        ],
        "combo-data-absent-reason": [Node({"text": "none"}, "CodeableConcept")],
        "combo-value-quantity": [*values, *systolics],
        "component-code": [*others, *codes],
        "component-code-value-quantity": [Composite(component, (others, systolics))],
        "component-data-absent-reason": [Node({"text": "none"}, "CodeableConcept")],
        "component-value-quantity": systolics,
        "patient": [Node({"reference": "Patient/1"}, "Reference")],
        "status": [Node("final", "code")],
        "subject": [Node({"reference": "Patient/1"}, "Reference")],
        "value-quantity": values,
    }


def test_primitives_without_value_are_left_out():
    name = {"family": "A", "given": [None, "B"], "_given": [{"id": "x"}, None]}
    found = extractor(REGISTRY, "Patient")(
        {"resourceType": "Patient", "name": [name], "_gender": {"id": "y"}}
    )
    assert found["given"] == [("B", "string")]
    assert found["family"] == [("A", "string")]
    assert "gender" not in found


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"deceasedBoolean": True}, True),
        ({"deceasedDateTime": "2026"}, True),
        ({"deceasedBoolean": False}, False),
    ],
)
def test_deceased_is_a_boolean_either_way(value: dict[str, Any], expected: bool):
    found = extractor(REGISTRY, "Patient")({"resourceType": "Patient", **value})
    assert found["deceased"] == [(expected, "boolean")]


def test_components_may_look_at_the_whole_resource():
    chromosome = {"text": "1"}
    resource = {
        "resourceType": "MolecularSequence",
        "referenceSeq": {"chromosome": chromosome},
        "variant": [{"start": 1, "end": 2}, {"start": 3}],
    }
    (one,) = extractor(REGISTRY, "MolecularSequence")(resource)["chromosome-variant-coordinate"]
    assert one.components == ([(chromosome, "CodeableConcept")], [(1, "integer")], [(2, "integer")])


def test_custom_parameters():
    url = "http://x.example/eye"
    eye = SearchParam(
        "eye", "token", ("Patient",), f"Patient.extension('{url}').value.as(CodeableConcept)", url
    )
    first = SearchParam("first", "string", ("Patient",), "Patient.name[0].family", "http://x.example/first")
    parts = (Component("u", "system", "token", "system"), Component("v", "value", "string", "value"))
    contact = SearchParam(
        "contact", "composite", ("Patient",), "telecom.where(use = 'home' or use = 'work')", "c", (), parts
    )
    indexed = SearchParam("indexed", "composite", ("Patient",), "telecom[0]", "i", (), parts)
    telecom = [{"system": "phone", "value": "1", "use": "home"}, {"system": "email", "value": "2"}]
    resource = {
        "resourceType": "Patient",
        "name": [{"family": "A"}, {"family": "B"}],
        "telecom": telecom,
        "extension": [
            {"url": url, "valueCodeableConcept": {"text": "blue"}},
            {"url": "o", "valueString": "x"},
        ],
    }
    found = extractor(REGISTRY.with_params([eye, first, contact, indexed]), "Patient")(resource)
    assert found["eye"] == [({"text": "blue"}, "CodeableConcept")]
    assert found["first"] == [("A", "string")]
    expected = Composite(Node(telecom[0], "ContactPoint"), ([("phone", "code")], [("1", "string")]))
    assert found["contact"] == [expected]
    assert found["indexed"] == [expected]


def test_an_expression_that_does_not_fit_is_an_error_that_names_the_parameter():
    wrong = SearchParam("wrong", "token", ("Patient",), "Patient.nothing", "http://x.example/wrong")
    with pytest.raises(FHIRPathError, match=r"http://x\.example/wrong: Patient has no element 'nothing'"):
        extractor(REGISTRY.with_params([wrong]), "Patient")


def test_extractors_are_built_once():
    assert extractor(REGISTRY, "Patient") is extractor(REGISTRY, "Patient")
    one, other = (
        REGISTRY.with_params([SearchParam(code, "token", ("Device",), "Device.status", "http://x.example/x")])
        for code in ("x", "y")
    )
    assert extractor(one, "Patient") is extractor(other, "Patient")
    assert extractor(one, "Device") is not extractor(other, "Device")
