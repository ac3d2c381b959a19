"""Whatever comes in: a resource or a Structure error, never anything else."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fhirserver import errors
from fhirserver.fhir.structure import STRUCTURES
from fhirserver.fhir.xml import from_xml, to_xml

SOURCE = (
    '<Patient xmlns="http://hl7.org/fhir" xmlns:h="http://www.w3.org/1999/xhtml"><id value="p"/>'
    '<text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml"><p>a<br/></p></div></text>'
    '<contained><Basic><text><status value="empty"/><h:div>x</h:div></text></Basic></contained>'
    '<extension url="u"><valueDecimal value="1.50"/></extension><active value="true"/>'
    '<name id="n"><given value="a"/>'
    '<given><extension url="v"><valueCode value="c"/></extension></given></name>'
    '<multipleBirthInteger value="2"/></Patient>'
)
MARKS = ["<", ">", "/>", '"', "<!--", "-->", "<![CDATA[", "]]>", "<!DOCTYPE", "<?p?>", "&lt;", "&x;", ":"]
NAMES = ["<div>", "</div>", "<h:div>", "</h:div>", "<id/>", 'value="', "xmlns", "Patient", "é", "\x00", " "]
PIECES = st.sampled_from([*MARKS, *NAMES])
EDITS = st.lists(
    st.tuples(st.integers(0, len(SOURCE)), st.integers(0, 40), PIECES | st.text(max_size=5)), max_size=4
)


@settings(max_examples=500, deadline=None)
@given(EDITS)
def test_edited_documents_are_read_or_refused(edits: list[tuple[int, int, str]]) -> None:
    text = SOURCE
    for place, removed, added in edits:
        text = text[:place] + added + text[place + removed :]
    try:
        resource = from_xml(text.encode("utf-8", "surrogatepass"))
    except errors.Structure as error:
        assert all(issue.diagnostics for issue in error.issues)
    else:
        assert from_xml(to_xml(resource)) == resource


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    try:
        from_xml(data)
    except errors.Structure:
        return
    raise AssertionError("random bytes are no resource")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "url", "extension", "value", "text", "div", "x"]), inner)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from([f"{mark}{key}" for key in STRUCTURES["Observation"].keys for mark in ("", "_")])


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(KEYS, ANYTHING, max_size=3))
def test_any_properties_are_written_or_refused(properties: dict[str, Any]) -> None:
    try:
        text = to_xml({"resourceType": "Observation", **properties})
    except errors.Structure:
        return
    assert text.startswith(b'<Observation xmlns="http://hl7.org/fhir">')
