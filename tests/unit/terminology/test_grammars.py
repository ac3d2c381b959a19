"""Code systems that are made by rules: units, media types, tags of languages, URIs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.errors import TooCostly
from fhirserver.terminology import languages, official
from fhirserver.terminology.errors import NotEnumerable
from fhirserver.terminology.grammars import grammars
from fhirserver.terminology.system import Filter

UCUM, MIME, URI = "http://unitsofmeasure.org", "urn:ietf:bcp:13", "urn:ietf:rfc:3986"


@pytest.mark.parametrize(
    ("tag", "written", "described"),
    [
        ("de", "de", "German"),
        ("EN-us", "en-US", "English (United States)"),
        ("zh-hant-tw", "zh-Hant-TW", "Chinese (Han (Traditional variant), Taiwan, Province of China)"),
        ("zh-yue", "zh-yue", "Chinese (Yue Chinese)"),
        ("de-CH-1996", "de-CH-1996", "German (Switzerland, German orthography of 1996)"),
        ("es-419", "es-419", "Spanish (Latin America and the Caribbean)"),
        ("i-klingon", "i-klingon", "Klingon"),
        ("EN-GB-OED", "en-GB-oed", "English, Oxford English Dictionary spelling"),
        ("x-whatever", "x-whatever", None),
        ("en-x-US-abcd", "en-x-us-abcd", "English"),
        ("en-u-ca-gregory", "en-u-ca-gregory", "English"),
        ("qaa-Qaaa-QM", "qaa-Qaaa-QM", "qaa (qaaa, qm)"),
    ],
)
def test_valid_tags(tag: str, written: str, described: str | None) -> None:
    """https://www.rfc-editor.org/rfc/rfc5646#appendix-A has most of them."""
    assert languages.written(tag) == written
    assert languages.described(tag) == described


@pytest.mark.parametrize(
    "tag",
    [
        "",
        "e",
        "english",
        "xx",
        "en_US",
        "en-",
        "-en",
        "de-DE-1901-1901",
        "de-419-DE",
        "a-DE",
        "ar-a-aaa-b-bbb-a-ccc",
        "en-Xxxx",
        "en-ZZZ1",
        "en-u",
        "zh-cmn-yue",
        "en us",
        "en\n",
    ],
)
def test_invalid_tags(tag: str) -> None:
    assert languages.written(tag) is None


@given(st.text(max_size=20) | st.from_regex(r"[a-z]{2,3}(-[A-Za-z0-9]{1,8}){0,5}", fullmatch=True))
def test_every_text_has_an_answer_that_stays(tag: str) -> None:
    written = languages.written(tag)
    assert written is None or (languages.written(written) == written and written.lower() == tag.lower())
    for one in grammars().values():
        assert one.find(tag) is None or one.concept(tag).code == tag


@pytest.mark.parametrize(
    ("url", "code", "is_valid"),
    [
        (UCUM, "mg/dL", True),
        (UCUM, "{score}", True),
        (UCUM, "mgs", False),
        (MIME, "text/html;charset=utf-8", True),
        (MIME, 'text/plain; charset="utf-8"', True),
        (MIME, "application/vnd.openxmlformats-officedocument.wordprocessingml.document", True),
        (MIME, "application/pdf; version=1.7; a=b", True),
        (MIME, "text", False),
        (MIME, "text/", False),
        (MIME, "text/html;", False),
        (URI, "urn:oid:1.2.3", True),
        (URI, "https://example.org/a?b#c", True),
        (URI, "no uri", False),
        (URI, "relative/path", False),
    ],
)
def test_codes(url: str, code: str, is_valid: bool) -> None:
    assert (grammars()[url].find(code) is not None) is is_valid


def test_filters() -> None:
    ucum, mime = grammars()[UCUM], grammars()[MIME]
    length = Filter("canonical", "=", "m")
    assert ucum.passes("km", [length]) and not ucum.passes("s", [length])
    assert mime.passes("text/html", [Filter("code", "in", "text/html, text/plain")])
    assert mime.passes("text/html", [Filter("code", "not-in", "text/plain")])
    assert mime.passes("text/html", [Filter("code", "exists", "true")])
    for unknown in (Filter("weight", "=", "1"), Filter("code", "regex", "a.*")):
        with pytest.raises(NotEnumerable, match="not known here"):
            mime.passes("text/html", [unknown])
    with pytest.raises(TooCostly, match="no end"):
        ucum.selected([])
    assert mime.hierarchy.below("a/b") == {"a/b"}


def test_parts_of_tags() -> None:
    """Value sets ask for languages without regions, and the like."""
    tags = grammars()["urn:ietf:bcp:47"]
    simple = [Filter(name, "exists", "false") for name in languages.PARTS[1:]]
    some = ("de", "de-CH", "zh-Hant", "zh-yue", "en-x-a", "sl-rozaj")
    assert [tag for tag in some if tags.passes(tag, simple)] == ["de"]
    assert tags.passes("en-US", [Filter("region", "=", "US"), Filter("language", "in", "de,en")])
    parts = {name: languages.part("zh-yue-Hant-TW-x-a", name) for name in languages.PARTS}
    names = ("language", "ext-lang", "script", "region", "variant", "extension", "private-use")
    assert [parts[name] for name in names] == ["zh", "yue", "Hant", "TW", None, None, "x-a"]
    assert languages.part("x-a-b", "private-use") == "x-a-b"
    assert languages.part("i-klingon", "language") is None


def test_registries() -> None:
    money, places = (official.code_system(f"urn:iso:std:iso:{one}", None) for one in (4217, 3166))
    zones = official.code_system("https://www.iana.org/time-zones", None)
    assert money and places and zones
    assert money.find("EUR") and not money.find("eur") and money.concept("CHF").display == "Swiss Franc"
    assert [places.concept(code).display for code in ("NZ", "NZL", "554")] == ["New Zealand"] * 3
    assert zones.find("Europe/Vienna") and not zones.find("Europe/Atlantis")
