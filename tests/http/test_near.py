"""How far the matches of `near` are away: https://hl7.org/fhir/R4/extension-location-distance.html"""

from __future__ import annotations

import httpx
import pytest

from fhirserver.fhir import json
from fhirserver.fhir.validate import issues
from tests.http.support import put

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient


async def test_the_distance_of_a_match_is_given(http: Http) -> None:
    here = {"latitude": 52.5, "longitude": 13.4}
    await put(http, {"resourceType": "Location", "id": "here", "position": here})
    await put(http, {"resourceType": "Location", "id": "there", "position": here | {"longitude": 13.5}})
    role = {"resourceType": "PractitionerRole", "id": "r", "location": [{"reference": "Location/here"}]}
    await put(http, role)
    response = await http.get("/Location?near=52.5|13.4|10|km&_revinclude=PractitionerRole:location")
    assert issues(json.loads(response.content)) == []
    answer = response.json()
    search = {entry["resource"]["id"]: entry["search"] for entry in answer["entry"]}
    assert search["r"] == {"mode": "include"}
    (extension,) = search["here"]["extension"]
    assert search["here"]["mode"] == "match"
    assert extension == {
        "url": "http://hl7.org/fhir/StructureDefinition/location-distance",
        "valueDistance": {"value": 0, "unit": "km", "system": "http://unitsofmeasure.org", "code": "km"},
    }
    away = search["there"]["extension"][0]["valueDistance"]["value"]
    assert away == pytest.approx(6.77, abs=0.01)
    miles = (await http.post("/Location/_search", data={"near": "52.5|13.4|6|[mi_i]"})).json()
    by_id = {entry["resource"]["id"]: entry["search"]["extension"][0] for entry in miles["entry"]}
    assert by_id["there"]["valueDistance"]["value"] == pytest.approx(away / 1.609344, abs=0.001)
    assert by_id["there"]["valueDistance"]["code"] == "[mi_i]"
    xml = await http.get("/Location?near=52.5|13.4&_id=there", headers={"Accept": "application/fhir+xml"})
    assert '<valueDistance><value value="6.7' in xml.text
    for order, filter_ in (
        ("near", "_id%20eq%20here%20or%20_id%20eq%20there"),
        ("-near", "not%20(_id%20eq%20x)"),
    ):
        sorted_ = (await http.get(f"/Location?near=52.5|13.4&_filter={filter_}&_sort={order}")).json()
        distances = [one["search"]["extension"][0]["valueDistance"]["value"] for one in sorted_["entry"]]
        assert distances == ([0, pytest.approx(away)] if order == "near" else [pytest.approx(away), 0])
    plain = (await http.get("/Location?_id=here")).json()
    assert plain["entry"][0]["search"] == {"mode": "match"}
