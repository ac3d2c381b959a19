"""Exact JSON: what is read is what was written, and what no reader agrees on is refused."""

import json as stdlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fhirserver import errors
from fhirserver.fhir import json

# No control characters: the JSON grammar wants them escaped, which the tests of escapes do.
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
decimals = st.decimals(
    allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30, places=None
)
numbers = st.one_of(
    st.integers(-(10**30), 10**30),
    decimals.filter(lambda number: -40 <= int(number.as_tuple().exponent) <= 40),
    st.builds(lambda digits, power: Decimal((0, digits, power)), st.just((1, 0)), st.integers(-60, 60)),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=20,
)


def identical(left: Any, right: Any) -> bool:
    """Equal in type, value and precision."""
    if isinstance(left, dict):
        return (
            isinstance(right, dict)
            and list(left) == list(right)
            and all(identical(left[key], right[key]) for key in left)
        )
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(identical, left, right))
    if isinstance(left, Decimal) and isinstance(right, Decimal):
        return left.as_tuple() == right.as_tuple()
    return type(left) is type(right) and left == right


def as_written(value: Any) -> Any:
    """The value that reading gives: a Decimal without fraction or exponent is a JSON integer."""
    if isinstance(value, dict):
        return {key: as_written(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_written(item) for item in value]
    return int(value) if isinstance(value, Decimal) and value.as_tuple().exponent == 0 else value


def issues(data: bytes, **limits: int) -> list[tuple[str, str | None]]:
    with pytest.raises(errors.Structure) as caught:
        json.loads(data, **limits)
    assert caught.value.status == 400
    return [(issue.diagnostics, issue.expression) for issue in caught.value.issues]


@given(values)
def test_reading_what_was_written_gives_the_same_value_and_precision(value: Any) -> None:
    assert identical(json.loads(json.dumps(value)), as_written(value))
    assert identical(json.loads(json.dumps(value, pretty=True)), as_written(value))


@given(values)
@example([Decimal("0.00000001"), Decimal("1E+2"), Decimal("-0.0"), Decimal("1.50")])
@example({"a": [Decimal("-0E+2")], "b": "1E+2"})
def test_without_the_flag_postgresql_prints_every_number_as_it_is_written(value: Any) -> None:
    text = json.dumps(value)
    literals: list[str] = []
    stdlib.loads(
        text, parse_float=lambda s: literals.append(s) or s, parse_int=lambda s: literals.append(s) or s
    )
    printed = [format(Decimal(s), "f") if Decimal(s) else format(abs(Decimal(s)), "f") for s in literals]
    if printed != literals:
        assert json.has_exponent(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"value":1E+2}', True),
        (b"[-0.0]", True),
        (b'{"a":[1,-0.00]}', True),
        (b"-0.0", True),
        (b'{"value":-0.5,"born":"2016-05-13","code":"E+M"}', False),
        (b'{"text":"pH: -0, 1E+9 cells"}', True),  # a needless copy, never a lost digit
        (b'{"id":"5e3-0","n":[-0.25,10.50]}', False),
    ],
)
def test_the_flag_for_numbers_that_jsonb_prints_otherwise(text: bytes, expected: bool) -> None:
    assert json.has_exponent(text) is expected


@pytest.mark.parametrize(
    "literal", ["1.50", "0.10", "100", "1e2", "1.0e-245", "-1.0E+245", "0.000000010", "-0.0"]
)
def test_a_decimal_keeps_value_and_precision(literal: str) -> None:
    again = json.loads(json.dumps(json.loads(literal.encode())))
    assert Decimal(again).as_tuple() == Decimal(literal).as_tuple()


def test_small_numbers_are_written_out_and_large_ones_keep_their_exponent() -> None:
    numbers = [Decimal("1E-8"), Decimal("-1.50E-7"), Decimal("1E+2"), Decimal("1.50"), 10**25]
    assert json.dumps(numbers) == b"[0.00000001,-0.000000150,1E+2,1.50,10000000000000000000000000]"


members = st.recursive(
    st.sampled_from(["1", "null", '"a:b"', '"\\u003a"', '"\\":"', "1.5e3", "[]", "{}", '"\\u0041"']),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[" + " , ".join(items) + "]"),
        st.lists(
            st.tuples(st.sampled_from(['"a"', '"b"', '"\\u0061"', '"a:"', '"\\\\"']), inner), max_size=3
        ).map(lambda pairs: "{" + ",".join(f"{key} : {item}" for key, item in pairs) + "}"),
        st.lists(st.tuples(st.sampled_from(['"a"', '"b"', '"c\\u003A"', '"a:"']), inner), max_size=3).map(
            lambda pairs: "{" + ",".join(f"{key}:{item}" for key, item in pairs) + "}"
        ),
    ),
    max_leaves=12,
)


@given(members)
@example('{"a":1,"a":":"}')
@example('{"a":1,"\\u0061":"\\u003a"}')
@example('{"a" :1,"a":{"b":2}}')
def test_a_key_given_twice_is_refused_and_nothing_else(text: str) -> None:
    repeated = False

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeated
        repeated = repeated or len({key for key, _ in items}) != len(items)
        return dict(items)

    oracle = stdlib.loads(text, object_pairs_hook=pairs, parse_float=Decimal)
    if repeated:
        assert all("more than once" in text for text, _ in issues(text.encode()))
    else:
        assert json.loads(text.encode()) == oracle


def test_repeated_keys_are_located_by_path() -> None:
    names = b'[{"family":"A"},{"family":"B","use":"usual","family":"C"}]'
    text = b'{"resourceType":"Patient","name":' + names + b',"id":"1","id":"2"}'
    assert issues(text) == [
        ("the property 'id' is given more than once in one object", "Patient.id"),
        ("the property 'family' is given more than once in one object", "Patient.name[1].family"),
    ]


@pytest.mark.parametrize(
    ("text", "diagnostics", "expression"),
    [
        (b'{"a":[1,{"b":"x\\u0000y"}]}', "a string holds the character U+0000", "a[1].b"),
        (b'{"a\\u0000":1}', "a string holds the character U+0000", None),
        (b'{"a":"\\ud800"}', "half a surrogate pair", "a"),
        (b'["x","\\udc00\\ud800"]', "half a surrogate pair", "[1]"),
        (b'{"a":NaN}', "NaN is not a JSON number", "a"),
        (b'{"a":-Infinity}', "-Infinity is not a JSON number", "a"),
        (b'{"a":1e401}', "more than 400 digits when written out", "a"),
        (b'{"a":1e-401}', "more than 400 digits when written out", "a"),
        (b'{"a":0e999999999999}', "longer than 410 characters", "a"),
        (b'{"a":0.' + b"1" * 420 + b"}", "longer than 410 characters", "a"),
        (b"9" * 5000, "longer than 410 characters", None),
        (b'{\n  "a": 1,\n  }', "at line 3, column 3", None),
        (b'{"a":"\x01"}', "at line 1, column 7", None),
        (b'{"a":"\x00"}', "at line 1, column 7", None),
        (b'{"a":"\n\xff"}', "not valid UTF-8 at line 2, column 1", None),
        (b'"\xed\xa0\x80"', "not valid UTF-8", None),
        (b"[1] [2]", "Extra data", None),
        (b'{"a":1', "at line 1, column 7", None),
        (b"", "not valid JSON at line 1, column 1", None),
        (b"\xef\xbb\xbf", "not valid JSON", None),
        ('{"a":1}'.encode("utf-16"), "not valid UTF-8", None),
        (b"{'a':1}", "not valid JSON", None),
        (b"[01]", "not valid JSON", None),
        (b"[1,]", "not valid JSON", None),
        (b"// c\n1", "not valid JSON", None),
    ],
)
def test_what_is_refused_and_where(text: bytes, diagnostics: str, expression: str | None) -> None:
    found = issues(text)
    assert len(found) == 1
    assert diagnostics in found[0][0]
    assert found[0][1] == expression


@given(st.binary(max_size=40) | st.text(alphabet='{}[]",:\\u0ae1.-+ tfn', max_size=30).map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        value = json.loads(data)
    except errors.Structure as refused:
        assert refused.issues
    else:
        assert identical(json.loads(json.dumps(value)), value)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_depth_is_bounded_exactly(opening: bytes) -> None:
    closing = b"]" if opening == b"[" else b"}"
    json.loads(opening * 5 + b"1" + closing * 5, depth_max=5)
    assert "nested deeper than 5 levels" in issues(opening * 6 + b"1" + closing * 6, depth_max=5)[0][0]
    assert "deeper than 64" in issues(opening * 65 + b"1" + closing * 65)[0][0]
    assert "deeper than 64" in issues(opening * 200_000)[0][0]


def test_brackets_in_texts_and_breadth_are_not_depth() -> None:
    assert json.loads(b'["' + b"[{" * 100 + b'"]') == ["[{" * 100]
    assert json.loads(b"[" + b"[]," * 500 + b"[]]") == [[]] * 501


def test_a_byte_order_mark_is_skipped() -> None:
    assert json.loads(b"\xef\xbb\xbf" + '{"a":"ä"}'.encode()) == {"a": "ä"}


def test_many_defects_give_a_bounded_list() -> None:
    assert len(issues(b"[" + b"NaN," * 1000 + b"1]")) == 20


def test_official_examples_are_read_and_written_without_loss(shared_data: Path) -> None:
    files = sorted((shared_data / "r4-examples-json").glob("*.json"))
    assert len(files) == 2459
    for file in files:
        data = file.read_bytes()
        value = json.loads(data)
        assert identical(json.loads(json.dumps(value)), value)
        assert value == stdlib.loads(data, parse_float=Decimal)
