"""Versions: their order, and which of them are meant."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fhirserver.errors import Unprocessable
from fhirserver.fhir.package.versions import LATEST, is_release, is_version, order, wanted

NUMBERS = st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
LABELS = st.lists(
    st.one_of(
        st.integers(0, 30).map(str), st.sampled_from(["ballot", "snapshot", "cibuild", "draft", "rc1"])
    ),
    max_size=3,
)


@st.composite
def versions(draw: st.DrawFn) -> str:
    label = ".".join(draw(LABELS))
    return ".".join(map(str, draw(NUMBERS))) + (f"-{label}" if label else "")


def precedes(one: str, other: str) -> bool:
    """Semantic Versioning section 11, word for word; False where they are equal."""
    (left, _, left_label), (right, _, right_label) = one.partition("-"), other.partition("-")
    if left != right:
        return [int(part) for part in left.split(".")] < [int(part) for part in right.split(".")]
    if not left_label or not right_label:
        return bool(left_label) and not right_label
    for mine, theirs in zip(left_label.split("."), right_label.split("."), strict=False):
        if mine == theirs:
            continue
        if mine.isdigit() and theirs.isdigit():
            return int(mine) < int(theirs)
        if mine.isdigit() or theirs.isdigit():
            return mine.isdigit()
        return mine < theirs
    return len(left_label.split(".")) < len(right_label.split("."))


@given(versions(), versions())
def test_the_order_is_that_of_semantic_versioning(one: str, other: str) -> None:
    assert (order(one) < order(other)) == precedes(one, other)
    assert (order(one) == order(other)) == (one == other)


def test_the_example_of_semantic_versioning() -> None:
    ordered = (
        "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0"
    )
    assert sorted(ordered.split(), key=order) == ordered.split()
    assert sorted(["1.0.0", "current", "0.1.0", "2.0.0-ballot"], key=order)[0] == "current"


@given(st.lists(versions(), max_size=12), versions())
def test_an_exact_version_means_itself(there: list[str], version: str) -> None:
    assert wanted(version).among(there) == (version if version in there else None)
    assert wanted(version).among([*there, version]) == version


@given(st.lists(versions(), max_size=12), st.integers(0, 30), st.integers(0, 30))
def test_x_means_the_highest_of_the_line(there: list[str], major: int, minor: int) -> None:
    line = [one for one in there if one.startswith(f"{major}.{minor}.")]
    found = wanted(f"{major}.{minor}.x").among(there)
    assert (found is None) == (not line)
    if found is not None:
        assert found in line
        rivals = [one for one in line if is_release(one) or not any(map(is_release, line))]
        assert not any(precedes(found, one) for one in rivals)
        assert is_release(found) or not any(map(is_release, line))


@given(st.lists(versions(), min_size=1, max_size=12))
def test_latest_is_the_highest_release(there: list[str]) -> None:
    found = wanted(LATEST).among(there)
    assert found is not None and found in there
    releases = [one for one in there if is_release(one)]
    assert not any(precedes(found, one) for one in releases or there)
    assert wanted("").among(there) == wanted("*").among(there) == found


@given(st.lists(versions(), max_size=8), NUMBERS)
def test_more_to_choose_from_never_gives_an_older_release(
    there: list[str], numbers: tuple[int, int, int]
) -> None:
    assume(any(map(is_release, there)))
    more = [*there, ".".join(map(str, numbers))]
    before, after = wanted(LATEST).among(there), wanted(LATEST).among(more)
    assert before is not None and after is not None and not precedes(after, before)


def test_wildcards() -> None:
    there = ["1.0.0", "1.0.9", "1.0.10", "1.1.0", "2.0.0-ballot", "10.0.0"]
    assert wanted("1.0.x").among(there) == "1.0.10"
    assert wanted("1.0.X").among(there) == wanted("1.0.*").among(there) == "1.0.10"
    assert wanted("1.x").among(there) == wanted("1.x.x").among(there) == "1.1.0"
    assert wanted("2.0.x").among(there) == "2.0.0-ballot"
    assert wanted("3.0.x").among(there) is None
    assert wanted(" latest ").among(there) == "10.0.0"


@pytest.mark.parametrize(
    "text",
    [
        *("^1.0.0", "~1.0.0", ">=1.0.0", "1.0.0 - 2.0.0", "1.0.0 || 2.0.0", "<2", "=1.0.0", "1.0.0, 1.1.0"),
        *("current", "dev", "current$branch", "file:../x", "https://example.org/x.tgz", "../../x", "a/b"),
        *("1.0.0\n", "é", "%2e", "-1", "x" * 70),
    ],
)
def test_what_names_no_version_is_refused(text: str) -> None:
    if text == "1.0.0\n":
        assert wanted(text).text == "1.0.0"
        return
    with pytest.raises(Unprocessable):
        wanted(text)


@given(st.text(max_size=30))
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        found = wanted(text)
    except Unprocessable:
        return
    assert found.text == LATEST or not found.is_exact or is_version(found.text)
