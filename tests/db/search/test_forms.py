"""Each form of each parameter type, through the index and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from fhirserver.errors import Invalid
from fhirserver.search.compile import types_statement
from fhirserver.search.context import Context
from tests.db.search.harness import KEYS, NOW, REGISTRY, Harness, harness, query


@pytest.fixture
async def db(database: str) -> AsyncIterator[Harness]:
    async with harness(database) as found:
        await found.clear()
        await found.put_all(RESOURCES)
        yield found


def observation(id_: str, **content: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]},
        **content,
    }


def quantity(value: str, code: str, system: str = "http://unitsofmeasure.org", **more: Any) -> dict[str, Any]:
    return {"value": Decimal(value), "unit": code, "system": system, "code": code, **more}


RESOURCES: list[dict[str, Any]] = [
    {
        "resourceType": "Patient",
        "id": "peter",
        "meta": {
            "tag": [{"system": "http://t", "code": "a"}],
            "profile": ["http://p/x|1.0"],
            "source": "urn:s",
        },
        "identifier": [{"system": "urn:mrn", "value": "AB1"}],
        "active": True,
        "name": [{"family": "Müller", "given": ["Peter", "James"]}],
        "gender": "male",
        "telecom": [{"system": "phone", "value": "9"}, {"system": "email", "value": "p@x"}],
        "birthDate": "1974-12-25",
        "generalPractitioner": [{"reference": "Practitioner/p1"}],
        "managingOrganization": {"identifier": {"system": "urn:org", "value": "o-1"}},
    },
    {
        "resourceType": "Patient",
        "id": "anna",
        "identifier": [{"value": "ab1"}],
        "name": [{"family": "van den Berg", "given": ["Anna"]}],
        "gender": "female",
        "telecom": [{"system": "email", "value": "a@x"}, {"system": "phone", "value": "5"}],
        "birthDate": "1980",
        "generalPractitioner": [{"reference": "http://localhost/fhir/Practitioner/p2"}],
    },
    {
        "resourceType": "Patient",
        "id": "empty",
        "generalPractitioner": [{"reference": "http://other/fhir/Practitioner/p1"}],
    },
    {"resourceType": "Practitioner", "id": "p1", "name": [{"family": "House"}]},
    {"resourceType": "Practitioner", "id": "p2", "name": [{"family": "Wilson"}]},
    observation(
        "o1",
        subject={"reference": "Patient/peter"},
        effectiveDateTime="2020-05-01T10:00:00Z",
        valueQuantity=quantity("1", "g"),
    ),
    observation(
        "o2",
        subject={"reference": "Patient/peter/_history/3"},
        effectiveDateTime="2020-06",
        valueQuantity=quantity("1000", "mg"),
        status="preliminary",
    ),
    observation(
        "o3",
        subject={"reference": "Patient/anna"},
        effectivePeriod={"start": "2019-01-01", "end": "2020-12-31"},
        valueQuantity={"value": Decimal("7"), "unit": "tablets"},
    ),
    observation("o4", subject={"reference": "Group/g1"}, valueCodeableConcept={"coding": [{"code": "pos"}]}),
    observation(
        "bp",
        subject={"reference": "Patient/anna"},
        effectiveDateTime="2021-01-01",
        code={"coding": [{"system": "http://loinc.org", "code": "85354-9"}]},
        performer=[{"reference": "Practitioner/p1"}],
        component=[
            {
                "code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]},
                "valueQuantity": quantity("140", "mm[Hg]"),
            },
            {
                "code": {"coding": [{"system": "http://loinc.org", "code": "8462-4"}]},
                "valueQuantity": quantity("90", "mm[Hg]"),
            },
        ],
    ),
]

RESOURCES += [
    {
        "resourceType": "MolecularSequence",
        "id": "m1",
        "coordinateSystem": 0,
        "referenceSeq": {
            "chromosome": {"coding": [{"code": "7"}]},
            "referenceSeqId": {"coding": [{"system": "urn:seq", "code": "NC_7"}]},
            "windowStart": 100,
            "windowEnd": 200,
        },
        "variant": [{"start": 110, "end": 120}, {"start": 150, "end": 160}],
    },
    {
        "resourceType": "DocumentReference",
        "id": "d1",
        "status": "current",
        "content": [{"attachment": {"title": "x"}}],
        "relatesTo": [
            {"code": "replaces", "target": {"reference": "DocumentReference/old"}},
            {"code": "appends", "target": {"reference": "DocumentReference/other"}},
        ],
    },
    {
        "resourceType": "Questionnaire",
        "id": "q1",
        "status": "active",
        "url": "http://q/1",
        "version": "2.0",
        "useContext": [
            {
                "code": {"system": "urn:c", "code": "age"},
                "valueRange": {
                    "low": {"value": 10, "system": "http://unitsofmeasure.org", "code": "a"},
                    "high": {"value": 20, "system": "http://unitsofmeasure.org", "code": "a"},
                },
            },
            {
                "code": {"system": "urn:c", "code": "focus"},
                "valueCodeableConcept": {"coding": [{"code": "flu"}]},
            },
        ],
    },
    {
        "resourceType": "QuestionnaireResponse",
        "id": "qr1",
        "status": "completed",
        "questionnaire": "http://q/1|2.0",
    },
    {
        "resourceType": "Location",
        "id": "here",
        "position": {"latitude": Decimal("52.52"), "longitude": Decimal("13.405")},
    },
    {
        "resourceType": "Location",
        "id": "there",
        "position": {"latitude": Decimal("48.137"), "longitude": Decimal("11.575")},
    },
    {
        "resourceType": "Location",
        "id": "west",
        "position": {"latitude": Decimal("0"), "longitude": Decimal("-179.9")},
    },
    {
        "resourceType": "Appointment",
        "id": "a1",
        "status": "booked",
        "participant": [
            {"actor": {"reference": "Patient/peter"}, "status": "accepted"},
            {"actor": {"reference": "Patient/anna"}, "status": "accepted"},
            {"actor": {"reference": "Practitioner/p1"}, "status": "accepted"},
        ],
    },
]

CASES: list[tuple[str, set[str]]] = [
    # composites of other shapes
    ("MolecularSequence?chromosome-variant-coordinate=7$110$120", {"m1"}),
    ("MolecularSequence?chromosome-variant-coordinate=7$110$160", set()),
    ("MolecularSequence?chromosome-variant-coordinate=7$gt140$lt170", {"m1"}),
    ("MolecularSequence?chromosome-window-coordinate=7$ge100$le200", {"m1"}),
    ("MolecularSequence?referenceseqid-variant-coordinate=urn:seq|nc_7$ge150$160", {"m1"}),
    ("DocumentReference?relationship=replaces$DocumentReference/old", {"d1"}),
    ("DocumentReference?relationship=replaces$old,appends$nothing", {"d1"}),
    ("DocumentReference?relationship=replaces$DocumentReference/other", set()),
    ("Questionnaire?context-type-quantity=age$15", set()),
    ("Questionnaire?context-type-quantity=age$gt15", {"q1"}),
    ("Questionnaire?context-type-quantity=urn:c|age$sa9|http://unitsofmeasure.org|a", {"q1"}),
    ("Questionnaire?context-type-quantity=focus$gt1", set()),
    ("Questionnaire?context-type-value=focus$flu", {"q1"}),
    ("Questionnaire?context-type-value=age$flu", set()),
    # canonicals, places, several patients
    ("QuestionnaireResponse?questionnaire=http://q/1", {"qr1"}),
    ("QuestionnaireResponse?questionnaire=http://q/1|2.0", {"qr1"}),
    ("QuestionnaireResponse?questionnaire=http://q/1|3.0", set()),
    ("Location?near=52.5|13.4|5|km", {"here"}),
    ("Location?near=52.5|13.4|600", {"here", "there"}),
    ("Location?near=52.5|13.4|1|m", set()),
    ("Location?near=0|179.9|30|km", {"west"}),
    ("Location?near=52.5|13.4|5|km,48.1|11.5|20", {"here", "there"}),
    ("Appointment?patient=peter", {"a1"}),
    ("Appointment?patient=peter&patient=anna", {"a1"}),
    ("Appointment?patient.name=anna&practitioner=p1", {"a1"}),
    ("Patient/anna/Appointment?", {"a1"}),
    ("Practitioner/p1/*?_type=Appointment,Observation,Patient", {"a1", "bp", "peter"}),
    ("Patient?_has:Appointment:patient:status=booked", {"peter", "anna"}),
    # string
    ("Patient?name=mul", {"peter"}),
    ("Patient?name=MÜLLER", {"peter"}),
    ("Patient?family:exact=Müller", {"peter"}),
    ("Patient?family:exact=Muller", set()),
    ("Patient?family:contains=den", {"anna"}),
    ("Patient?given=james", {"peter"}),
    ("Patient?given=james,anna", {"peter", "anna"}),
    ("Patient?given=james&given=peter", {"peter"}),
    ("Patient?given=james&given=anna", set()),
    ("Patient?name:missing=true", {"empty"}),
    ("Patient?name:missing=false", {"peter", "anna"}),
    (r"Patient?name=a\,b", set()),
    ("Patient?name:exact=%25", set()),
    ("Patient?family=berg", {"anna"}),
    ("Patient?family=den-berg", {"anna"}),
    ("Patient?_id:missing=true", set()),
    ("Patient?_id:missing=false&_lastUpdated:missing=false", {"peter", "anna", "empty"}),
    ("Patient?_id:not=peter,empty", {"anna"}),
    ("Questionnaire?url=http://q/1", {"q1"}),
    ("Questionnaire?url=http://q/1|2.0", {"q1"}),
    ("Questionnaire?url=http://q/1|3.0,http://q/2", set()),
    # token
    ("Patient?identifier=AB1", {"peter"}),
    ("Patient?identifier=ab1", {"anna"}),
    ("Patient?identifier=urn:mrn|AB1", {"peter"}),
    ("Patient?identifier=urn:mrn|", {"peter"}),
    ("Patient?identifier=|ab1", {"anna"}),
    ("Patient?identifier=|AB1", set()),
    ("Patient?identifier=urn:x|AB1", set()),
    ("Patient?gender=male", {"peter"}),
    ("Patient?gender=http://hl7.org/fhir/administrative-gender|male", {"peter"}),
    ("Patient?gender:not=male", {"anna", "empty"}),
    ("Patient?gender:not=male,female", {"empty"}),
    ("Patient?active=true", {"peter"}),
    ("Patient?gender:missing=true", {"empty"}),
    ("Patient?_tag=http://t|a", {"peter"}),
    ("Observation?status=preliminary", {"o2"}),
    ("Observation?code=HTTP://LOINC.ORG|8480-6", set()),
    ("Observation?value-concept=POS", {"o4"}),
    ("Observation?combo-code=8480-6", {"o1", "o2", "o3", "o4", "bp"}),
    ("Observation?combo-code:not=8462-4", {"o1", "o2", "o3", "o4"}),
    ("Observation?combo-value-quantity:missing=true", {"o4"}),
    # uri
    ("Patient?_profile=http://p/x", {"peter"}),
    ("Patient?_profile=http://p/x|1.0", {"peter"}),
    ("Patient?_source=urn:s", {"peter"}),
    # reference
    ("Patient?general-practitioner=p1", {"peter"}),
    ("Patient?general-practitioner=Practitioner/p1", {"peter"}),
    ("Patient?general-practitioner:Practitioner=p1", {"peter"}),
    ("Patient?general-practitioner=http://localhost/fhir/Practitioner/p2", {"anna"}),
    ("Patient?general-practitioner=http://other/fhir/Practitioner/p1", {"empty"}),
    ("Patient?organization:identifier=urn:org|o-1", {"peter"}),
    ("Observation?patient=peter", {"o1", "o2"}),
    ("Observation?subject=Patient/peter", {"o1", "o2"}),
    ("Observation?subject=Patient/peter/_history/3", {"o2"}),
    ("Observation?subject=peter,Group/g1", {"o1", "o2", "o4"}),
    ("Observation?subject:Group=g1", {"o4"}),
    ("Observation?subject:missing=false&performer:missing=false", {"bp"}),
    ("Observation?patient=anna&code=85354-9", {"bp"}),
    ("Observation?patient=anna&code=http://loinc.org|8480-6,x", {"o3"}),
    # date
    ("Patient?birthdate=1974", {"peter"}),
    ("Patient?birthdate=1980-01-01", set()),
    ("Patient?birthdate=1980", {"anna"}),
    ("Patient?birthdate=gt1979", {"anna"}),
    ("Patient?birthdate=ne1980", {"peter"}),
    ("Patient?birthdate=lt1975,gt1979", {"peter", "anna"}),
    ("Observation?date=2020-05-01", {"o1"}),
    ("Observation?date=2020", {"o1", "o2"}),
    ("Observation?date=ge2020-06-15", {"o2", "o3", "bp"}),
    ("Observation?date=gt2020", {"bp"}),
    ("Observation?date=sa2020", {"bp"}),
    ("Observation?date=lt2020", {"o3"}),
    ("Observation?date=eb2020-06", {"o1"}),
    ("Observation?date=ge2020-05-01&date=lt2020-06", {"o1", "o3"}),
    ("Observation?date=gt2020-12-31", {"bp"}),
    ("Observation?date=ge2020-12-31", {"bp", "o3"}),
    ("Observation?date=ge2019&date=le2019", {"o3"}),
    ("Observation?date=gt2020-05-01T10:00:00Z&date=lt2020-06", {"o3"}),
    ("Observation?date=gt2020-05-01T09:59:59Z&date=lt2020-06", {"o1", "o3"}),
    ("Observation?date:missing=true", {"o4"}),
    ("Patient?_lastUpdated=gt2000", {"peter", "anna", "empty"}),
    ("Patient?_lastUpdated=lt2000", set()),
    ("Observation?_lastUpdated=gt2000&status=preliminary", {"o2"}),
    ("Observation?_lastUpdated=lt2000,gt2001&code=85354-9", {"bp"}),
    ("Observation?_lastUpdated=lt2000", set()),
    ("Observation?_lastUpdated=ne2000&status=preliminary", {"o2"}),
    # quantity
    ("Observation?value-quantity=1|http://unitsofmeasure.org|g", {"o1", "o2"}),
    ("Observation?value-quantity=1000|http://unitsofmeasure.org|mg", {"o1", "o2"}),
    ("Observation?value-quantity=1", {"o1"}),
    ("Observation?value-quantity=1000||mg", {"o2"}),
    ("Observation?value-quantity=7||tablets", {"o3"}),
    ("Observation?value-quantity=ge7", {"o2", "o3"}),
    ("Observation?code=8480-6&value-quantity=ge7", {"o2", "o3"}),
    ("Observation?component-value-quantity=gt100||mm[Hg]", {"bp"}),
    ("Observation?component-value-quantity=18.7|http://unitsofmeasure.org|kPa", {"bp"}),
    # composite
    ("Observation?code-value-quantity=8480-6$gt5", {"o2", "o3"}),
    ("Observation?code-value-quantity=http://loinc.org|8480-6$1|http://unitsofmeasure.org|g", {"o1", "o2"}),
    ("Observation?component-code-value-quantity=8480-6$140", {"bp"}),
    ("Observation?component-code-value-quantity=http://loinc.org|8480-6$90", set()),
    (
        "Observation?component-code-value-quantity=http://loinc.org|8462-4$le90|http://unitsofmeasure.org|mm[Hg]",
        {"bp"},
    ),
    ("Observation?component-code-value-quantity=8480-6$140||mm[Hg]", {"bp"}),
    ("Observation?component-code-value-quantity=http://loinc.org|8480-6$gt100||mm[Hg]", {"bp"}),
    ("Observation?component-code-value-quantity=8480-6$140||kPa", set()),
    ("Observation?component-code-value-quantity=8480-6$90||mm[Hg]", set()),
    ("Observation?combo-code-value-quantity=8480-6$7||tablets", {"o3"}),
    ("Observation?combo-code-value-quantity=8480-6$ge1", {"o1", "o2", "o3", "bp"}),
    # chains
    ("Observation?subject:Patient.name=peter", {"o1", "o2"}),
    ("Observation?patient.identifier=ab1", {"o3", "bp"}),
    ("Observation?patient.gender=female", {"o3", "bp"}),
    ("Observation?performer:Practitioner.family=house", {"bp"}),
    ("Observation?patient.general-practitioner.family=wilson", {"o3", "bp"}),
    ("Patient?general-practitioner:Practitioner.name=house", {"peter"}),
    ("Patient?_has:Observation:patient:status=preliminary", {"peter"}),
    ("Patient?_has:Observation:patient:code=85354-9", {"anna"}),
    ("Practitioner?_has:Observation:performer:component-code=8462-4", {"p1"}),
    ("Practitioner?_has:Patient:general-practitioner:_has:Observation:patient:code=85354-9", {"p2"}),
    # ids and compartments
    ("Patient?_id=peter,anna,nobody", {"peter", "anna"}),
    ("Patient/anna/Observation?", {"o3", "bp"}),
    ("Patient/anna/Observation?code=85354-9", {"bp"}),
    ("Practitioner/p1/Observation?", {"bp"}),
    ("Patient/peter/Patient?", {"peter"}),
    ("Patient/peter/*?_type=Patient,Observation", {"peter", "o1", "o2"}),
    ("?_type=Patient,Practitioner&_id=peter,p1", {"peter", "p1"}),
]


async def test_forms(db: Harness) -> None:
    for url, expected in CASES:
        found = await db.ids(url)
        assert len(found) == len(set(found)), url
        assert set(found) == expected, url
        assert await db.count(url) == len(expected), url


SORTED: list[tuple[str, list[str]]] = [
    ("Patient?_sort=birthdate", ["peter", "anna", "empty"]),
    ("Patient?_sort=-birthdate", ["anna", "peter", "empty"]),
    ("Patient?_sort=family", ["peter", "anna", "empty"]),
    ("Patient?_sort=-given", ["peter", "anna", "empty"]),
    ("Patient?_sort=gender,-_id", ["anna", "peter", "empty"]),
    ("Patient?_sort=_id", ["anna", "empty", "peter"]),
    ("Patient?_sort=-_id&_id=anna,peter", ["peter", "anna"]),
    ("Observation?", ["bp", "o2", "o1", "o3", "o4"]),
    ("Observation?_sort=date", ["o3", "o1", "o2", "bp", "o4"]),
    ("Observation?_sort=-date", ["bp", "o2", "o1", "o3", "o4"]),
    ("Observation?patient=peter,anna&_sort=date", ["o3", "o1", "o2", "bp"]),
    ("Observation?code=8480-6&_sort=value-quantity,_id", ["o1", "o3", "o2", "o4"]),
    ("Observation?_sort=-value-quantity,_id", ["o2", "o3", "o1", "bp", "o4"]),
    ("Observation?date=ge2019&_sort=-value-quantity,_id", ["o2", "o3", "o1", "bp"]),
    ("Observation?_sort=subject,_id", ["o4", "bp", "o3", "o1", "o2"]),
    ("Observation?_sort=patient,_id", ["bp", "o3", "o1", "o2", "o4"]),
    ("Patient?_sort=email", ["anna", "peter", "empty"]),
    ("Patient?_sort=-phone", ["peter", "anna", "empty"]),
]


async def test_sorts(db: Harness) -> None:
    for url, expected in SORTED:
        assert await db.ids(url) == expected, url


async def test_who_asks_for_what_came_later_loses_nothing(db: Harness) -> None:
    """However much of the instant the asker kept: clients cut microseconds to milliseconds or seconds."""
    updated: datetime = await db.connection.fetchval("SELECT max(updated) FROM resource")
    whole = updated.isoformat(timespec="microseconds").replace("+00:00", "Z")
    everything = set(await db.ids("Patient?"))
    assert set(await db.ids(f"Patient?_lastUpdated=gt{whole}")) == set()
    assert set(await db.ids(f"Patient?_lastUpdated=ge{whole}")) == everything
    assert set(await db.ids(f"Patient?_lastUpdated=lt{whole}")) == set()
    for cut in (whole[:19] + "Z", whole[:23] + "Z"):
        exact = datetime.fromisoformat(cut) == updated
        assert set(await db.ids(f"Patient?_lastUpdated=gt{cut}")) == (set() if exact else everything)
        for prefix in ("ge", "le", ""):
            assert set(await db.ids(f"Patient?_lastUpdated={prefix}{cut}")) == everything
        for prefix in ("sa", "lt", "eb", "ne"):
            assert set(await db.ids(f"Patient?_lastUpdated={prefix}{cut}")) == set()
    assert set(await db.ids(f"Patient?_lastUpdated=gt{whole[:10]}")) == set()


async def test_the_last_update_orders_types_with_and_without_a_clinical_date(db: Harness) -> None:
    """`resource.ord` means one thing in one type and another in the next."""
    await db.put({"resourceType": "Account", "id": "x", "status": "active"})
    await db.put(observation("last", effectiveDateTime="1999"))
    url = "?_type=Account,Observation&_id=x,o1,last&_sort=-_lastUpdated"
    assert await db.ids(url) == ["last", "x", "o1"]
    assert await db.ids(url.replace("=-", "=")) == ["o1", "x", "last"]


async def test_a_resource_in_a_bundle_is_no_reference(db: Harness) -> None:
    inside = {"resourceType": "Composition", "id": "c", "title": "Inside"}
    await db.put({"resourceType": "Bundle", "id": "b", "type": "document", "entry": [{"resource": inside}]})
    keys: list[int] = await db.connection.fetchval("SELECT keys FROM resource_bundle WHERE id = 'b'")
    target = KEYS.target("Composition", "c")
    assert KEYS.param("Bundle", "composition") ^ target not in keys


async def test_only_types_that_have_something_are_searched(db: Harness) -> None:
    async def types(url: str) -> set[str]:
        text, args = types_statement(query(url), Context(REGISTRY, KEYS, NOW)).numbered()
        rows = await db.connection.fetch(text, *args)
        assert all(row["snapshot"] for row in rows)
        return {row["type"] for row in rows if row["type"] is not None}

    stored = {resource["resourceType"] for resource in RESOURCES}
    assert await types("?_tag=http://t|a") == stored
    assert await types("?_id=peter,nobody") == {"Patient"}
    assert await types("?_id:not=peter") == stored
    assert await types("?_id=nobody") == set()
    assert query("?_id=nobody").only(set()).types == ("Account",)
    assert query("?_id=peter").only({"Patient", "Group"}).types == ("Group", "Patient")


async def test_a_value_of_punctuation_alone_is_refused(db: Harness) -> None:
    with pytest.raises(Invalid, match="no letter or digit"):
        await db.ids("Patient?name=%25")


async def test_the_case_of_a_uri_counts_beside_codes(db: Harness) -> None:
    """An event is a Coding or a URI; only `_filter` finds a URI in another case."""
    for id_, uri in (("capitals", "http://URI.example/A"), ("small", "http://uri.example/a")):
        await db.put({"resourceType": "MessageDefinition", "id": id_, "status": "draft", "eventUri": uri})
    coding = {"system": "http://uri.example", "code": "Http://Uri.Example/A"}
    await db.put(
        {"resourceType": "MessageDefinition", "id": "code", "status": "draft", "eventCoding": coding}
    )
    found = set(await db.ids("MessageDefinition?event=http://uri.example/a"))
    assert found == {"small", "code"}
    assert await db.ids("MessageDefinition?event:not=http://uri.example/a") == ["capitals"]
    alike = "MessageDefinition?_filter=event%20eq%20http://uri.example/a"
    assert set(await db.ids(alike)) == {"capitals", "small", "code"}
