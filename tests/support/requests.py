"""Requests that no client means: addresses, headers and searches, for tests that throw such at the server."""

import base64
from collections.abc import Sequence
from urllib.parse import quote

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from fhirserver.interactions.table import TABLE
from fhirserver.params.registry import r4
from tests.support.door import JSON, XML
from tests.support.mutation import TEXTS

PATCH = "application/json-patch+json"
FORM = "application/x-www-form-urlencoded"
LONG = "x" * 9_000

# -- addresses

SEGMENTS = st.sampled_from(
    [
        *[
            "Patient",
            "Observation",
            "Binary",
            "Bundle",
            "Parameters",
            "Resource",
            "patient",
            "Nothing",
            "known",
            "_history",
            "_search",
        ],
        *[
            "metadata",
            "*",
            "1",
            "2",
            "0",
            "-1",
            "$everything",
            ".",
            "..",
            "a_b",
            "%50atient",
            "%2F",
            "%00",
            "%",
            "%zz",
            "%ff",
            "%c3%a9",
            "%e2%80%ae",
            "%25",
            "%3F",
        ],
        *[
            "%23",
            "Patient%2Fknown",
            "%0d%0a",
            "99999999999",
            ";x=1",
            "<x>",
            '"',
            "'",
            "\\",
            "{}",
            "+",
            "é",
            "💊",
            "\uffff",
            "\x01",
        ],
        *("", " ", "a b", "x" * 65, "x" * 200),
    ]
)
METHODS = st.sampled_from(
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "XX"]
)
QUERIES = [
    *["?", "?&", "?=", "?_count=0", "?%ff", "?a=%zz&b", "?_summary=text&_pretty=true"],
    "",
    "",
    "",
    "?" + "&" * 200,
]


@st.composite
def addresses(draw: DrawFn, kinds: Sequence[str]) -> bytes:
    """A path below the base, often one of FHIR's shapes with something odd in it, and a query."""
    if draw(st.booleans()):
        shape = draw(st.sampled_from(TABLE)).shape
        fill = {":type": st.sampled_from(kinds), ":id": st.just("known"), ":vid": st.just("1")}
        parts = [draw(fill.get(part, st.just(part))) for part in shape.split("/")]
        if draw(st.booleans()):
            parts[draw(st.integers(0, len(parts) - 1))] = draw(SEGMENTS)
    else:
        parts = draw(st.lists(SEGMENTS, max_size=7))
    mark = draw(st.sampled_from(["/", "/", "/", "//", "/./", ""]))
    path = mark + "/".join(parts) + draw(st.sampled_from(["", "", "/", "//"]))
    return (path + draw(st.sampled_from(QUERIES))).encode()


# -- headers

NAMES = [
    "accept",
    "content-type",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-none-exist",
    "prefer",
    "content-encoding",
    "content-length",
    "transfer-encoding",
    "host",
    "x-request-id",
    "x-correlation-id",
    "x-security-context",
    "origin",
    "range",
    "accept-encoding",
    "accept-charset",
    "accept-language",
    "authorization",
    "x-forwarded-host",
    "x-forwarded-proto",
    "expect",
    "x-http-method-override",
    "date",
    "x-y-z",
    "access-control-request-method",
    "access-control-request-headers",
]
VALUES = [
    *("", " ", ",", ";", "=", '"', '"""', "W/", 'W/"1"', 'W/"1", *', 'W/"99999999999999999999"', "*", "*/*"),
    *[
        "*/x",
        "a/b;q=2",
        "a/b;q=x",
        "a/b;q=0",
        "gzip",
        "gzip;q=0",
        "br",
        "chunked",
        "0",
        "-1",
        "1e9",
        "bytes=0-1",
        "return=",
        "return=minimal",
    ],
    *[
        "return=OperationOutcome",
        "respond-async",
        "handling=lenient",
        "identifier=x",
        "%ff=1",
        "identifier=%00",
        "é",
        "\x7f",
    ],
    *("_id=known", "\xff\xfe", "Thu, 01 Jan 1970 00:00:00 GMT", "Mon, 99 Foo 0000 99:99:99 GMT", "\t"),
    *("Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", "Sunday, 31-Dec-00 23:59:60 GMT"),
    *(LONG, JSON, XML, f"{JSON};fhirVersion=9", f"{JSON};charset=utf-7", PATCH, FORM, "multipart/form-data"),
]
ODD_HEADERS = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from(VALUES)
        | st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=12),
    ),
    max_size=4,
)

# -- searches

MODIFIERS = [
    ":exact",
    ":contains",
    ":missing",
    ":not",
    ":text",
    ":in",
    ":not-in",
    ":below",
    ":above",
    ":of-type",
    ":type",
    ":identifier",
    ":Patient",
    ":Nothing",
    ":iterate",
    ":",
    "::",
    ":é",
    ".name",
    ".",
    "..",
    ".x.y.z.a.b",
]
PREFIXES = ["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap", "xx", "gtgt"]
TERMS = [
    *TEXTS,
    *[
        "1",
        "5.4",
        "5.40e-3",
        "5.4|http://unitsofmeasure.org|mg",
        "5.4||mg",
        "|||",
        "a|b|c|d",
        "a$b",
        "$",
        "$$$",
        "\\,",
        "\\",
        "\\x",
        "a\\|b",
        "9|9",
    ],
    *[
        "2020-01-01",
        "2020-01-01T25:00",
        "2020-01-01T00:00:00.123456789Z",
        "Patient/known,x",
        ",",
        ",,",
        "x,",
        "true,false",
    ],
    *[
        "http://loinc.org|29463-7",
        "|x",
        "x|",
        "1e400",
        "-1e-400",
        "0001",
        "9999",
        "lt0001",
        "gt9999-12-31",
        "Patient/known|1",
    ],
    *("0" * 700, "9" * 80, "Patient/known/_history/1", "-42.5|100|10|km"),
]
RESULTS = [
    "_count",
    "_sort",
    "_total",
    "_summary",
    "_elements",
    "_include",
    "_revinclude",
    "_include:iterate",
    "_cursor",
    "_type",
    "_since",
    "_at",
    "_list",
    "_has",
    "_has:Observation:patient:code",
    "_has:x",
    "_has:a:b:c:d",
    "_filter",
    "_id",
    "_lastUpdated",
    "_tag",
    "_profile",
    "_security",
    "_text",
    "_content",
    "_contained",
    "_containedType",
    "_query",
    "_format",
    "_pretty",
    "x",
]
CURSORS = ["1.2.3", "1.2.", "-1.1.1", "..", f"{'9' * 40}.1.1", "1.9223372036854775807.", f"1.1.{'9' * 5000}"]
RESULT_TERMS = [
    *[
        "0",
        "1",
        "-1",
        "x",
        "1000000000000",
        "name",
        "-birthdate",
        "-",
        "code,-date",
        "none",
        "estimate",
        "accurate",
        "true",
        "text",
        "data",
        "count",
    ],
    *[
        "false",
        "id",
        "name,id",
        "Patient:organization",
        "Observation:subject:Patient",
        "*",
        "Patient:*",
        "Nothing:x",
        "a:b:c:d",
    ],
    *[
        "Patient",
        "Observation:patient",
        "Patient,Observation",
        ",",
        "é",
        "eyJ",
        "AAAA",
        "-_-_",
        "=",
        "2020",
        "2020-01-01T00:00:00Z",
    ],
    *("", "json", "xml", "known", "A" * 400, "http://x|y"),
    *(
        "both",
        "container",
        "contained",
        "(a OR b) and -c*",
        '"a b" NOT (c',
        "(" * 50 + "a",
        "not a",
        "a\\' & b",
    ),
    *(base64.urlsafe_b64encode(text.encode()).decode().rstrip("=") for text in CURSORS),
]


@st.composite
def queries(draw: DrawFn, kind: str) -> list[tuple[str, str]]:
    """Parameters of a search on the type `kind`: those it has and others, with values of any kind."""
    codes = sorted(r4().for_type(kind))
    pairs: list[tuple[str, str]] = []
    for _ in range(draw(st.integers(1, 3))):
        if draw(st.integers(0, 2)):
            name = draw(st.sampled_from(codes)) + draw(st.sampled_from([*[""] * 12, *MODIFIERS]))
            value = draw(st.sampled_from([*[""] * 8, *PREFIXES])) + draw(st.sampled_from(TERMS))
        else:
            name = draw(st.sampled_from(RESULTS))
            value = draw(st.sampled_from(RESULT_TERMS) | st.sampled_from(TERMS))
        pairs.append((name, value))
    return pairs


def encoded(pairs: Sequence[tuple[str, str]]) -> bytes:
    """As a form or the query of a URL."""
    return "&".join(f"{quote(name)}={quote(value)}" for name, value in pairs).encode()
