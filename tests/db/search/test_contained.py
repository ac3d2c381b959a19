"""`_contained` and `_containedType`: PostgreSQL against the specification read literally.

https://hl7.org/fhir/R4/search.html#contained
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirserver.errors import Invalid, NotSupported
from fhirserver.policy.restriction import NOTHING, Compartment, Permit, Permits
from fhirserver.search.compile import count_statement, statement
from fhirserver.search.context import Context
from fhirserver.search.snapshot import AsOf
from fhirserver.store.version import Version
from tests.db.search.harness import COLUMNS, KEYS, NOW, REGISTRY, Harness, Runner, harness, query
from tests.support.share import share
from tests.support.sweeping import swept

CODES = ["A", "a", "b", "c"]
NAMES = ["Müller", "mueller", "Smith", "Smythe"]


def _medication(pick: random.Random, id_: str) -> dict[str, Any]:
    return {
        "resourceType": "Medication",
        "id": id_,
        "code": {"coding": [{"code": pick.choice(CODES), "display": pick.choice(NAMES)}]},
        "status": pick.choice(["active", "inactive"]),
    }


def _patient(pick: random.Random, id_: str) -> dict[str, Any]:
    found = {"resourceType": "Patient", "id": id_, "name": [{"family": pick.choice(NAMES)}]}
    return found | {"birthDate": f"19{pick.randint(50, 99)}"}


def _observation(pick: random.Random, id_: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "code": {"coding": [{"code": pick.choice(CODES)}]},
        "subject": {"reference": f"Patient/p{pick.randint(0, 5)}"},
        "effectiveDateTime": f"20{pick.randint(10, 30)}-01-01",
        "valueQuantity": {"value": Decimal(pick.randint(1, 5))},
    }


MAKERS = {"Medication": _medication, "Patient": _patient, "Observation": _observation}


def _resources() -> list[dict[str, Any]]:
    pick = random.Random(20260404)
    found: list[dict[str, Any]] = []
    for index in range(120):
        type_ = pick.choice(["Medication", "Patient", "Observation", "Basic", "Basic"])
        base = {"resourceType": "Basic", "id": f"x{index}", "code": {"text": "t"}}
        resource = MAKERS[type_](pick, f"{type_[0].lower()}{index}") if type_ in MAKERS else base
        if pick.random() < 0.7:
            inner = [pick.choice(list(MAKERS)) for _ in range(pick.randint(1, 4))]
            resource["contained"] = [MAKERS[kind](pick, f"i{number}") for number, kind in enumerate(inner)]
        found.append(resource)
    return found


RESOURCES = _resources()


@pytest.fixture(scope="module")
def db(database: str) -> Iterator[Runner]:
    runner = Runner(database)
    runner.run(runner.harness.clear())
    runner.run(runner.harness.put_all(RESOURCES))
    yield runner
    runner.close()


# -- the slow evaluator


def _codes(resource: dict[str, Any]) -> list[str]:
    return [coding["code"].lower() for coding in resource.get("code", {}).get("coding", ())]


SEARCHES: dict[str, tuple[str, Callable[[dict[str, Any]], bool]]] = {
    "Medication?code=a": ("Medication", lambda r: "a" in _codes(r)),
    "Medication?code:text=m": (
        "Medication",
        lambda r: r["code"]["coding"][0]["display"].startswith(("M", "m")),
    ),
    "Medication?status=active": ("Medication", lambda r: r["status"] == "active"),
    "Medication?code=a,b&status:not=active": (
        "Medication",
        lambda r: bool({"a", "b"} & set(_codes(r))) and r["status"] != "active",
    ),
    "Medication?": ("Medication", lambda r: True),
    "Medication?form:missing=true": ("Medication", lambda r: True),
    "Medication?_id=i0,i1": ("Medication", lambda r: r["id"] in ("i0", "i1")),
    "Medication?_content=smith": ("Medication", lambda r: "'Smith'" in str(r)),
    "Patient?family=sm": ("Patient", lambda r: r["name"][0]["family"].startswith("Sm")),
    "Patient?birthdate=ge1970": ("Patient", lambda r: r["birthDate"] >= "1970"),
    "Observation?patient=p1": ("Observation", lambda r: r["subject"]["reference"] == "Patient/p1"),
    "Observation?patient=p1,p2&code=b": (
        "Observation",
        lambda r: r["subject"]["reference"][-2:] in ("p1", "p2") and "b" in _codes(r),
    ),
    "Observation?value-quantity=gt3": ("Observation", lambda r: r["valueQuantity"]["value"] > 3),
    "Observation?code=b&value-quantity=gt3": (
        "Observation",
        lambda r: "b" in _codes(r) and r["valueQuantity"]["value"] > 3,
    ),
    "Observation?date=ge2020": ("Observation", lambda r: r["effectiveDateTime"] >= "2020"),
    "Observation?_lastUpdated=gt2020": ("Observation", lambda r: True),
}


def _expected(url: str, which: str, alone: bool) -> set[str]:
    """Paths of the entries."""
    type_, holds = SEARCHES[url]
    found: set[str] = set()
    for resource in RESOURCES:
        path = f"{resource['resourceType']}/{resource['id']}"
        if which == "both" and resource["resourceType"] == type_ and holds(resource):
            found.add(path)
        for inner in resource.get("contained", ()):
            if inner["resourceType"] == type_ and holds(inner):
                found.add(f"{path}#{inner['id']}" if alone else path)
    return found


def _version(row: Any) -> Version:
    return Version.contained(row) if "container_type" in row else Version.of(row)


def _paths(rows: Any) -> list[str]:
    return [_version(row).path for row in rows]


def _url(url: str, which: str, kind: str) -> str:
    return f"{url}{'' if url.endswith('?') else '&'}_contained={which}&_containedType={kind}"


examples = settings(
    max_examples=share(200),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
which_ones = st.sampled_from(["true", "both"])
kinds = st.sampled_from(["container", "contained"])


@examples
@given(st.sampled_from(sorted(SEARCHES)), which_ones, kinds)
def test_what_is_found(db: Runner, url: str, which: str, kind: str) -> None:
    asked = _url(url, which, kind)
    found = _paths(db.run(db.harness.rows(query(asked))))
    assert len(found) == len(set(found))
    assert set(found) == _expected(url, which, kind == "contained")
    assert db.run(db.harness.count(asked)) == len(found)
    assert db.run(db.harness.count(asked, at_most=3)) == min(3, len(found))


@examples
@given(st.sampled_from(sorted(SEARCHES)))
def test_by_default_nothing_contained_is_found(db: Runner, url: str) -> None:
    type_, holds = SEARCHES[url]
    own = {f"{type_}/{r['id']}" for r in RESOURCES if r["resourceType"] == type_ and holds(r)}
    for asked in (url, _url(url, "false", "contained")):
        assert set(_paths(db.run(db.harness.rows(query(asked))))) == own


SORTS = {
    "Patient?family=": ("-birthdate", lambda r: r["birthDate"], True),
    "Patient?": ("birthdate", lambda r: r["birthDate"], False),
    "Observation?": ("value-quantity", lambda r: r["valueQuantity"]["value"], False),
    "Observation?code=a": ("-date", lambda r: r["effectiveDateTime"], True),
    "Medication?": ("_id", lambda r: r["id"], False),
}


@pytest.mark.parametrize("url", sorted(SORTS))
@pytest.mark.parametrize("which", ["true", "both"])
def test_the_order_of_contained_resources(db: Runner, url: str, which: str) -> None:
    sort, value, descending = SORTS[url]
    rows = db.run(db.harness.rows(query(_url(url, which, "contained") + f"&_sort={sort}")))
    values = [value(_version(row).resource()) for row in rows]
    assert len(values) > 20
    assert values == sorted(values, reverse=descending)


def _flat(pages: list[list[str]]) -> list[str]:
    return [path for page in pages for path in page]


async def _pages(db: Harness, url: str, count: int) -> list[list[str]]:
    asked = replace(query(url), count=count)
    page = await db.page(asked)
    found = [_paths(page.rows)]
    while page.next is not None:
        page = await db.page(asked, page.next)
        found.append(_paths(page.rows))
    backwards = [found[-1]]
    while page.previous is not None:
        page = await db.page(asked, page.previous)
        backwards.insert(0, _paths(page.rows))
    assert _flat(backwards) == _flat(found)
    return found


@pytest.fixture
async def filled(database: str) -> AsyncIterator[Harness]:
    async with harness(database) as found:
        await found.clear()
        await found.put_all(RESOURCES)
        yield found


PAGED = ["Medication?", "Medication?code=a,b", "Patient?family=m", "Observation?value-quantity=gt1"]


@pytest.mark.parametrize("kind", ["container", "contained"])
async def test_pages(filled: Harness, kind: str) -> None:
    for url in PAGED:
        for sort in ("", "&_sort=_id", "&_sort=-_lastUpdated,_id"):
            for which in ("true", "both"):
                asked = _url(url, which, kind) + sort
                whole = _paths(await filled.rows(query(asked)))
                pages = await _pages(filled, asked, 7)
                assert _flat(pages) == whole, asked
                assert {len(page) for page in pages[:-1]} <= {7}, asked


@pytest.mark.parametrize("kind", ["container", "contained"])
async def test_pages_are_those_of_the_first_ones_snapshot(filled: Harness, kind: str) -> None:
    pick = random.Random(5)
    for which in ("true", "both"):
        await filled.clear()
        await filled.put_all(RESOURCES)
        versions = {(r["resourceType"], r["id"]): 1 for r in RESOURCES}
        asked = replace(query(_url("Medication?code=a,b", which, kind)), count=9)
        whole = _paths(await filled.rows(replace(asked, count=1_000)))
        page = await filled.page(asked)
        seen = _paths(page.rows)
        while page.next is not None:
            for name in pick.sample(sorted(versions), 6):
                if pick.random() < 0.3:
                    await filled.delete(*name, versions.pop(name))
                    continue
                versions[name] += 1
                other = pick.choice([r for r in RESOURCES if r["resourceType"] == name[0]])
                await filled.put({**other, "id": name[1]}, versions[name])
            page = await filled.page(asked, page.next)
            seen += _paths(page.rows)
        assert seen == whole


@pytest.mark.parametrize("kind", ["container", "contained"])
@pytest.mark.parametrize("which", ["true", "both"])
async def test_what_was_contained_at_an_instant(filled: Harness, which: str, kind: str) -> None:
    """A contained resource ends with the version that contains it, whatever the next one contains."""
    pick = random.Random(6)
    instant = await filled.connection.fetchval("SELECT clock_timestamp()")
    searches = [replace(query(_url(url, which, kind)), count=1_000) for url in PAGED]
    before = [_paths(await filled.rows(asked)) for asked in searches]
    assert all(before)
    versions = {(r["resourceType"], r["id"]): 1 for r in RESOURCES}
    for name in pick.choices(sorted(versions), k=150):
        if name in versions and pick.random() < 0.3:
            await filled.delete(*name, versions.pop(name))
        elif name in versions:
            versions[name] += 1
            other = pick.choice([r for r in RESOURCES if r["resourceType"] == name[0]])
            await filled.put({**other, "id": name[1]}, versions[name])
    then = Context(REGISTRY, KEYS, NOW, snapshot=AsOf(instant, 0))
    assert [_paths(await filled.rows(asked, context=then)) for asked in searches] == before
    assert [_paths(await filled.rows(asked)) for asked in searches] != before
    for asked, paths in zip(searches, before, strict=True):
        text, args = count_statement(asked, then).numbered()
        assert await filled.connection.fetchval(text, *args) == len(paths)


async def test_nobody_sees_what_a_hidden_resource_contains(filled: Harness) -> None:
    for kind in ("container", "contained"):
        asked = query(_url("Medication?", "both", kind))
        blind = Context(REGISTRY, KEYS, NOW, NOTHING)
        text, args = statement(asked, blind, COLUMNS).numbered()
        assert await filled.connection.fetch(text, *args) == []
        text, args = count_statement(asked, blind).numbered()
        assert await filled.connection.fetchval(text, *args) == 0


async def test_contained_resources_live_and_die_with_their_container(filled: Harness) -> None:
    await filled.clear()
    pick = random.Random(1)
    one, other = _medication(pick, "m1"), _medication(pick, "m2")
    basic = {"resourceType": "Basic", "id": "b", "code": {"text": "t"}, "contained": [one, other]}
    await filled.put(basic)
    asked = _url("Medication?", "true", "contained")
    assert _paths(await filled.rows(query(asked))) == ["Basic/b#m2", "Basic/b#m1"]
    await filled.put({**basic, "contained": [other]}, 2)
    assert _paths(await filled.rows(query(asked))) == ["Basic/b#m2"]
    await swept(filled.connection, "SELECT count(*) FROM contained", 1)
    await filled.delete("Basic", "b", 2)
    assert await filled.rows(query(asked)) == []
    for name in ("contained", "tok", "str", "dat", "qty", "words"):
        await swept(filled.connection, f"SELECT count(*) FROM {name}")


async def test_a_contained_resource_comes_as_it_was_written(filled: Harness) -> None:
    await filled.clear()
    inner = {
        "resourceType": "Observation",
        "id": "o",
        "meta": {"tag": [{"code": "t"}]},
        "status": "final",
        "code": {"text": "x"},
        "valueQuantity": {"value": Decimal("1.0E2")},
    }
    await filled.put(
        {"resourceType": "Basic", "id": "b", "code": {}, "contained": [inner, {**inner, "id": "p"}]}
    )
    (row, _) = await filled.rows(query(_url("Observation?_tag=t", "true", "contained") + "&_sort=_id"))
    version = _version(row)
    assert version.path == "Basic/b#o"
    assert (
        version.json()
        .decode()
        .startswith('{"resourceType":"Observation","id":"o","meta":{"tag":[{"code":"t"}]}')
    )
    assert '"value":1.0E+2' in version.json().decode()
    assert version.resource() == inner


async def test_chains_do_not_enter_contained_resources(filled: Harness) -> None:
    await filled.clear()
    pick = random.Random(2)
    inner = _medication(pick, "m1") | {"code": {"coding": [{"code": "only"}]}}
    request = {
        "resourceType": "MedicationRequest",
        "id": "r",
        "medicationReference": {"reference": "#m1"},
        "subject": {"reference": "Patient/m1"},
        "contained": [inner],
    }
    await filled.put(request)
    await filled.put({"resourceType": "Observation", "id": "o", "subject": {"reference": "Patient/i0"}})
    await filled.put({"resourceType": "Basic", "id": "b", "contained": [_patient(pick, "i0")]})
    assert await filled.ids("MedicationRequest?medication.code=only") == []
    asked = _url("Medication?_has:MedicationRequest:medication:_id=r", "true", "contained")
    assert await filled.ids(asked) == []
    # An id within a container is not that of the resource elsewhere.
    asked = _url("Patient?_has:Observation:subject:_id=o", "true", "contained")
    assert await filled.ids(asked) == []
    asked = _url("Patient/i0/Patient?", "true", "contained")
    assert await filled.ids(asked) == []


async def test_several_types_and_all(filled: Harness) -> None:
    for types, which in (("Medication,Patient", "true"), ("Medication,Patient", "both"), ("Basic", "true")):
        found = _paths(await filled.rows(query(_url(f"?_type={types}", which, "contained"))))
        expected = {
            *(
                f"{r['resourceType']}/{r['id']}#{inner['id']}"
                for r in RESOURCES
                for inner in r.get("contained", ())
                if inner["resourceType"] in types.split(",")
            ),
            *(
                f"{r['resourceType']}/{r['id']}"
                for r in RESOURCES
                if which == "both" and r["resourceType"] in types.split(",")
            ),
        }
        assert set(found) == expected and len(found) == len(expected)


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("Medication?_contained=yes", Invalid),
        ("Medication?_contained=true&_containedType=both", Invalid),
        ("Medication?_contained=true&_contained=both", Invalid),
        ("Patient?_contained=true&_sort=family", NotSupported),
        (
            "Medication?_contained=true&_containedType=contained&_include=Medication:manufacturer",
            NotSupported,
        ),
    ],
)
def test_what_cannot_be_had(url: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        query(url)


async def test_who_may_see_a_container_sees_what_it_contains(filled: Harness) -> None:
    await filled.clear()
    pick = random.Random(3)
    for patient in ("p1", "p2"):
        request = {
            "resourceType": "MedicationRequest",
            "id": f"r-{patient}",
            "status": "active",
            "subject": {"reference": f"Patient/{patient}"},
            "contained": [_medication(pick, "m")],
        }
        await filled.put(request)
    await filled.put({"resourceType": "Basic", "id": "b", "code": {}, "contained": [_medication(pick, "m")]})
    types = frozenset({"MedicationRequest"})
    for permit, seen in (
        (Permit(types, frozenset("s")), ["MedicationRequest/r-p2#m", "MedicationRequest/r-p1#m"]),
        (Permit(types, frozenset("s"), (Compartment("Patient", "p1"),)), ["MedicationRequest/r-p1#m"]),
        (Permit(types, frozenset("s"), (), (("patient", "Patient/p2"),)), ["MedicationRequest/r-p2#m"]),
        (Permit(types, frozenset("s"), (), (("status", "stopped"),)), []),
        (Permit(frozenset({"Medication"}), frozenset("s")), []),
    ):
        context = Context(REGISTRY, KEYS, NOW, Permits((permit,)))
        for which in ("true", "both"):
            rows = await filled.rows(query(_url("Medication?", which, "contained")), context=context)
            assert _paths(rows) == seen, permit
            rows = await filled.rows(query(_url("Medication?", which, "container")), context=context)
            assert _paths(rows) == [path.removesuffix("#m") for path in seen], permit
