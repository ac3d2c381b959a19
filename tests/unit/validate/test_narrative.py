"""Narratives: plain XHTML passes, what acts or is not well-formed does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.fhir.validate.narrative import faults

OPEN = '<div xmlns="http://www.w3.org/1999/xhtml">'


def div(content: str) -> str:
    return f"{OPEN}{content}</div>"


@pytest.mark.parametrize(
    "content",
    [
        "text",
        "<p class='a' style='color: red' lang='en' xml:lang='en'>x<br/></p>",
        "<table><thead><tr><th colspan='2'>x</th></tr></thead></table>",
        "<a href='Patient/1'>x</a> <a name='y'>y</a> <a href='#y'>y</a>",
        "<img src='data:image/png;base64,AQID' alt='x'/>",
        "<img src='#x'/>",
        "&lt;script&gt; &amp; &#160;",
        "<!-- a comment --> x",
        "é 😀",
    ],
)
def test_what_a_narrative_may_hold(content: str) -> None:
    assert faults(div(content)) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (div("<script>alert(1)</script>"), "<script> is not allowed"),
        (div("<form>x</form>"), "<form> is not allowed"),
        (div("<iframe src='x'/>"), "<iframe> is not allowed"),
        (div("<svg xmlns='http://www.w3.org/2000/svg'>x</svg>"), "<svg> is not allowed"),
        (div("<p xmlns='http://example.org'>x</p>"), "<p> is not allowed"),
        (div("<style>p {}</style>x"), "<style> is not allowed"),
        (div("<p onclick='x()'>x</p>"), "the attribute onclick is not allowed"),
        (div("<a href='javascript:x()'>x</a>"), "the attribute href may not hold a script"),
        (div("<a href=' java&#10;script:x()'>x</a>"), "the attribute href may not hold a script"),
        (div("<a href='DATA:text/html,x'>x</a>"), "the attribute href may not hold a script"),
        (div("&nbsp;"), "&nbsp; is no entity of XML"),
        (div("<p>x"), "not well-formed"),
        (div("x") + "<p/>", "not well-formed"),
        (div("\x0b"), "not well-formed"),
        (div(" \n "), "neither text nor an image"),
        (div("<!-- x -->"), "neither text nor an image"),
        (div("<img alt='x'/>"), "neither text nor an image"),
        ("<div>x</div>", "is in the XHTML namespace"),
        ("<p xmlns='http://www.w3.org/1999/xhtml'>x</p>", "one <div> element"),
        ('<!DOCTYPE div [<!ENTITY a "x">]>' + div("&a;"), "without declarations"),
        ("<?xml version='1.0'?>" + div("x"), "without declarations"),
        ("x", "one <div> element"),
    ],
)
def test_what_it_may_not_hold(text: str, fault: str) -> None:
    found = faults(text)
    assert len(found) == 1
    assert fault in found[0]


def test_each_fault_is_named_once_and_not_too_many() -> None:
    assert len(faults(div("<p onclick='x'>a</p>" * 50))) == 1
    assert len(faults(div("".join(f"<x{number}/>" for number in range(50))))) == 5


@given(st.text(max_size=30), st.text("<>&;'\"/= apdivscript!-[]?x", max_size=40))
def test_any_text_gets_an_answer(text: str, markup: str) -> None:
    for content in (text, markup, div(markup), OPEN + markup):
        assert isinstance(faults(content), list)
