"""What `to_xml` writes and refuses."""

import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver import errors
from fhirserver.fhir.xml import from_xml, to_xml

NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def observation(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", **more}


def test_whole_document() -> None:
    resource = observation(
        valueQuantity={"code": "kg", "value": Decimal("1.50"), "id": "q"},
        status="final",
        _status={"extension": [{"url": "u", "valueBoolean": True}]},
        id="o1",
    )
    assert to_xml(resource) == (
        b'<Observation xmlns="http://hl7.org/fhir"><id value="o1"/>'
        b'<status value="final"><extension url="u"><valueBoolean value="true"/></extension></status>'
        b'<valueQuantity id="q"><value value="1.50"/><code value="kg"/></valueQuantity></Observation>'
    )
    assert to_xml({"resourceType": "Basic", "id": "b"}, pretty=True) == (
        b'<Basic xmlns="http://hl7.org/fhir">\n  <id value="b"/>\n</Basic>'
    )


@given(st.text())
def test_any_text_comes_back_or_is_refused(text: str) -> None:
    resource = observation(valueString=text, note=[{"text": text}], _status={"id": text})
    if NOT_IN_XML.search(text):
        with pytest.raises(errors.Structure, match=r"cannot be written in XML 1\.0"):
            to_xml(resource)
    else:
        assert from_xml(to_xml(resource)) == resource


DECIMALS = st.decimals(
    min_value=Decimal("-1e30"), max_value=Decimal("1e30"), allow_nan=False, allow_infinity=False
)


@given(DECIMALS)
def test_decimals_come_back_with_value_and_precision(number: Decimal) -> None:
    resource = observation(valueQuantity={"value": number})
    found = from_xml(to_xml(resource))["valueQuantity"]["value"]
    assert Decimal(found).as_tuple() == number.as_tuple()


@pytest.mark.parametrize(
    ("resource", "expression", "hint"),
    [
        (observation(component=[{}, {"valueString": "\x01"}]), "Observation.component[1].value", "U+0001"),
        (observation(note=[{"text": "\ud800"}]), "Observation.note[0].text", "U+D800"),
        (observation(extension=[{"url": "\x02"}]), "Observation.extension[0]", "U+0002"),
        (observation(nonsense=1), "Observation", "'nonsense' is not defined here"),
        (observation(component={}), "Observation.component", "array is expected"),
        (observation(code="x"), "Observation.code", "object is expected"),
        (observation(status={}), "Observation.status", "primitive value is expected"),
        (
            observation(contained=[{"resourceType": "X"}]),
            "Observation.contained[0]",
            "'X' is not a resource type",
        ),
        (observation(text={"div": "<div>"}), "Observation.text.div", "not well-formed"),
        (observation(text={"div": "<!DOCTYPE x><div/>"}), "Observation.text.div", "DOCTYPE"),
        (observation(text={"div": "<p/>"}), "Observation.text.div", "must be one <div"),
        (observation(text={"div": "<?xml version='1.0'?><div/>"}), "Observation.text.div", "XML declaration"),
        (observation(text={"div": "<div>\x03</div>"}), "Observation.text.div", "not well-formed"),
        (observation(text={"div": "<div>\udfff</div>"}), "Observation.text.div", "cannot carry"),
        ({"resourceType": "Nothing"}, "Nothing", "not a resource type"),
    ],
)
def test_what_cannot_be_written_is_named(resource: dict[str, Any], expression: str, hint: str) -> None:
    with pytest.raises(errors.Structure) as caught:
        to_xml(resource)
    [issue] = caught.value.issues
    assert issue.expression == expression
    assert hint in issue.diagnostics


@pytest.mark.parametrize(
    ("div", "written"),
    [
        ("<div>a&nbsp;b</div>", '<div xmlns="http://www.w3.org/1999/xhtml">a\xa0b</div>'),
        ("<div>&LT;script&GT;</div>", '<div xmlns="http://www.w3.org/1999/xhtml">&lt;script&gt;</div>'),
        ('<div xmlns="http://www.w3.org/1999/xhtml" title="&eacute;"/>', None),
    ],
)
def test_html_entities_become_characters(div: str, written: str | None) -> None:
    found = from_xml(to_xml(observation(text={"status": "generated", "div": div})))["text"]["div"]
    assert found == (written or div.replace("&eacute;", "é"))


def test_deep_nesting_is_refused_and_does_not_crash() -> None:
    extension: dict[str, Any] = {"url": "u"}
    for _ in range(5000):
        extension = {"url": "u", "extension": [extension]}
    with pytest.raises(errors.Structure, match="nested too deeply"):
        to_xml(observation(extension=[extension]))
