"""Words of resources and narratives, and the queries for them."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.errors import FhirError, Invalid, TooCostly
from fhirserver.fhir import json
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.params import fulltext
from fhirserver.params.registry import r4
from fhirserver.params.textquery import DEPTH_MAX, TERMS_MAX, Every, Phrase, Some, parse, tsquery
from fhirserver.params.words import narrative, plain, strings, words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Fever, cough;no rash.", "fever cough no rash"),
        ("O'Neil O’Neil", "oneil oneil"),
        ("Größe GROSSE", "grosse grosse"),
        ("Ærøskøbing Łódź", "aeroskobing lodz"),
        ("8480-6 1.5mg a_b mm[Hg]", "8480 6 1 5mg a b mm hg"),
        ("e\u0301t\u00e9", "ete"),
        ("日本 x", "日 本 x"),
        ("हिन्दी", "हिनदी"),
        ("ﬁn İstanbul", "fin istanbul"),
        ("x" * 300, "x" * 100),
        ("?!", ""),
    ],
)
def test_words(text: str, found: str) -> None:
    assert words(text) == found.split()


@given(st.text(max_size=40))
def test_words_of_words_are_the_same(text: str) -> None:
    once = words(text)
    assert words(" ".join(once)) == once
    assert not any(char in "'\\/:*&|!<>() \t\n\x00" for word in once for char in word)


@pytest.mark.parametrize(
    ("div", "text"),
    [
        ('<div xmlns="http://www.w3.org/1999/xhtml"><p>a</p><p>b</p></div>', "a b"),
        ("<div>un<b>break</b>able<br/>line</div>", "unbreakable line"),
        ("<div>1 &lt; 2 &amp; 3 &#228;</div>", "1 < 2 & 3 ä"),
        ("<div>a<!-- <b>no</b> -->b<?pi no?></div>", "ab"),
        ("<div><![CDATA[<i>&amp;]]></div>", "<i>&amp;"),
        ('<div><a title="no > no">yes</a><img alt="no"/></div>', "yes"),
        ("<DIV><TD>x</TD><TD>y</TD></DIV>", "x y"),
    ],
)
def test_plain_text_of_a_narrative(div: str, text: str) -> None:
    assert " ".join(plain(div).split()) == text


RESOURCE: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "theid",
    "meta": {"versionId": "9", "profile": ["http://p"], "tag": [{"system": "urn:t", "display": "tagged"}]},
    "language": "en",
    "text": {"status": "generated", "div": "<div><p>Told</p></div>"},
    "contained": [
        {
            "resourceType": "Patient",
            "id": "inner",
            "name": [{"family": "Within", "given": ["A", None]}],
            "_birthDate": {"extension": [{"url": "http://e", "valueString": "beside"}]},
            "birthDate": "1970",
        }
    ],
    "extension": [{"url": "urn:e", "valueMarkdown": "*marked*"}, {"url": "u", "valueBase64Binary": "QUJD"}],
    "status": "final",
    "code": {"coding": [{"system": "urn:s", "code": "8480-6", "display": "Pressure"}], "text": "Pressure"},
    "subject": {"reference": "#inner", "display": "shown"},
    "effectiveDateTime": "2020-01-01",
    "valueQuantity": {"value": Decimal("1.5"), "unit": "mmHg", "code": "mm[Hg]"},
    "note": [{"text": "A *note*"}],
}


def test_what_of_a_resource_is_read() -> None:
    assert narrative(RESOURCE) is not None
    found = strings("Observation", RESOURCE)
    assert len(found) == len(set(found))
    assert set(found) == {
        *("tagged", "en", "Within", "A", "beside", "*marked*", "final", "8480-6", "Pressure", "shown"),
        *("mmHg", "mm[Hg]", "A *note*"),
    }


def test_a_bundle_says_what_its_entries_say() -> None:
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": RESOURCE}]}
    assert set(strings("Bundle", bundle)) == {"collection", *strings("Observation", RESOURCE), "  Told  "}
    assert narrative(bundle) is None


def test_documents() -> None:
    assert fulltext.document(7, "Observation", RESOURCE, "none") is None
    assert fulltext.document(7, "Observation", RESOURCE, "narrative") == (
        "'/7/Observation/_content' '/7/Observation/_text' 'told':1A"
    )
    whole = fulltext.document(7, "Observation", RESOURCE, "content") or ""
    assert whole.startswith("'/7/Observation/_content' '/7/Observation/_text' 'told':1A 'marked':3 ")
    assert "'a':" in whole and "'pressure':" in whole
    assert fulltext.document(7, "Basic", {"resourceType": "Basic", "id": "x", "code": {}}, "content") is None


def test_a_document_stays_within_what_the_database_takes() -> None:
    notes = [{"text": " ".join(f"wört{page}x{number}" for number in range(1_000))} for page in range(200)]
    notes.append({"text": "same " * 100_000})
    document = fulltext.document(1, "Observation", {"note": notes}, "content") or ""
    assert 40_000 < document.count("'") / 2 < 120_000
    assert max(len(part) for part in document.split()) < 255 * 7


def test_every_official_example_has_a_document(shared_data: Path) -> None:
    count = 0
    for path in sorted((shared_data / "r4-examples-json").rglob("*.json"))[::20]:
        resource = json.loads(path.read_bytes())
        if isinstance(resource, dict) and resource.get("resourceType") in ENDPOINT_TYPES:
            count += fulltext.document(1, resource["resourceType"], resource, "content") is not None
    assert count > 50


def test_the_registry_has_what_the_setting_offers() -> None:
    for mode, codes in (("none", set()), ("narrative", {"_text"}), ("content", {"_text", "_content"})):
        registry = fulltext.offered(r4(), mode)
        assert {param.code for param in registry.params} & fulltext.CODES == codes
        assert fulltext.mode_of(registry) == mode


# -- queries


def test_the_example_of_the_specification() -> None:
    found = parse("(bone OR liver) and metastases")
    assert found == Every((Some((Phrase(("bone",)), Phrase(("liver",)))), Phrase(("metastases",))))
    assert tsquery(found, "A") == "(('bone':A) | ('liver':A)) & ('metastases':A)"


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("bone", "'bone'"),
        ("Bone  Pain", "('bone') & ('pain')"),
        ('"bone pain"', "'bone' <-> 'pain'"),
        ("bone*", "'bone':*"),
        ('"bone pa*"', "'bone' <-> 'pa':*"),
        ("8480-6", "'8480' <-> '6'"),
        ("a or b and not c", "('a') | (('b') & (!('c')))"),
        ("a -b", "('a') & (!('b'))"),
        ('a -"b c" NOT NOT d', "('a') & (!('b' <-> 'c')) & ('d')"),
        ("a(b)c", "('a') & ('b') & ('c')"),
        ('"or"', "'or'"),
        ("a\\,b", "'a' <-> 'b'"),
        ("日本", "'日' <-> '本'"),
    ],
)
def test_queries(text: str, query: str) -> None:
    assert tsquery(parse(text)) == query


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "?",
        "and",
        "a and",
        "or b",
        "(a",
        "a)",
        "()",
        "a (",
        '"a',
        '"?"',
        "a or or b",
        "not",
        "not a",
        "a or -b",
    ],
)
def test_what_is_no_query(text: str) -> None:
    with pytest.raises(Invalid):
        parse(text)


def test_queries_are_bounded() -> None:
    parse(" ".join(["a"] * TERMS_MAX))
    with pytest.raises(TooCostly):
        parse(" ".join(["a"] * (TERMS_MAX + 1)))
    parse("(" * DEPTH_MAX + "a" + ")" * DEPTH_MAX)
    with pytest.raises(TooCostly):
        parse("(" * (DEPTH_MAX + 1) + "a" + ")" * (DEPTH_MAX + 1))
    parse("not " * 5_000 + "a")


@given(st.text(alphabet="ab ()\"-*'\\:&|!andortNOT,", max_size=30))
def test_any_text_is_a_query_or_refused(text: str) -> None:
    with suppress(FhirError):
        parse(text)
