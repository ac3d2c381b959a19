"""What holds for every search, whatever it asks: drawn from US Core's searches and all that says how results
are given.

https://hl7.org/fhir/R4/search.html#Introduction, https://hl7.org/fhir/R4/search.html#conformance
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.server import BASE, serving
from tests.uscore.chart import FORM, contents, load
from tests.uscore.derive import searches
from tests.uscore.packages import Resource, package
from tests.uscore.test_searches import OWN

Params = tuple[tuple[str, str], ...]
Asked = tuple[str, Params]

LENIENT = {"Prefer": "handling=lenient"}
NAMES = ("nmae", "brithdate", "foo", "x-y", "_summery", "patient.nmae", "_has:Provenance:target:agnet")
"""Parameters that no type has."""


def placeless(answer: httpx.Response) -> Any:
    """The body, page links without the moment at which they were made."""
    return json.loads(re.sub(r"_cursor=[\w-]+", "_cursor=", answer.text))


class Server:
    """The charts on a server, and what US Core asks of it."""

    def __init__(self, database: str, data: Path) -> None:
        self._loop = asyncio.Runner()
        self._open = AsyncExitStack()
        self.http: httpx.AsyncClient = self.run(
            self._open.enter_async_context(serving(database, base_url=BASE))
        )
        chart = self.run(load(self.http, contents(data / "us-core-patients")))
        self.asked: list[Asked] = [
            (one.type, one.params)
            for demands in package(data / "us-core-igs", "7.0.0").types
            for one in searches(demands, chart)
            if not any((one.type, code) in OWN for code in one.codes)
        ]

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run(work)

    def get(self, url: str, status: int = 200, **headers: str) -> Any:
        answer = self.run(self.http.get(url, headers=headers))
        assert answer.status_code == status, (url, answer.text[:500])
        return placeless(answer)

    def post(self, path: str, query: Params, form: Params) -> Any:
        url = f"/{path}/_search" + (f"?{urlencode(query)}" if query else "")
        answer = self.run(self.http.post(url, content=urlencode(form), headers=FORM))
        assert answer.status_code == 200, answer.text[:500]
        return placeless(answer)

    def close(self) -> None:
        self.run(self._open.aclose())
        self._loop.close()


@pytest.fixture(scope="module")
def server(database: str, shared_data: Path) -> Iterator[Server]:
    made = Server(database, shared_data)
    yield made
    made.close()


RESULTS = st.lists(
    st.one_of(
        st.sampled_from([("_count", count) for count in ("0", "1", "3", "50", "100000")]),
        st.sampled_from([("_sort", key) for key in ("_id", "-_id", "_lastUpdated", "-_lastUpdated,_id")]),
        st.sampled_from([("_summary", form) for form in ("true", "text", "data", "count", "false")]),
        st.sampled_from([("_total", how) for how in ("none", "estimate", "accurate")]),
        st.sampled_from([("_elements", names) for names in ("id", "meta", "id,meta", "text,id")]),
        st.just(("_lastUpdated", "ge2020")),
    ),
    max_size=3,
    unique_by=lambda pair: pair[0],
).map(tuple)

many = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def drawn(server: Server, data: st.DataObject) -> tuple[str, Params]:
    """A type and the parameters of a search."""
    type_, params = data.draw(st.sampled_from(server.asked))
    results: Params = data.draw(RESULTS)
    if ("_elements" in dict(results) or "text" in dict(results).values()) and "_summary" in dict(results):
        results = tuple(pair for pair in results if pair[0] != "_elements")
    return type_, data.draw(st.permutations([*params, *results]).map(tuple))


def self_link(bundle: Resource) -> str:
    return next(link["url"] for link in bundle["link"] if link["relation"] == "self")


def body(bundle: Resource) -> tuple[Any, Any]:
    """What was found, without the links, which repeat what was asked."""
    return bundle.get("entry"), bundle.get("total")


def without_remarks(bundle: Resource) -> tuple[Any, Any]:
    found = [entry for entry in bundle.get("entry", ()) if entry["search"]["mode"] != "outcome"]
    return found, bundle.get("total")


@many
@given(st.data())
def test_get_and_post_are_equal(server: Server, data: st.DataObject) -> None:
    """All parameters in the URL, all in the form, or some here and some there."""
    type_, params = drawn(server, data)
    cut = data.draw(st.integers(0, len(params)))
    by_get = server.get(f"/{type_}?{urlencode(params)}")
    assert server.post(type_, (), params) == by_get
    assert server.post(type_, params[:cut], params[cut:]) == by_get
    assert server.post(type_, params, ()) == by_get


@many
@given(st.data())
def test_the_self_link_gives_the_same_answer(server: Server, data: st.DataObject) -> None:
    """And its own self link is itself."""
    type_, params = drawn(server, data)
    bundle = server.get(f"/{type_}?{urlencode(params)}")
    again = server.get(self_link(bundle))
    assert again == bundle
    applied = parse_qsl(urlsplit(self_link(bundle)).query)
    assert {name for name, _ in applied} == {name for name, _ in params}


@many
@given(st.data())
def test_the_order_of_parameters_does_not_matter(server: Server, data: st.DataObject) -> None:
    type_, params = drawn(server, data)
    other = data.draw(st.permutations(params))
    one = server.get(f"/{type_}?{urlencode(params)}")
    assert body(server.get(f"/{type_}?{urlencode(other)}")) == body(one)


@many
@given(st.data())
def test_lenient_is_the_answer_without_what_is_unknown(server: Server, data: st.DataObject) -> None:
    """And says so; strict, which is the default, refuses."""
    type_, params = drawn(server, data)
    unknown = data.draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True))
    places = [data.draw(st.integers(0, len(params))) for _ in unknown]
    more = list(params)
    for place, name in zip(places, unknown, strict=True):
        more.insert(place, (name, "1"))
    url = f"/{type_}?{urlencode(more)}"
    plain = server.get(f"/{type_}?{urlencode(params)}")
    assert server.get(url, 400) == server.get(url, 400, Prefer="handling=strict")
    lenient = server.get(url, **LENIENT)
    assert without_remarks(lenient) == without_remarks(plain)
    assert self_link(lenient) == self_link(plain)
    (outcome,) = [e["resource"] for e in lenient["entry"] if e["search"]["mode"] == "outcome"]
    said = [one["diagnostics"] for one in outcome["issue"] if one["severity"] == "warning"]
    assert len(said) == len(unknown)
    assert all("ignored" in one for one in said)
    assert server.get(self_link(lenient)) == plain


@many
@given(st.data())
def test_a_modifier_that_is_not_known_is_never_ignored(server: Server, data: st.DataObject) -> None:
    """https://hl7.org/fhir/R4/search.html#modifiers"""
    type_, params = drawn(server, data)
    name, value = data.draw(st.sampled_from(params))
    wrong = f"{name.partition('.')[0].partition(':')[0]}:nonsense"
    url = f"/{type_}?{urlencode([*params, (wrong, value)])}"
    assert server.get(url, 400) == server.get(url, 400, **LENIENT)


@many
@given(st.data())
def test_an_empty_parameter_is_as_if_it_were_not_there(server: Server, data: st.DataObject) -> None:
    """Known or not, and the self link does not repeat it."""
    type_, params = drawn(server, data)
    name = data.draw(st.sampled_from([*NAMES, "_sort", "_id", "_count", "_include"]))
    url = f"/{type_}?{urlencode([*params, (name, '')])}"
    assert server.get(url) == server.get(f"/{type_}?{urlencode(params)}")
