"""References between the entries of a transaction, and references that are searches.

https://hl7.org/fhir/R4/http.html#trules, https://hl7.org/fhir/R4/bundle.html#references
"""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http.support import (
    SYSTEM,
    Entry,
    Resource,
    created,
    criteria,
    entry,
    found,
    json_patch,
    observation,
    patient,
    put,
    read,
    refused,
    resources,
    transact,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient
ELSEWHERE = "http://elsewhere.org/fhir"


def key() -> str:
    return uuid4().hex


def encounter(subject: str, mark: str | None = None, **more: Any) -> Resource:
    identifier = {"identifier": [{"system": SYSTEM, "value": mark}]} if mark else {}
    return {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": subject},
        **identifier,
        **more,
    }


def identity(resource: Resource) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


# -- fullUrl


@pytest.mark.parametrize(
    ("full_url", "reference"),
    [
        ("urn:uuid:9b0a8a7e-61f2-4b39-8d4f-9b57a2d1f8c1", "urn:uuid:9b0a8a7e-61f2-4b39-8d4f-9b57a2d1f8c1"),
        ("urn:oid:1.2.3", "urn:oid:1.2.3"),
        (f"{ELSEWHERE}/Patient/7", f"{ELSEWHERE}/Patient/7"),
        (f"{ELSEWHERE}/Patient/7", "Patient/7"),
        ("http://test/fhir/Patient/7", "http://test/fhir/Patient/7"),
        ("http://test/fhir/Patient/7", "Patient/7"),
        ("http://127.0.0.1:8080/fhir/Patient/7", "http://127.0.0.1:8080/fhir/Patient/7"),
    ],
)
async def test_a_reference_to_a_full_url_becomes_the_identity(
    http: Http, full_url: str, reference: str
) -> None:
    base = full_url.removesuffix("/Patient/7")
    own = f"{base}/Observation/8" if base.startswith("http") else "urn:uuid:own"
    made, referring = await resources(
        http,
        entry("POST", "Patient", patient(), full_url),
        entry("POST", "Observation", observation(reference), own),
    )
    assert made["id"] != "7"
    assert referring["subject"] == {"reference": identity(made)}
    assert await read(http, identity(referring)) == referring


@pytest.mark.parametrize(
    ("full_url", "own", "reference"),
    [
        ("urn:uuid:a", "urn:uuid:b", "urn:uuid:c"),
        ("urn:uuid:a", "urn:uuid:b", "Patient/a"),
        (f"{ELSEWHERE}/Patient/7", "urn:uuid:b", "Patient/7"),
        (f"{ELSEWHERE}/Patient/7", None, "Patient/7"),
        (f"{ELSEWHERE}/Patient/7", "http://third.org/fhir/Observation/1", "Patient/7"),
        (f"{ELSEWHERE}/Patient/7", f"{ELSEWHERE}/Observation/1", f"{ELSEWHERE}/Patient/77"),
        (f"{ELSEWHERE}/Patient/7", f"{ELSEWHERE}/Observation/1", "#p"),
        (None, None, "Patient/7"),
    ],
)
async def test_other_references_are_left_alone(
    http: Http, full_url: str | None, own: str | None, reference: str
) -> None:
    contained = {"contained": [patient(id="p")]} if reference == "#p" else {}
    _, referring = await resources(
        http,
        entry("POST", "Patient", patient(id="7"), full_url),
        entry("POST", "Observation", observation(reference, **contained), own),
    )
    assert referring["subject"] == {"reference": reference}


async def test_references_stand_anywhere(http: Http) -> None:
    """In contained resources, extensions, arrays, and beside other fields of a Reference."""
    url = "urn:uuid:patient"
    made, referring = await resources(
        http,
        entry("POST", "Patient", patient(), url),
        entry(
            "POST",
            "Observation",
            observation(
                url,
                contained=[{"resourceType": "Encounter", "id": "e", **without_type(encounter(url))}],
                encounter={"reference": "#e"},
                performer=[
                    {"reference": "Practitioner/1"},
                    {"reference": url, "display": "self", "type": "Patient"},
                ],
                extension=[{"url": "http://example.org/x", "valueReference": {"reference": url}}],
                note=[{"text": url, "authorReference": {"reference": url}}],
            ),
        ),
    )
    reference = identity(made)
    assert referring["subject"]["reference"] == reference
    assert referring["contained"][0]["subject"]["reference"] == reference
    assert referring["performer"][1] == {"reference": reference, "display": "self", "type": "Patient"}
    assert referring["extension"][0]["valueReference"]["reference"] == reference
    assert referring["note"][0] == {"text": url, "authorReference": {"reference": reference}}


def without_type(resource: Resource) -> Resource:
    return {name: value for name, value in resource.items() if name != "resourceType"}


async def test_uris_and_narratives_name_entries_too(http: Http) -> None:
    url = "urn:uuid:9b0a8a7e-61f2-4b39-8d4f-9b57a2d1f8c1"
    div = (
        '<div xmlns="http://www.w3.org/1999/xhtml"><a href="{0}">{1}</a><img src="{0}" alt="x"/>'
        "<a href='{0}'>y</a><p>{1}</p></div>"
    )
    made, referring = await resources(
        http,
        entry("POST", "Binary", {"resourceType": "Binary", "contentType": "text/plain", "data": "eA=="}, url),
        entry(
            "POST",
            "DocumentReference",
            {
                "resourceType": "DocumentReference",
                "status": "current",
                "text": {"status": "generated", "div": div.format(url, url)},
                "identifier": [{"system": "urn:ietf:rfc:3986", "value": url}],
                "description": url,
                "content": [
                    {"attachment": {"url": url, "title": url, "contentType": "text/plain"}},
                    {"attachment": {"url": f"{url}0"}},
                ],
                "extension": [
                    {"url": "http://example.org/1", "valueUri": url},
                    {"url": "http://example.org/2", "valueUuid": url},
                    {"url": "http://example.org/3", "valueString": url},
                ],
            },
        ),
    )
    to = identity(made)
    assert referring["content"][0]["attachment"] == {"url": to, "title": url, "contentType": "text/plain"}
    assert referring["content"][1]["attachment"] == {"url": f"{url}0"}
    assert [next(v for k, v in e.items() if k != "url") for e in referring["extension"]] == [to, to, url]
    assert referring["text"]["div"] == div.format(to, url)
    assert referring["identifier"][0]["value"] == url and referring["description"] == url


async def test_canonical_urls_are_names_not_links(http: Http) -> None:
    """Definitions refer to each other by canonical URLs, which often are their fullUrls too: they stay."""
    base = f"{ELSEWHERE}/{key()}"
    codes, values = f"{base}/CodeSystem/codes", f"{base}/ValueSet/values"
    code_system = {
        "resourceType": "CodeSystem",
        "url": codes,
        "status": "active",
        "content": "complete",
        "concept": [{"code": "a"}],
    }
    value_set = {
        "resourceType": "ValueSet",
        "url": values,
        "status": "active",
        "compose": {"include": [{"system": codes, "valueSet": [values]}]},
    }
    coded = observation(code={"coding": [{"system": codes, "code": "a"}]})
    made = await resources(
        http,
        entry("POST", "CodeSystem", code_system, codes),
        entry("POST", "ValueSet", value_set, values),
        entry("POST", "Observation", coded, "urn:uuid:o"),
        entry(
            "POST",
            "List",
            {
                "resourceType": "List",
                "status": "current",
                "mode": "working",
                "entry": [{"item": {"reference": values}}],
            },
        ),
    )
    assert made[0]["url"] == codes and made[1]["url"] == values
    assert made[1]["compose"] == value_set["compose"]
    assert made[2]["code"] == coded["code"]
    assert made[3]["entry"][0]["item"]["reference"] == identity(made[1]), "a reference is a link"


async def test_a_reference_to_a_version_becomes_one_to_the_new_version(http: Http) -> None:
    id_ = key()
    await put(http, patient(id=id_))
    await put(http, patient(id=id_, active=True))
    base = f"{ELSEWHERE}/{id_}"
    made, updated, unchanged, referring = await resources(
        http,
        entry("POST", "Patient", patient(), f"{base}/Patient/1"),
        entry("PUT", f"Patient/{id_}", patient(id=id_), f"{base}/Patient/{id_}"),
        entry(
            "PUT",
            "Group/" + id_,
            {"resourceType": "Group", "id": id_, "type": "person", "actual": True},
            "urn:uuid:g",
        ),
        entry(
            "POST",
            "Provenance",
            {
                "resourceType": "Provenance",
                "target": [
                    {"reference": "Patient/1/_history/77"},
                    {"reference": f"{base}/Patient/{id_}/_history/1"},
                    {"reference": "urn:uuid:g/_history/9"},
                    {"reference": "Patient/untouched/_history/3"},
                    {"reference": "Patient/1#part"},
                ],
                "recorded": "2026-01-01T00:00:00Z",
                "agent": [{"who": {"display": "x"}}],
            },
            f"{base}/Provenance/1",
        ),
    )
    assert [target["reference"] for target in referring["target"]] == [
        f"{identity(made)}/_history/1",
        f"Patient/{id_}/_history/3",
        f"{identity(unchanged)}/_history/1",
        "Patient/untouched/_history/3",
        f"{identity(made)}#part",
    ]
    assert updated["meta"]["versionId"] == "3"
    await read(http, f"Patient/{id_}/_history/3")


async def test_a_version_that_is_referred_to_is_made_even_if_nothing_changes(http: Http) -> None:
    id_ = key()
    await put(http, patient(id=id_))
    updated, referring = await resources(
        http,
        entry("PUT", f"Patient/{id_}", patient(id=id_), "urn:uuid:p"),
        entry("POST", "Observation", observation("urn:uuid:p/_history/1")),
    )
    assert referring["subject"]["reference"] == f"Patient/{id_}/_history/{updated['meta']['versionId']}"
    await read(http, referring["subject"]["reference"])


async def test_circles_close(http: Http) -> None:
    one, two, selfish = await resources(
        http,
        entry(
            "POST", "Encounter", encounter("urn:uuid:none", partOf={"reference": "urn:uuid:b"}), "urn:uuid:a"
        ),
        entry(
            "POST", "Encounter", encounter("urn:uuid:none", partOf={"reference": "urn:uuid:a"}), "urn:uuid:b"
        ),
        entry(
            "POST", "Encounter", encounter("urn:uuid:none", partOf={"reference": "urn:uuid:c"}), "urn:uuid:c"
        ),
    )
    assert one["partOf"]["reference"] == identity(two)
    assert two["partOf"]["reference"] == identity(one)
    assert selfish["partOf"]["reference"] == identity(selfish)


@pytest.mark.parametrize("there", [False, True])
async def test_references_follow_what_conditional_entries_resolve_to(http: Http, there: bool) -> None:
    a, b = key(), key()
    if there:
        await put(http, patient(a, id=a))
        await put(http, patient(b, id=b))
    answers = await transact(
        http,
        entry("POST", "Patient", patient(a), "urn:uuid:a", ifNoneExist=criteria(a)),
        entry("PUT", f"Patient?{criteria(b)}", patient(b, active=True), "urn:uuid:b"),
        entry("POST", "Observation", observation("urn:uuid:a", performer=[{"reference": "urn:uuid:b"}])),
        Prefer="return=representation",
    )
    first, second, referring = (answer["resource"] for answer in answers)
    assert referring["subject"]["reference"] == identity(first)
    assert referring["performer"][0]["reference"] == identity(second)
    assert (first["id"] == a, second["id"] == b) == (there, there)
    assert answers[0]["response"]["status"].startswith("200" if there else "201")


@settings(max_examples=25, deadline=None)
@given(
    forms=st.lists(st.sampled_from(["urn", "absolute", "put"]), min_size=1, max_size=6),
    edges=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12),
    order=st.randoms(use_true_random=False),
)
async def test_any_graph_of_new_resources_is_stored_as_it_was_meant(
    http: Http, forms: Sequence[str], edges: Sequence[tuple[int, int]], order: Any
) -> None:
    run, size = key(), len(forms)
    ids = [f"{run}-{n}" for n in range(size)]
    urls = {
        "urn": [f"urn:uuid:{uuid4()}" for _ in ids],
        "absolute": [f"{ELSEWHERE}/Group/{id_}" for id_ in ids],
        "put": [f"{ELSEWHERE}/Group/{id_}" for id_ in ids],
    }
    full = [urls[form][n] for n, form in enumerate(forms)]
    wanted: dict[int, list[int]] = {n: [] for n in range(size)}
    for source, target in edges:
        wanted[source % size].append(target % size)

    def text(source: int, target: int) -> str:
        relative = forms[source] != "urn" and forms[target] != "urn" and (source + target) % 2
        return f"Group/{ids[target]}" if relative else full[target]

    def made(n: int) -> Entry:
        members = [{"entity": {"reference": text(n, target)}} for target in wanted[n]]
        body = {
            "resourceType": "Group",
            "type": "person",
            "actual": True,
            "name": ids[n],
            **({"member": members} if members else {}),
        }
        if forms[n] == "put":
            return entry("PUT", f"Group/{ids[n]}", {**body, "id": ids[n]}, full[n])
        return entry("POST", "Group", body, full[n])

    entries = [made(n) for n in range(size)]
    places = list(range(size))
    order.shuffle(places)
    answered = await resources(http, *(entries[n] for n in places))
    stored = {resource["name"]: resource for resource in answered}
    for n in range(size):
        members = [member["entity"]["reference"] for member in stored[ids[n]].get("member", [])]
        assert members == [identity(stored[ids[target]]) for target in wanted[n]]
        assert (stored[ids[n]]["id"] == ids[n]) == (forms[n] == "put")


# -- patches


async def test_a_patch_can_refer_to_other_entries(http: Http) -> None:
    one, two = [await created(http, observation()) for _ in range(2)]
    made, *_ = await resources(
        http,
        entry("POST", "Patient", patient(), "urn:uuid:p"),
        entry(
            "PATCH",
            f"Observation/{one['id']}",
            json_patch(
                {"op": "add", "path": "/subject", "value": {"reference": "urn:uuid:p"}},
                {"op": "add", "path": "/performer", "value": [{"reference": "urn:uuid:elsewhere"}]},
            ),
        ),
        entry(
            "PATCH",
            f"Observation/{two['id']}",
            json_patch(
                {"op": "add", "path": "/subject", "value": {"display": "x"}},
                {"op": "add", "path": "/subject/reference", "value": "urn:uuid:p"},
                {"op": "add", "path": "/valueString", "value": "urn:uuid:p"},
            ),
        ),
    )
    first, second = await read(http, identity(one)), await read(http, identity(two))
    assert first["subject"]["reference"] == second["subject"]["reference"] == identity(made)
    assert (
        first["performer"] == [{"reference": "urn:uuid:elsewhere"}] and second["valueString"] == "urn:uuid:p"
    )


async def test_a_patch_can_carry_a_conditional_reference(http: Http) -> None:
    mark = key()
    made, patched = await created(http, patient(mark)), await created(http, observation())

    def adding(search: str) -> Entry:
        operation = {"op": "add", "path": "/subject", "value": {"reference": f"Patient?{search}"}}
        return entry("PATCH", identity(patched), json_patch(operation))

    [stored] = await resources(http, adding(criteria(mark)))
    assert stored["subject"]["reference"] == identity(made)
    assert (await refused(http, 412, adding(criteria("nobody"))))["expression"] == [
        "Bundle.entry[0].resource"
    ]


# -- conditional references


@pytest.mark.parametrize("base", ["", "http://127.0.0.1:8080/fhir/"])
async def test_a_conditional_reference_becomes_what_it_finds(http: Http, base: str) -> None:
    mark = key()
    made = await created(http, patient(mark))
    search = f"{base}Patient?identifier={SYSTEM}%7C{mark}"
    [first, second] = await resources(
        http,
        entry("POST", "Observation", observation(search, performer=[{"reference": search}])),
        entry("PUT", f"Observation?identifier={mark}", observation(search)),
    )
    assert first["subject"]["reference"] == second["subject"]["reference"] == identity(made)
    assert first["performer"] == [{"reference": identity(made)}]


@pytest.mark.parametrize("count", [0, 2])
async def test_a_conditional_reference_without_its_one_match_fails_all(http: Http, count: int) -> None:
    mark = key()
    for _ in range(count):
        await created(http, patient(mark))
    issue = await refused(
        http,
        412,
        entry("POST", "Observation", observation(identifier=[{"value": mark}])),
        entry(
            "POST",
            "Observation",
            observation("Patient/1", performer=[{"reference": f"Patient?{criteria(mark)}"}]),
        ),
    )
    assert issue["code"] == ("conflict" if count == 0 else "multiple-matches")
    if count == 0:
        assert issue["expression"] == ["Bundle.entry[1].resource.performer[0].reference"]
    assert await found(http, f"Observation?identifier={mark}") == []


async def test_a_conditional_reference_finds_what_the_same_bundle_writes(http: Http) -> None:
    """Also what itself has conditional references, in a chain and in a circle, in any order."""
    a, b, c = key(), key(), key()
    entries = [
        entry(
            "POST",
            "Observation",
            observation(f"Patient?{criteria(a)}", encounter={"reference": f"Encounter?{criteria(b)}"}),
        ),
        entry(
            "POST",
            "Encounter",
            encounter(f"Patient?{criteria(a)}", b, partOf={"reference": f"Encounter?{criteria(c)}"}),
        ),
        entry(
            "POST",
            "Encounter",
            encounter(f"Patient?{criteria(a)}", c, partOf={"reference": f"Encounter?{criteria(b)}"}),
        ),
        entry("POST", "Patient", patient(a)),
    ]
    for ordered in (entries, entries[::-1]):
        made = {identity(one): one for one in await resources(http, *ordered)}
        by_type: dict[str, list[Resource]] = {}
        for one in made.values():
            by_type.setdefault(one["resourceType"], []).append(one)
        [subject], [weight] = by_type["Patient"], by_type["Observation"]
        inner, outer = by_type["Encounter"]
        assert {one["subject"]["reference"] for one in (weight, inner, outer)} == {identity(subject)}
        assert weight["encounter"]["reference"] in (identity(inner), identity(outer))
        assert inner["partOf"]["reference"] == identity(outer)
        assert outer["partOf"]["reference"] == identity(inner)
        assert {one["meta"]["versionId"] for one in made.values()} == {"1"}
        for resource in made.values():
            assert await read(http, identity(resource)) == resource
        await transact(http, *(entry("DELETE", name) for name in made))


async def test_a_second_match_in_the_same_bundle_is_one_too_many(http: Http) -> None:
    mark = key()
    await created(http, encounter("Patient/1", mark))
    issue = await refused(
        http,
        412,
        entry(
            "POST",
            "Encounter",
            encounter("Patient/1", mark, partOf={"reference": f"Encounter?{criteria(mark)}"}),
        ),
    )
    assert issue["code"] == "multiple-matches"


async def test_what_is_deleted_or_changed_in_the_same_bundle_is_not_found(http: Http) -> None:
    mark = key()
    old = await created(http, patient(mark))
    referring = entry("POST", "Observation", observation(f"Patient?{criteria(mark)}"))
    await refused(http, 412, referring, entry("DELETE", identity(old)))
    await refused(http, 412, referring, entry("PUT", identity(old), patient(id=old["id"])))
    _, made = await resources(http, referring, entry("PUT", "Patient/" + mark, patient(id=mark)))
    assert made["id"] == mark


async def test_what_a_search_found_is_not_taken_for_a_full_url(http: Http) -> None:
    """`Patient/x` of this server, found by search, and `Patient/x` of the sender are two."""
    mark = key()
    await put(http, patient(mark, id=mark))
    theirs, referring = await resources(
        http,
        entry("POST", "Patient", patient(), f"{ELSEWHERE}/Patient/{mark}"),
        entry(
            "POST",
            "Observation",
            observation(f"Patient?{criteria(mark)}", performer=[{"reference": f"Patient/{mark}"}]),
            f"{ELSEWHERE}/Observation/1",
        ),
    )
    assert referring["subject"]["reference"] == f"Patient/{mark}"
    assert referring["performer"][0]["reference"] == identity(theirs)


async def test_what_is_not_written_resolves_nothing(http: Http) -> None:
    """A conditional create that finds its resource ignores the body, dangling searches in it too."""
    mark = key()
    there = await created(http, encounter("Patient/1", mark))
    [answer] = await transact(
        http,
        entry("POST", "Encounter", encounter("Patient?identifier=nobody"), ifNoneExist=criteria(mark)),
        Prefer="return=representation",
    )
    assert answer["resource"] == there and answer["response"]["status"] == "200 OK"


async def test_only_a_transaction_resolves_searches(http: Http) -> None:
    mark = key()
    await created(http, patient(mark))
    resource = observation(f"Patient?{criteria(mark)}")
    response = await http.post("/Observation", json=resource)
    assert response.status_code == 400
    assert response.json()["issue"][0]["expression"] == ["Observation.subject.reference"]
    response = await http.put(f"/Observation/{mark}", json={**resource, "id": mark})
    assert response.status_code == 400
