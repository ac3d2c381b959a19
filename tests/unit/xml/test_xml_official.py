"""The XML form against official material: examples in both forms, and the schemas."""

from typing import Any

from lxml import etree

from fhirserver.fhir.xml import from_xml, to_xml

ID_TOO_LONG = "questionnaireresponse-extensions-QuestionnaireResponse-item-subject"
Examples = dict[str, dict[str, Any]]


def test_every_example_survives_the_way_to_xml_and_back(examples: Examples) -> None:
    changed = []
    for name, resource in examples.items():
        again = from_xml(to_xml(resource))
        if again != resource or _digits(again) != _digits(resource):
            changed.append(name)
    assert len(examples) == 2459
    assert changed == []


def _digits(value: Any) -> Any:
    """Numbers as text, so that 1.50 and 1.5 differ."""
    if isinstance(value, dict):
        return {key: _digits(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_digits(item) for item in value]
    return value if isinstance(value, bool | str) else str(value)


def test_indented_examples_mean_the_same(examples: Examples) -> None:
    for name, resource in list(examples.items())[::7]:
        text = to_xml(resource, pretty=True)
        assert b"\n  <" in text or len(resource) == 1, name
        assert from_xml(text) == resource, name


def test_every_example_is_valid_by_the_schemas(examples: Examples, schemas: Any) -> None:
    schema = etree.XMLSchema(etree.parse(schemas / "fhir-single.xsd"))
    invalid = [
        name for name, resource in examples.items() if not schema.validate(etree.fromstring(to_xml(resource)))
    ]
    assert invalid == [ID_TOO_LONG]


def test_xml_examples_mean_what_their_json_says(examples: Examples, xml_examples: dict[str, bytes]) -> None:
    """The two sets come from different builds: HTEST is a tag in one and a label in the other."""
    different = [
        name
        for name, text in xml_examples.items()
        if name in examples and _comparable(from_xml(text)) != _comparable(examples[name])
    ]
    assert len(xml_examples) == 400
    assert sum(name in examples for name in xml_examples) >= 399
    assert different == []


def test_xml_examples_survive_writing(xml_examples: dict[str, bytes]) -> None:
    for name, text in xml_examples.items():
        resource = from_xml(text)
        assert from_xml(to_xml(resource)) == resource, name


def _comparable(value: Any) -> Any:
    """Without the HTEST mark, and with narratives in canonical form."""
    if isinstance(value, list):
        return [_comparable(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {key: _comparable(item) for key, item in value.items()}
    if isinstance(found.get("div"), str):
        found["div"] = etree.canonicalize(found["div"], strip_text=True)
    if "meta" in found:
        found["meta"] = _unmarked(found["meta"])
        if not found["meta"]:
            del found["meta"]
    return found


def _unmarked(meta: dict[str, Any]) -> dict[str, Any]:
    kept = dict(meta)
    for key in ("tag", "security"):
        kept[key] = [coding for coding in meta.get(key, []) if coding.get("code") != "HTEST"]
        if not kept[key]:
            del kept[key]
    return kept
