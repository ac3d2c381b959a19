"""What `from_xml` refuses, and how it says so."""

from decimal import Decimal

import pytest

from fhirserver import errors
from fhirserver.fhir.xml import from_xml
from fhirserver.fhir.xml_read import ISSUES_MAX

XHTML = "http://www.w3.org/1999/xhtml"


def patient(inside: str, attributes: str = "") -> bytes:
    return f'<Patient xmlns="http://hl7.org/fhir"{attributes}>{inside}</Patient>'.encode()


def quantity(value: str) -> bytes:
    inside = f'<valueQuantity><value value="{value}"/></valueQuantity>'
    return f'<Observation xmlns="http://hl7.org/fhir">{inside}</Observation>'.encode()


def refused(data: bytes) -> list[tuple[str | None, str]]:
    with pytest.raises(errors.Structure) as caught:
        from_xml(data)
    return [(issue.expression, issue.diagnostics) for issue in caught.value.issues]


@pytest.mark.parametrize(
    ("inside", "expression", "hint"),
    [
        ('<birthDat value="1970"/>', "Patient.birthDat", "did you mean birthDate"),
        ("<name><famly value='x'/></name>", "Patient.name[0].famly", "did you mean family"),
        ('<birthDate value="1970"/><gender value="male"/>', "Patient.gender", "must stand before birthDate"),
        ('<gender value="male"/><gender value="male"/>', "Patient.gender", "once only"),
        (
            '<deceasedBoolean value="true"/><deceasedDateTime value="1970"/>',
            "Patient.deceased",
            "not both deceasedBoolean and deceasedDateTime",
        ),
        ('<active value="true" code="x"/>', "Patient.active", "value and id, not code"),
        ("<active>true</active>", "Patient.active", "Text is not allowed here"),
        ('<active value="true"/>loose', "Patient", "Text is not allowed between elements"),
        ('<name value="Smith"/>', "Patient.name[0]", "HumanName has no value attribute"),
        ("<name/>", "Patient.name[0]", "must not be empty"),
        ("<active/>", "Patient.active", "must not be empty"),
        ('<name><id value="n1"/><family value="x"/></name>', "Patient.name[0].id", "id is an attribute"),
        ('<active xmlns="" value="true"/>', "Patient.active", "must be in the namespace http://hl7.org/fhir"),
        ('<x:active xmlns:x="urn:x" value="true"/>', "Patient.active", "must be in the namespace"),
        (
            '<text><status value="generated"/><div>x</div></text>',
            "Patient.text.div",
            f"must be in the namespace {XHTML}",
        ),
        (
            f'<text><status value="empty"/><div xmlns="{XHTML}"><p xmlns="urn:x">x</p></div></text>',
            "Patient.text.div",
            "<p> is not in the namespace",
        ),
        (
            f'<text><status value="empty"/><div xmlns="{XHTML}" xmlns:l="urn:l" l:href="x">x</div></text>',
            "Patient.text.div",
            "the attribute href is not one of XHTML",
        ),
        ("<contained><Organisation/></contained>", "Patient.contained[0]", "did you mean Organization"),
        ("<contained/>", "Patient.contained[0]", "there are 0 elements"),
        ("<contained><Basic/><Basic/></contained>", "Patient.contained[0]", "there are 2 elements"),
        (
            "<contained><Basic/></contained><contained><Basic><subjct/></Basic></contained>",
            "Patient.contained[1].subjct",
            "Basic has no element subjct",
        ),
        (
            '<name><given value="a"/><given value="b"><extension url="u"><valueCod value="x"/></extension>'
            "</given></name>",
            "Patient.name[0].given[1].extension[0].valueCod",
            "did you mean",
        ),
    ],
)
def test_issue_says_where_and_what(inside: str, expression: str, hint: str) -> None:
    issues = refused(patient(inside))
    assert [where for where, _ in issues] == [expression]
    assert hint in issues[0][1]


def test_several_issues_at_once() -> None:
    issues = refused(patient('<nam value="x"/><active value="true" x="1"/><birthDat value="1"/>'))
    assert [where for where, _ in issues] == ["Patient.nam", "Patient.active", "Patient.birthDat"]


def test_issues_are_bounded() -> None:
    assert len(refused(patient("<bad/>" * 1000))) == ISSUES_MAX


def test_attributes_of_a_resource() -> None:
    assert refused(patient("", ' id="1"')) == [
        ("Patient", "A resource has no attribute id; write it as an element")
    ]
    location = ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="a b"'
    assert from_xml(patient('<id value="1"/>', location)) == {"resourceType": "Patient", "id": "1"}


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"", "not well-formed"),
        (b"<Patient", "not well-formed"),
        (b"{}", "not well-formed"),
        (b"\xff\xfe<\x00P\x00", "not encoded in UTF-8"),
        (b"<?xml version='1.0' encoding='ISO-8859-1'?><Patient xmlns='http://hl7.org/fhir'/>", "ISO-8859-1"),
        (b"<Patient xmlns='http://hl7.org/fhir'><id value='\xff'/></Patient>", "not well-formed"),
        (b"<Patient/>", 'must be in the namespace of FHIR: <Patient xmlns="http://hl7.org/fhir">'),
        (b"<Patent xmlns='http://hl7.org/fhir'/>", "did you mean Patient"),
        (b"<DomainResource xmlns='http://hl7.org/fhir'/>", "not a resource type"),
        (b"<!DOCTYPE Patient><Patient xmlns='http://hl7.org/fhir'/>", "DOCTYPE"),
        (b"<?xml version='1.0'?> <!-- > --> <?p > ?>\n<!DOCTYPE x [<!ENTITY e 'v'>]><x>&e;</x>", "DOCTYPE"),
        (patient('<id value="&nbsp;"/>'), "not well-formed"),
        (patient('<id value="&#1;"/>'), "not well-formed"),
    ],
)
def test_documents_that_are_not_resources(data: bytes, hint: str) -> None:
    assert hint in refused(data)[0][1]


def test_entities_do_nothing_even_in_attributes() -> None:
    bomb = b"<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;'>]>" + patient('<id value="&b;"/>')
    assert "DOCTYPE" in refused(bomb)[0][1]


def test_depth_is_limited() -> None:
    def nested(levels: int) -> bytes:
        return patient('<extension url="u">' * levels + '<valueCode value="x"/>' + "</extension>" * levels)

    assert from_xml(nested(60))["resourceType"] == "Patient"
    assert "deeper than 64" in refused(nested(64))[0][1]
    with pytest.raises(errors.Structure):
        from_xml(nested(100_000))


def test_comments_and_instructions_are_ignored() -> None:
    data = patient('<!-- a --><?x y?><name><!-- b --><family value="x"><!-- c --></family></name><?z?>')
    assert from_xml(b"\xef\xbb\xbf<!-- d -->" + data + b"<!-- e -->") == {
        "resourceType": "Patient",
        "name": [{"family": "x"}],
    }


def test_primitives_that_do_not_fit_stay_text_for_the_validator() -> None:
    found = from_xml(patient('<active value="yes"/><multipleBirthInteger value="x"/>'))
    assert found == {"resourceType": "Patient", "active": "yes", "multipleBirthInteger": "x"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.50", Decimal("1.50")),
        ("100", 100),
        ("1.0e2", Decimal("1.0e2")),
        ("-0.00", Decimal("-0.00")),
        ("+1", "+1"),
        ("1.", "1."),
        ("", ""),
        ("NaN", "NaN"),
        ("１", "１"),
    ],
)
def test_decimals_keep_their_digits(text: str, value: object) -> None:
    found = from_xml(quantity(text))["valueQuantity"]["value"]
    assert (type(found), str(found)) == (type(value), str(value))


def test_numbers_without_bound_are_refused_with_their_place() -> None:
    [(where, _)] = refused(quantity("1e999999999"))
    assert where == "Observation.value.value"


def test_integers_may_have_a_plus_in_xml() -> None:
    assert from_xml(patient('<multipleBirthInteger value="+2"/>'))["multipleBirthInteger"] == 2


def test_companions_line_up() -> None:
    extension = '<extension url="u"><valueCode value="x"/></extension>'
    data = patient(f'<name><given value="a"/><given>{extension}</given><given value="c"/></name>')
    companion = {"extension": [{"url": "u", "valueCode": "x"}]}
    assert from_xml(data)["name"] == [{"given": ["a", None, "c"], "_given": [None, companion, None]}]
    data = patient(f'<name><given id="g">{extension}</given></name>')
    assert from_xml(data)["name"] == [{"_given": [{"id": "g", **companion}]}]


class TestNarrative:
    def read(self, div: str, around: str = "") -> str:
        data = patient(f'<text><status value="generated"/>{div}</text>', around)
        return from_xml(data)["text"]["div"]

    @pytest.mark.parametrize(
        "inside",
        [
            "a<b>c</b>d",
            "&lt;&amp;&gt;&quot;'\"&#160;é",
            "<!-- <div> --><![CDATA[</div>]]><?x </div>?>",
            "<div><div/></div><div title='>'/><p title=\"/>\"/>",
            "  white \n space  ",
        ],
    )
    def test_source_is_kept_to_the_character(self, inside: str) -> None:
        div = f"<div  xmlns='{XHTML}' >{inside}</div>"
        assert self.read(div) == div

    def test_prefixes_are_written_out(self) -> None:
        found = self.read(
            '<h:div class="c">a<h:b>b</h:b><!-- d -->e</h:div>', f' xmlns:h="{XHTML}" xmlns:o="urn:o"'
        )
        assert found == f'<div xmlns="{XHTML}" class="c">a<b>b</b><!-- d -->e</div>'

    def test_each_resource_gets_its_own(self) -> None:
        def text(content: str, prefix: str = "") -> str:
            tag = f"{prefix}div"
            div = f'<{tag} xmlns="{XHTML}" xmlns:é="{XHTML}">{content}</{tag}>'
            return f'<text><status value="generated"/>{div}</text>'

        inner = f"<contained><Basic>{text('inner', 'é:')}</Basic></contained>"
        last = f"<contained><Basic>{text('last')}</Basic></contained>"
        found = from_xml(patient(text("outer") + inner + last))
        assert "outer" in found["text"]["div"]
        assert [
            "inner" in found["contained"][0]["text"]["div"],
            "last" in found["contained"][1]["text"]["div"],
        ] == [
            True,
            True,
        ]


def test_long_attributes_are_read() -> None:
    data = "QUJD" * (3 * 1024 * 1024)
    document = (
        f'<Binary xmlns="http://hl7.org/fhir"><contentType value="a/b"/><data value="{data}"/></Binary>'
    )
    assert from_xml(document.encode())["data"] == data
