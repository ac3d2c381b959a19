"""`:below` and `:above` of URIs and canonicals: PostgreSQL against the beginnings of texts.

https://hl7.org/fhir/R4/search.html#uri, https://hl7.org/fhir/R4/search.html#versions
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirserver.params import condition
from fhirserver.search import plan
from fhirserver.search.recheck import holds
from tests.db.search.harness import BASES, BOUNDS, REGISTRY, Runner, query
from tests.db.search.meaning import found
from tests.support.share import share

BASE = "http://acme.org/fhir"
URLS = [
    f"{BASE}/ValueSet/123",
    f"{BASE}/ValueSet/1234",
    f"{BASE}/ValueSet/123/_history/5",
    f"{BASE}/ValueSet",
    f"{BASE}/valueset/123",
    "http://acme.org/fhirtown/ValueSet/1",
    "https://acme.org/fhir/ValueSet/123",
    "http://acme.org/é/a%20b?c=d#e",
    "http://acme.org/" + "x" * 700,
    "urn:oid:1.2.3.4.5",
    "urn:oid:1.2.3",
    "urn:uuid:53fefa32-fcbb-4ff8-8a92-55ee120877b7",
    "ftp://acme.org",
    "mailto:x@acme.org",
]
US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition"
PROFILES = [
    f"{US_CORE}/us-core-patient",
    f"{US_CORE}/us-core-patient|6.1.0",
    f"{US_CORE}/us-core-race",
    "http://hl7.org/fhir/StructureDefinition/vitalsigns",
    "http://hl7.org/fhir/uv/ips/StructureDefinition/Patient-uv-ips|1.0",
    f"{BASE}/StructureDefinition/p",
    f"{BASE}/StructureDefinition/p|2.0",
]
VERSIONS = ["", "|1.0", "|1.1", "|1", "|2.0", "|10.2", "|1.0-beta", "|1.0.1", "|A"]
MEASURES = [f"{BASE}/Measure/m", "http://localhost/fhir/Measure/m", "urn:uuid:1"]


def population() -> list[dict[str, Any]]:
    pick = random.Random(20260103)
    made: list[dict[str, Any]] = []
    for index, url in enumerate(URLS):
        made.append({"resourceType": "ValueSet", "id": f"v{index}", "status": "active", "url": url})
    for index in range(60):
        profiles = pick.sample(PROFILES, pick.randint(0, 2))
        meta: dict[str, Any] = {"profile": profiles} if profiles else {}
        if pick.random() < 0.4:
            meta["source"] = pick.choice(URLS)
        made.append({"resourceType": "Patient", "id": f"p{index}", **({"meta": meta} if meta else {})})
    for index, (url, version) in enumerate((u, v) for u in MEASURES for v in VERSIONS):
        period = {"start": "2020"}
        made.append(
            {
                "resourceType": "MeasureReport",
                "id": f"r{index}",
                "status": "complete",
                "type": "summary",
                "period": period,
                "measure": url + version,
            }
        )
    return made


RESOURCES = population()


@pytest.fixture(scope="module", params=BOUNDS, ids=["driven", "in stages", "in order"])
def db(database: str, request: pytest.FixtureRequest) -> Iterator[Runner]:
    runner = Runner(database)
    runner.run(runner.harness.clear())
    runner.run(runner.harness.put_all(RESOURCES))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "BOUNDS", request.param)
        patch.setattr(condition, "KEYS_FEW", condition.KEYS_FEW if request.param is BOUNDS[0] else 1)
        yield runner
    runner.close()


examples = settings(
    max_examples=share(80),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


def confirmed(db: Runner, type_: str, params: str) -> set[str]:
    """What is found, which looking at the values of each resource again must not contradict."""
    url = f"{type_}?{params}"
    asked = query(url)
    fitting = [r["id"] for r in RESOURCES if r["resourceType"] == type_ and holds(asked, REGISTRY, BASES, r)]
    matched = found(db, url)
    assert matched == set(fitting), url
    return matched


def expected(type_: str, test: Callable[[dict[str, Any]], bool]) -> set[str]:
    return {one["id"] for one in RESOURCES if one["resourceType"] == type_ and test(one)}


def _is_urn(uri: str) -> bool:
    return uri.lower().startswith("urn:")


@st.composite
def beginnings(draw: st.DrawFn, uris: list[str]) -> str:
    """A beginning of a URL, with at least its scheme and not longer than may be asked for."""
    url = draw(st.sampled_from([uri for uri in uris if not _is_urn(uri)]))
    return url[: draw(st.integers(url.index(":") + 1, min(len(url), 600)))]


@examples
@given(st.lists(beginnings(URLS), min_size=1, max_size=2))
def test_url_below(db: Runner, starts: list[str]) -> None:
    asked = ",".join(quote(start) for start in starts)
    wanted = expected("ValueSet", lambda one: one["url"].startswith(tuple(starts)))
    assert confirmed(db, "ValueSet", f"url:below={asked}") == wanted


@examples
@given(
    st.sampled_from([url for url in URLS if not _is_urn(url) and len(url) < 300]),
    st.sampled_from(["", "/", "/_history/5", "4", "x"]),
)
def test_url_above(db: Runner, url: str, more: str) -> None:
    wanted = expected("ValueSet", lambda one: (url + more).startswith(one["url"]))
    assert confirmed(db, "ValueSet", f"url:above={quote(url + more)}") == wanted


@examples
@given(beginnings([*URLS, *PROFILES]), st.sampled_from(["_profile", "_source"]), st.booleans())
def test_what_the_meta_element_holds(db: Runner, start: str, code: str, above: bool) -> None:
    """Profiles that nearly every resource has are in no index of their own."""

    def values(resource: dict[str, Any]) -> list[str]:
        meta = resource.get("meta", {})
        if code == "_source":
            return [meta["source"]] if "source" in meta else []
        return [form for one in meta.get("profile", []) for form in {one, one.partition("|")[0]}]

    def fits(value: str) -> bool:
        if _is_urn(value):
            return False
        return (start + "/x").startswith(value) if above else value.startswith(start)

    wanted = expected("Patient", lambda one: any(map(fits, values(one))))
    asked = f"{code}:above={quote(start + '/x')}" if above else f"{code}:below={quote(start)}"
    assert confirmed(db, "Patient", asked) == wanted


# -- canonicals


def _below(version: str, stored: str) -> bool:
    """1 is the beginning of 1, 1.0 and 1.0-beta, but not of 10.2."""
    rest = stored.removeprefix(version)
    return stored.startswith(version) and (not rest or not (version[-1].isalnum() and rest[0].isalnum()))


@examples
@given(st.sampled_from(MEASURES), st.sampled_from(VERSIONS), st.booleans())
def test_versions_of_canonicals(db: Runner, url: str, version: str, below: bool) -> None:
    """Without a version any will do; with one that version, or by `:below` those that begin with it."""

    def fits(resource: dict[str, Any]) -> bool:
        stored, _, held = resource["measure"].partition("|")
        if stored != url:
            return False
        return not version or held == version[1:] or (below and bool(held) and _below(version[1:], held))

    asked = f"measure{':below' if below else ''}={url}{version}"
    assert confirmed(db, "MeasureReport", asked) == expected("MeasureReport", fits)


def test_the_examples_of_the_specification(db: Runner) -> None:
    below = found(db, f"ValueSet?url:below={BASE}/")
    assert below == {"v0", "v1", "v2", "v3", "v4"}
    assert found(db, f"ValueSet?url:above={BASE}/ValueSet/123/_history/5") == {"v0", "v2", "v3"}
    assert found(db, "ValueSet?url=urn:oid:1.2.3.4.5") == {"v9"}
    assert found(db, f"MeasureReport?measure:below={BASE}/Measure/m") == {f"r{n}" for n in range(9)}
    assert found(db, f"MeasureReport?measure:below={BASE}/Measure/m|1") == {"r1", "r2", "r3", "r6", "r7"}
