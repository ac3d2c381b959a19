"""Resources with something wrong in them, for tests that throw such at the server."""

import json
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

RAW = "\x02"
"""Marks a string that is written without its quotes."""
TOKENS = [
    *(
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999999",
        "-1e-999999",
        "1E400",
        "1e-401",
        "9" * 500,
        "0." + "0" * 500,
    ),
    *(
        "00",
        "1.",
        ".5",
        "+1",
        "-",
        "--1",
        "0x10",
        "1e",
        "tru",
        "nul",
        "'a'",
        "undefined",
        "1 2",
        "-0",
        "-0.0",
    ),
    *(
        "1e5",
        "100000000000000000000",
        "99999999999999999999.99",
        "1.50",
        "2147483648",
        "\ufeff",
        "]",
        "}",
        ",",
    ),
    *('"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"\\x"', '"\\', '"\t"', '"\x00"', "/* x */ 1", "[" * 80),
    '{"a":1,"a":2}',
    '{"resourceType":"Patient"}',
    '{"resourceType":"Nothing"}',
]
TEXTS = [
    *(
        "",
        " ",
        "x",
        "true",
        "0",
        "#",
        "#x",
        "?",
        "/",
        "|",
        "\\",
        "$",
        "%",
        "%00",
        "%ff",
        "..",
        "*",
        "\n",
        "\r\n",
    ),
    *(
        "\x01",
        "\x7f",
        "\x85",
        "\u2028",
        "\u202e",
        "\ufeff",
        "\ufffe",
        "\uffff",
        "\U0001f3e5",
        "e\u0301",
        "\u0130",
    ),
    *(
        "Patient/1",
        "Patient/",
        "/Patient",
        "Patient?name=x",
        "Patient/1/_history/1",
        "Nothing/1",
        "#/",
        "urn:uuid:x",
    ),
    *(
        "http://example.org",
        "http://[",
        "http://x y",
        "//",
        "urn:oid:1.2.3",
        "http://test/fhir/Patient/1",
        "a:b:c",
    ),
    *(
        "1970",
        "1970-02-30",
        "0000",
        "9999-12-31",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:60.999999999-12:00",
    ),
    *(
        "2020-01-01T00:00:00+14:00",
        "24:00:00",
        "2020-W01",
        "-1",
        "1e400",
        "NaN",
        "1,5",
        "<div>",
        "<div/>",
        "&amp;",
    ),
    *(
        "<div xmlns='http://www.w3.org/1999/xhtml'><script>x</script></div>",
        "]]>",
        "A" * 4000,
        "ab" * 40,
        "=" * 5,
    ),
    *(
        "mg",
        "[in_i]",
        "10*3/uL",
        "m" * 300,
        "kg/" * 50,
        "final",
        "male",
        "http://loinc.org",
        "POST",
        'W/"1"',
        "null",
    ),
]
VALUES = st.one_of(
    st.sampled_from([RAW + token for token in TOKENS]),
    st.sampled_from(TEXTS),
    st.sampled_from([None, True, False, 0, -1, 1, 2**31, 1.5, [], {}, [[]], [None], {"id": "x"}, {"x": 1}]),
    st.sampled_from([[{}], {"extension": []}, {"reference": "#"}, {"reference": "Patient/%00"}, ["x", None]]),
    st.text(max_size=6),
)
NAMES = st.sampled_from(
    [
        *("id", "_id", "meta", "text", "div", "status", "contained", "extension", "modifierExtension", "url"),
        *(
            "value",
            "valueString",
            "valueQuantity",
            "_valueDateTime",
            "resourceType",
            "reference",
            "code",
            "system",
        ),
        *("", "x", "é", "\x01", "a b", "a" * 200, "entry", "resource", "request", "parameter", "__proto__"),
    ]
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values within a value."""
    found = [path] if path else []
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        found += places(child, (*path, key))
    return found


@st.composite
def mutated(draw: DrawFn, resource: Any, edits_max: int = 4) -> Any:
    """A copy of a JSON value with up to so many edits; strings that begin with RAW stand for themselves."""
    resource = deepcopy(resource)
    for _ in range(draw(st.integers(1, edits_max))):
        known = places(resource)
        if not known:
            break
        path = draw(st.sampled_from(known))
        parent, key = _at(resource, path[:-1]), path[-1]
        kind = draw(st.sampled_from(["value", "value", "remove", "wrap", "name", "double", "nest", "copy"]))
        match kind:
            case "value":
                parent[key] = deepcopy(draw(VALUES))
            case "remove":
                del parent[key]
            case "wrap":
                parent[key] = [parent[key]] if draw(st.booleans()) else {"extension": parent[key]}
            case "name" if isinstance(parent, dict):
                parent[draw(NAMES)] = deepcopy(draw(VALUES)) if draw(st.booleans()) else parent.pop(key)
            case "double" if isinstance(parent, list):
                parent.extend(deepcopy(parent[key]) for _ in range(draw(st.integers(1, 3))))
            case "nest":
                for _ in range(draw(st.sampled_from([2, 20, 70]))):
                    parent[key] = {"extension": [{"url": "x", "valueString": "y"}, parent[key]]}
            case "copy":
                parent[key] = deepcopy(_at(resource, draw(st.sampled_from(known))[:1]))
    return resource


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return value
    return value


def written(value: Any) -> bytes:
    """JSON text in which strings that begin with RAW stand without quotes."""
    pieces: list[str] = []
    _write(value, pieces)
    return "".join(pieces).encode("utf-8", "surrogatepass")


def _write(value: Any, pieces: list[str]) -> None:
    if isinstance(value, dict):
        pieces.append("{")
        for index, (key, item) in enumerate(value.items()):
            pieces.append(f"{',' if index else ''}{json.dumps(key)}:")
            _write(item, pieces)
        pieces.append("}")
    elif isinstance(value, list):
        pieces.append("[")
        for index, item in enumerate(value):
            pieces.append("," if index else "")
            _write(item, pieces)
        pieces.append("]")
    elif isinstance(value, str) and value.startswith(RAW):
        pieces.append(value[len(RAW) :])
    else:
        pieces.append(json.dumps(value, ensure_ascii=False))


BYTES = [
    *(
        b"\x00",
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xc0\x80",
    ),
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b",",
        b":",
        b"\\",
        b"\\u0000",
        b"\\ud800",
        b"\n",
        b"\x0b",
        b"null",
        b"1e9999",
    ),
    *(
        b"<",
        b">",
        b"/>",
        b"<!--",
        b"-->",
        b"<![CDATA[",
        b"]]>",
        b"<?x?>",
        b"&#0;",
        b"&#x1F;",
        b"&lt;",
        b"&x;",
    ),
    *(
        b"<!DOCTYPE x>",
        b'<!DOCTYPE x [<!ENTITY x "y">]>',
        b'xmlns="urn:x"',
        b'xml:lang="x"',
        b"<id/>",
        b"</id>",
    ),
    b'<?xml version="1.0" encoding="utf-16"?>',
    b'<?xml version="1.1"?>',
    b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
]


@st.composite
def edited(draw: DrawFn, data: bytes, edits_max: int = 3) -> bytes:
    """Bytes with pieces cut out, put in and cut off."""
    for _ in range(draw(st.integers(1, edits_max))):
        place = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["insert", "cut", "replace", "end", "repeat"])):
            case "insert":
                data = data[:place] + draw(st.sampled_from(BYTES) | st.binary(max_size=4)) + data[place:]
            case "cut":
                data = data[:place] + data[place + draw(st.integers(1, 30)) :]
            case "replace":
                data = data[:place] + draw(st.sampled_from(BYTES)) + data[place + draw(st.integers(0, 8)) :]
            case "end":
                data = data[:place]
            case _:
                data = data[:place] + data[place : place + 40] * draw(st.integers(2, 4)) + data[place:]
    return data


def laughs(levels: int = 9) -> bytes:
    """The billion laughs."""
    entities = "".join(
        f'<!ENTITY l{level} "{f"&l{level - 1};" * 10}">' if level else '<!ENTITY l0 "lol">'
        for level in range(levels)
    )
    return (
        f'<?xml version="1.0"?><!DOCTYPE Patient [{entities}]><Patient xmlns="http://hl7.org/fhir">'
        f'<id value="&l{levels - 1};"/></Patient>'
    ).encode()
