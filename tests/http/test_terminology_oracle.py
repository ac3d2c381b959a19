"""Expansions and verdicts through the door against the slow reading of the same value sets."""

from typing import Any

import httpx
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http.support import put
from tests.support.terminology import SET, filtered, value_set
from tests.unit.terminology.slow import INNER, OTHER, ROWS, SYSTEMS, THIRD, member, sets_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

STORED = {
    INNER: value_set(
        filtered("concept", "is-a", "b"), {"system": OTHER}, url=INNER, exclude=[filtered("kind", "=", "x")]
    ),
    THIRD: value_set({"valueSet": [INNER]}, filtered("code", "in", "a,d"), url=THIRD, inactive=False),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def data(http: httpx.AsyncClient) -> None:
    for number, system in enumerate(SYSTEMS):
        await put(http, {**system, "id": f"s{number}"})
    for number, one in enumerate(STORED.values()):
        await put(http, {**one, "id": f"v{number}"})


async def asked(http: httpx.AsyncClient, operation: str, *parameters: dict[str, Any]) -> Any:
    body = {"resourceType": "Parameters", "parameter": list(parameters)}
    answer = await http.post(f"/ValueSet/{operation}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def contained(expansion: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["system"], one["code"]) for one in expansion.get("contains", ())]


@settings(max_examples=60, deadline=None)
@given(sets_of(SET, INNER, THIRD), st.integers(1, 4))
async def test_expansions(http: httpx.AsyncClient, outer: dict[str, Any], count: int) -> None:
    """The same codes, each once; pages together are the whole."""
    sets = {SET: outer, **STORED}
    known = {(system, row[0]) for system, rows in ROWS.items() for row in rows}
    expected = {(system, code) for system, code in known if member(outer, system, code, sets)}
    given_ = {"name": "valueSet", "resource": outer}
    whole = (await asked(http, "$expand", given_))["expansion"]
    found = contained(whole)
    assert len(found) == len(set(found)) == whole["total"]
    assert {one for one in found if one in known} == expected
    pages: list[tuple[str, str]] = []
    for offset in range(0, whole["total"], count):
        place = [{"name": "offset", "valueInteger": offset}, {"name": "count", "valueInteger": count}]
        pages += contained((await asked(http, "$expand", given_, *place))["expansion"])
    assert pages == found


@settings(max_examples=80, deadline=None)
@given(sets_of(SET, INNER, THIRD), st.sampled_from(sorted(ROWS)), st.sampled_from("abcdefz"))
async def test_validity(http: httpx.AsyncClient, outer: dict[str, Any], system: str, code: str) -> None:
    if code not in {row[0] for row in ROWS[system]}:
        return
    expected = member(outer, system, code, {SET: outer, **STORED})
    given_ = {"name": "valueSet", "resource": outer}
    coding = {"name": "coding", "valueCoding": {"system": system, "code": code}}
    told = (await asked(http, "$validate-code", given_, coding))["parameter"]
    assert told[0] == {"name": "result", "valueBoolean": expected}
    assert expected or "is not in the value set" in told[1]["valueString"]
