"""Resources within Bundles: https://hl7.org/fhir/R4/bundle.html#search

Each Composition and MessageHeader is stored twice, by itself and as the first entry of a Bundle; what a
search finds of the one, the chain finds of the other.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirserver.errors import FhirError
from fhirserver.search import plan
from tests.db.search.harness import BOUNDS, Runner, query
from tests.support.share import share

Resource = dict[str, Any]
PROFILES = [
    "http://p/0",
    "http://p/1",
    "http://p/2",
    "http://hl7.org/fhir/StructureDefinition/clinicaldocument",
]
DATES = ["2020", "2020-02", "2020-02-29", "2020-02-29T12:00:00Z", "2021-01-01"]


def _concept(pick: random.Random) -> Resource:
    return {"coding": [{"system": pick.choice(["urn:a", "urn:b"]), "code": pick.choice("xyz")}], "text": "t"}


def _reference(pick: random.Random, type_: str, count: int = 4) -> Resource:
    version = pick.choice(["", "", "/_history/1"])
    return {"reference": f"{pick.choice(['', '', 'http://far/'])}{type_}/{pick.randrange(count)}{version}"}


def _maybe(pick: random.Random, **elements: Any) -> Resource:
    return {key: value for key, value in elements.items() if pick.random() < 0.7}


def _composition(pick: random.Random, index: int) -> Resource:
    period = {"start": pick.choice(DATES), "end": "2022"}
    return {
        "resourceType": "Composition",
        "id": f"c{index}",
        "meta": {"tag": [_concept(pick)["coding"][0]], "profile": [pick.choice(PROFILES)]},
        "status": pick.choice(["final", "preliminary"]),
        "type": _concept(pick),
        "title": pick.choice(["Discharge Summary", "discharge", "Ærztebrief"]),
        **_maybe(
            pick,
            subject=_reference(pick, pick.choice(["Patient", "Patient", "Group"])),
            date=pick.choice(DATES),
            identifier={"system": "urn:i", "value": pick.choice(["A", "a", "B"])},
            author=[_reference(pick, "Practitioner")],
            event=[{"period": period, "code": [_concept(pick)]}],
            relatesTo=[{"code": "replaces", "targetReference": _reference(pick, "Composition")}],
        ),
    }


def _header(pick: random.Random, index: int) -> Resource:
    return {
        "resourceType": "MessageHeader",
        "id": f"m{index}",
        "eventCoding": _concept(pick)["coding"][0],
        "source": {"name": pick.choice(["Acme", "other"]), "endpoint": f"http://s/{pick.randrange(3)}"},
        **_maybe(
            pick,
            destination=[{"name": "d", "endpoint": f"http://d/{pick.randrange(3)}"}],
            sender=_reference(pick, "Organization"),
            focus=[_reference(pick, "Patient")],
            response={"identifier": str(pick.randrange(3)), "code": pick.choice(["ok", "fatal-error"])},
        ),
    }


def _bundle(inner: Resource, kind: str) -> Resource:
    other = {
        "resourceType": "Composition",
        "id": "not-first",
        "title": "Discharge of another",
        "status": "final",
    }
    return {
        "resourceType": "Bundle",
        "id": inner["id"],
        "type": kind,
        "timestamp": "2019-01-01T00:00:00Z",
        "entry": [{"fullUrl": "urn:uuid:1", "resource": inner}, {"resource": other}],
    }


def _population() -> list[Resource]:
    pick = random.Random(20260707)
    inner = [_composition(pick, index) for index in range(60)] + [_header(pick, index) for index in range(60)]
    kinds = {"Composition": "document", "MessageHeader": "message"}
    found = [*inner, *(_bundle(one, kinds[one["resourceType"]]) for one in inner)]
    found.append(_bundle({"resourceType": "Patient", "id": "collected"}, "collection"))
    found.append({"resourceType": "Bundle", "id": "empty", "type": "collection"})
    for number in range(4):
        found += [
            {"resourceType": "Patient", "id": str(number), "name": [{"family": "ABCD"[number]}]},
            {"resourceType": "Practitioner", "id": str(number), "identifier": [{"value": f"n{number}"}]},
            {"resourceType": "Organization", "id": str(number), "name": f"Org {number}"},
        ]
    return found


POPULATION = _population()
PREFIXES = ["", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]


@pytest.fixture(scope="module", params=BOUNDS, ids=["driven", "in stages", "in order"])
def db(database: str, request: pytest.FixtureRequest) -> Iterator[Runner]:
    runner = Runner(database)
    runner.run(runner.harness.clear())
    runner.run(runner.harness.put_all(POPULATION))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "BOUNDS", request.param)
        yield runner
    runner.close()


token = st.builds(str.__add__, st.sampled_from(["", "urn:a|", "urn:b|"]), st.sampled_from("xyzZ"))
dates = st.builds(str.__add__, st.sampled_from(PREFIXES), st.sampled_from(DATES))
number = st.integers(0, 4).map(str)
local = st.builds(lambda base, type_, id_: f"{base}{type_}/{id_}", st.sampled_from(["", "http://far/"]),
                  st.sampled_from(["Patient", "Group", "Practitioner"]), number)  # fmt: skip
COMPOSITION: dict[str, Any] = {
    "_id": st.builds(lambda n: f"c{n}", st.integers(0, 60)),
    "_tag": token,
    "_profile": number.map("http://p/{}".format) | st.just(PROFILES[-1]),
    "_profile:below": st.sampled_from(["http:", "http://p", "http://hl7.org/fhir/", PROFILES[-1]]),
    "type": token,
    "type:not": token,
    "status": st.sampled_from(["final", "preliminary", "http://hl7.org/fhir/composition-status|final"]),
    "title": st.sampled_from(["dis", "DISCHARGE s", "ærz", "x"]),
    "title:contains": st.sampled_from(["charge", "brief"]),
    "title:exact": st.sampled_from(["discharge", "Discharge"]),
    "date": dates,
    "date:missing": st.sampled_from(["true", "false"]),
    "subject:missing": st.sampled_from(["true", "false"]),
    "_id:not": st.just("c1"),
    "period": dates,
    "context": token,
    "identifier": st.sampled_from(["A", "urn:i|A", "urn:i|", "|A"]),
    "subject": local | number,
    "patient": number | local,
    "subject:Group": number,
    "author": local | number,
    "related-ref": st.builds("Composition/{}".format, number),
    "patient.family": st.sampled_from("abcd"),
    "subject:Patient.name": st.sampled_from("abcd"),
    "subject.name": st.sampled_from("abcd"),
    "subject._has:Composition:subject:title": st.sampled_from(["dis", "ærz"]),
    "author:Practitioner.identifier": number.map("n{}".format),
    "_filter": st.sampled_from(
        [
            "type eq x",
            "not (date ge 2021)",
            "type ne x or title ew SUMMARY",
            "patient.family eq b",
            "subject.name sw b or author.identifier eq n1",
            "date pr false",
        ]
    ),
}
HEADER: dict[str, Any] = {
    "event": token,
    "source": st.sampled_from(["acme", "other"]),
    "source-uri": number.map("http://s/{}".format),
    "destination-uri": number.map("http://d/{}".format),
    "sender": number | number.map("Organization/{}".format),
    "sender.name": number.map("org {}".format),
    "focus": number.map("Patient/{}".format),
    "focus:Patient.family": st.sampled_from("abcd"),
    "response-id": number,
    "response-id:missing": st.sampled_from(["true", "false"]),
    "code": st.sampled_from(["ok", "fatal-error"]),
}


def _asked(params: dict[str, Any]) -> Any:
    one = st.sampled_from(sorted(params)).flatmap(lambda name: st.tuples(st.just(name), params[name]))
    return st.lists(one, min_size=1, max_size=2)


examples = settings(
    max_examples=share(200),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


def _url(params: list[tuple[str, str]], code: str = "") -> str:
    """The parameters of a search, each at the end of a chain where `code` is given."""
    pairs = []
    for name, value in params:
        if name == "_filter":
            pairs.append((name, _within(code, value) if code else value))
        else:
            pairs.append((f"{code}.{name}" if code else name, value))
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in pairs)


def _within(code: str, text: str) -> str:
    """The filter as one on the resource within."""
    return f"{code}[{text}]._id pr true"


@examples
@given(_asked(COMPOSITION))
def test_documents(db: Runner, asked: list[tuple[str, str]]) -> None:
    found = db.ids(f"Bundle?{_url(asked, 'composition')}")
    assert found == db.ids(f"Composition?{_url(asked)}")


@examples
@given(_asked(HEADER))
def test_messages(db: Runner, asked: list[tuple[str, str]]) -> None:
    assert db.ids(f"Bundle?{_url(asked, 'message')}") == db.ids(f"MessageHeader?{_url(asked)}")


def test_every_parameter_finds_something(db: Runner) -> None:
    for url, least in (
        ("composition.date=ge2020", 10),
        ("composition.patient=1", 1),
        ("composition:Composition.patient.family=b", 1),
        ("composition.title:contains=charge&type=document", 10),
        ("message.event=x", 5),
    ):
        found = db.ids(f"Bundle?{url}")
        assert len(found) >= least, url
        assert "empty" not in found and "collected" not in found
        assert db.run(db.harness.count(f"Bundle?{url}")) == len(found)


def test_which_bundles_have_one(db: Runner) -> None:
    everything = {r["id"] for r in POPULATION if r["resourceType"] == "Bundle"}
    documents = {id_ for id_ in everything if id_.startswith("c") and id_ != "collected"}
    assert db.ids("Bundle?composition:missing=false") == documents
    assert db.ids("Bundle?composition:missing=true") == everything - documents
    assert db.ids("Bundle?_filter=message%20pr%20true") == {id_ for id_ in everything if id_.startswith("m")}


def test_by_the_id_within(db: Runner) -> None:
    for url in (
        "composition=c1,Composition/c2",
        "composition:Composition=c1,c2",
        "composition=http://localhost/fhir/Composition/c1,c2",
        "_filter=composition%20re%20Composition/c1%20or%20composition%20re%20Composition/c2",
    ):
        assert db.ids(f"Bundle?{url}") == {"c1", "c2"}, url
    assert db.ids("Bundle?composition=not-first") == set()
    assert db.ids("Bundle?message=m3") == {"m3"}


def test_the_bundle_has_its_own_values(db: Runner) -> None:
    """What is within is not mistaken for what it is within: ids, tags and dates."""
    assert db.ids("Bundle?_tag=urn:a|x") == set()
    assert db.ids("Bundle?composition.date=2019") == set()
    assert len(db.ids("Bundle?timestamp=2019")) == 121
    assert db.ids("Composition?identifier=A") < {
        r["id"] for r in POPULATION if r["resourceType"] == "Composition"
    }
    assert db.ids("Patient?_has:Composition:patient:_id=not-first") == set()
    assert db.ids("Bundle?composition._lastUpdated:missing=false") == set()


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("composition=http://elsewhere/Composition/c1", "composition.[parameter] searches contents"),
        ("composition=Composition/c1/_history/1", "is not an id or Composition/[id]"),
        ("message=Composition/m1", "is not an id or MessageHeader/[id]"),
        ("composition:MessageHeader=c1", "not"),
        ("composition:identifier=x", "identifier"),
        ("composition:MessageHeader.event=x", "is a Composition, not a MessageHeader"),
        ("composition.titel=x", "alike: title"),
        ("composition._has:Observation:subject:code=x", "nothing refers to a resource within another"),
        ("composition._list=1", "nothing refers to a resource within another"),
        ("composition._text=x", "a resource within another has no words of its own"),
        ("_include=Bundle:composition", "is a resource within the Bundle"),
        ("_sort=composition", "is a resource within the Bundle"),
        ("_filter=composition%20eq%20Composition/1", "it has re, pr"),
    ],
)
def test_refused(url: str, what: str) -> None:
    with pytest.raises(FhirError) as caught:
        query(f"Bundle?{url}")
    assert what in str(caught.value)
