"""The structure tables against the official examples, the XML schemas and themselves."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from fhirserver.fhir import structure as s


def test_counts() -> None:
    assert len(s.RESOURCE_TYPES) == 146
    assert len(s.ENDPOINT_TYPES) == 145
    assert {"Parameters"} == s.RESOURCE_TYPES - s.ENDPOINT_TYPES
    assert {x.name for x in s.STRUCTURES.values() if x.abstract} == {
        "Resource",
        "DomainResource",
        "Element",
        "BackboneElement",
    }
    assert sum(x.kind == "primitive" for x in s.STRUCTURES.values()) == 20


def test_every_type_target_and_base_resolves() -> None:
    for found in s.STRUCTURES.values():
        assert found.base is None or found.base in s.STRUCTURES
        for element in found.elements.values():
            assert element.types, (found.name, element.name)
            for name in (*element.types, *element.targets, *element.canonical):
                assert name in s.STRUCTURES, (found.name, element.name, name)
            assert element.choice or len(element.types) == 1
            assert element.max is None or 0 <= element.min <= element.max


def test_supertypes_end_at_a_root() -> None:
    assert s.supertypes("positiveInt") == ("positiveInt", "integer", "Element")
    assert s.supertypes("Patient") == ("Patient", "DomainResource", "Resource")
    assert s.supertypes("Bundle") == ("Bundle", "Resource")
    assert s.supertypes("Timing.repeat") == ("Timing.repeat", "Element")
    assert {s.supertypes(name)[-1] for name in s.STRUCTURES} == {"Element", "Resource"}
    with pytest.raises(KeyError):
        s.supertypes("Nothing")


def test_a_type_has_all_elements_of_its_base_first_and_in_order() -> None:
    for found in s.STRUCTURES.values():
        if found.base is not None and found.kind != "primitive":
            inherited = list(s.structure(found.base).elements)
            assert list(found.elements)[: len(inherited)] == inherited, found.name


def test_keys_are_the_json_properties() -> None:
    observation = s.structure("Observation")
    element, kind = observation.keys["valueCodeableConcept"]
    assert (element.name, kind) == ("value", "CodeableConcept")
    assert "value" not in observation.keys
    assert s.structure("Bundle.entry").keys["link"][1] == "Bundle.link"
    assert s.structure("Extension").elements["url"].attr
    assert s.structure("Patient").keys["id"][1] == "id"
    assert s.structure("Period").keys["id"][1] == "string"
    for found in s.STRUCTURES.values():
        assert len(found.keys) == sum(len(element.types) for element in found.elements.values())


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("boolean", ["true", "false"], ["True", "1", ""]),
        ("integer", ["0", "-1", "2147483647"], ["01", "1.0", "+1"]),
        ("positiveInt", ["1", "10"], ["0", "-1"]),
        ("unsignedInt", ["0", "7"], ["-1", "07"]),
        ("decimal", ["1.50", "1e10", "-0.1"], [".5", "01.0", "NaN"]),
        ("id", ["a.b-C", "x" * 64], ["", "a_b", "x" * 65]),
        ("code", ["a b", "x"], [" x", "x ", "a  b"]),
        ("oid", ["urn:oid:1.2.3"], ["1.2.3", "urn:oid:3.1"]),
        ("uuid", ["urn:uuid:c757873d-ec9a-4326-a141-556f43239520"], ["urn:uuid:C757873D", "c757873d"]),
        ("date", ["1951", "1951-06", "1951-06-04"], ["1951-13", "51", "1951-06-04T00:00:00Z"]),
        ("dateTime", ["2015-02-07T13:28:17.239+02:00", "2015"], ["2015-02-07T13:28", "2015-02-07T13:28:17"]),
        ("instant", ["2015-02-07T13:28:17.239Z"], ["2015-02-07", "2015-02-07T13:28:17"]),
        ("time", ["12:00:00", "23:59:60"], ["24:00:00", "12:00"]),
        ("base64Binary", ["YWJj"], ["YWJ", "*"]),
        ("uri", ["urn:x", ""], ["a b"]),
    ],
)
def test_lexical_space_of_primitives(name: str, good: list[str], bad: list[str]) -> None:
    regex = s.structure(name).regex
    assert regex is not None
    assert all(re.fullmatch(regex, text) for text in good)
    assert not any(re.fullmatch(regex, text) for text in bad)


def test_limits_of_primitives() -> None:
    assert (s.structure("integer").minimum, s.structure("integer").maximum) == (-(2**31), 2**31 - 1)
    assert s.structure("string").length_max == 1024 * 1024
    assert [x.name for x in s.STRUCTURES.values() if x.kind == "primitive" and x.regex is None] == ["xhtml"]
    assert s.is_primitive("xhtml")
    assert not s.is_primitive("Quantity")
    assert not s.is_primitive("nothing")


def _unknown(value: dict[str, Any], kind: str, path: str) -> Iterator[str]:
    """Properties of an example that the tables do not have, or not as array or object as they say."""
    found = s.structure(kind)
    for key, child in value.items():
        if key in ("resourceType", "fhir_comments"):
            continue
        known = found.keys.get(key.removeprefix("_"))
        if known is None:
            yield f"{path}.{key}"
            continue
        element, child_kind = known
        if isinstance(child, list) != element.many:
            yield f"{path}.{key}: array or not"
        items = child if isinstance(child, list) else [child]
        if key.startswith("_") or s.is_primitive(child_kind):
            continue
        for item in items:
            yield from _unknown(
                item, item["resourceType"] if child_kind == "Resource" else child_kind, f"{path}.{key}"
            )


def test_examples_have_only_known_types_and_properties(examples: dict[str, dict[str, Any]]) -> None:
    assert len(examples) == 2459
    assert {e["resourceType"] for e in examples.values()} <= s.RESOURCE_TYPES
    unknown = {name: list(_unknown(e, e["resourceType"], e["resourceType"])) for name, e in examples.items()}
    assert {name: found for name, found in unknown.items() if found} == {}
