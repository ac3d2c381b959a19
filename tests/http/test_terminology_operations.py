"""Operations of a terminology service, through the door.

https://hl7.org/fhir/R4/valueset-operations.html, https://hl7.org/fhir/R4/codesystem-operations.html
"""

from typing import Any

import httpx
import pytest
import pytest_asyncio

from fhirserver.fhir.validate import issues
from tests.http.support import put
from tests.support.terminology import code_system, concept, filtered, value_set

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient
TREE = "http://example.org/tree"
HEART = "http://example.org/vs/heart"
GENDER = "http://hl7.org/fhir/administrative-gender"
GENDERS = "http://hl7.org/fhir/ValueSet/administrative-gender"
R4 = "http://hl7.org/fhir/ValueSet"
V3 = "http://terminology.hl7.org/CodeSystem/v3-ActMood"
GERMAN = {"language": "de", "value": "Herz"}


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def data(http: Http) -> None:
    heart = concept(
        "heart", concept("valve", concept("mitral")), concept("rhythm", inactive=("Boolean", True))
    )
    heart |= {"designation": [GERMAN], "definition": "What beats."}
    group = concept("group", concept("lung"), notSelectable=("Boolean", True))
    tree = code_system(heart, group, url=TREE, version="2", name="Tree", hierarchyMeaning="is-a")
    await put(http, {**tree, "id": "tree"})
    await put(http, {**value_set(filtered("concept", "is-a", "heart", TREE), url=HEART), "id": "heart"})


async def ask(http: Http, path: str, status: int = 200, **params: Any) -> Any:
    """By GET; names with a dash are written with an underscore."""
    answer = await http.get(path, params={name.replace("_", "-"): value for name, value in params.items()})
    assert answer.status_code == status, answer.text
    assert issues(answer.json()) == [], answer.text
    return answer.json()


async def post(http: Http, path: str, *parameters: dict[str, Any], status: int = 200) -> Any:
    body = {"resourceType": "Parameters"} | ({"parameter": list(parameters)} if parameters else {})
    answer = await http.post(path, json=body)
    assert answer.status_code == status, answer.text
    assert issues(answer.json()) == [], answer.text
    return answer.json()


def codes(value_set_: dict[str, Any]) -> list[str]:
    return [one["code"] for one in value_set_["expansion"].get("contains", ())]


def values(parameters: dict[str, Any]) -> dict[str, Any]:
    return {
        part["name"]: next(value for key, value in part.items() if key.startswith("value"))
        for part in parameters["parameter"]
        if any(key.startswith("value") for key in part)
    }


def said(outcome: dict[str, Any]) -> tuple[str, str]:
    return outcome["issue"][0]["code"], outcome["issue"][0]["diagnostics"]


# -- $expand


async def test_an_expansion(http: Http) -> None:
    found = await ask(http, "/ValueSet/$expand", url=GENDERS)
    assert found["resourceType"] == "ValueSet" and found["url"] == GENDERS and found["status"] == "active"
    assert "compose" not in found
    expansion = found["expansion"]
    assert (
        expansion["identifier"].startswith("urn:uuid:")
        and expansion["timestamp"]
        and "offset" not in expansion
    )
    assert expansion["total"] == 4
    assert expansion["contains"][0] == {"system": GENDER, "code": "male", "display": "Male"}
    assert codes(found) == ["male", "female", "other", "unknown"]
    assert {"name": "version", "valueUri": f"{GENDER}|4.0.1"} in expansion["parameter"]


async def test_every_way_to_name_a_value_set(http: Http) -> None:
    expected = ["heart", "valve", "mitral", "rhythm"]
    assert codes(await ask(http, "/ValueSet/$expand", url=HEART)) == expected
    assert codes(await ask(http, "/ValueSet/heart/$expand")) == expected
    assert codes(await post(http, "/ValueSet/heart/$expand")) == expected
    assert codes(await post(http, "/ValueSet/$expand", {"name": "url", "valueUri": HEART})) == expected
    given = value_set({"valueSet": [HEART]}, exclude=[{"system": TREE, "concept": [{"code": "heart"}]}])
    assert (
        codes(await post(http, "/ValueSet/$expand", {"name": "valueSet", "resource": given})) == expected[1:]
    )
    answer = await http.post("/ValueSet/$expand", json=given)
    assert codes(answer.json()) == expected[1:]
    assert codes(await ask(http, "/ValueSet/$expand", url=f"{TREE}?fhir_vs=isa/valve")) == ["valve", "mitral"]
    assert codes(await ask(http, "/ValueSet/$expand", url=GENDERS, valueSetVersion="4.0.1"))
    assert codes(await ask(http, "/ValueSet/$expand", url=f"{GENDERS}|4.0.1"))


async def test_pages(http: Http) -> None:
    every = codes(await ask(http, "/ValueSet/$expand", url=f"{R4}/languages"))
    paged: list[str] = []
    for offset in range(0, len(every), 10):
        page = await ask(http, "/ValueSet/$expand", url=f"{R4}/languages", offset=offset, count=10)
        assert page["expansion"]["total"] == len(every) and page["expansion"]["offset"] == offset
        paged += codes(page)
    assert paged == every and len(every) > 50
    assert codes(await ask(http, "/ValueSet/$expand", url=HEART, offset=3)) == ["rhythm"]
    counted = (await ask(http, "/ValueSet/$expand", url=HEART, count=0))["expansion"]
    assert counted["total"] == 4 and "contains" not in counted


async def test_what_is_left_out_and_what_is_added(http: Http) -> None:
    whole = f"{TREE}?fhir_vs"
    assert codes(await ask(http, "/ValueSet/$expand", url=HEART, activeOnly="true")) == [
        "heart",
        "valve",
        "mitral",
    ]
    assert codes(await ask(http, "/ValueSet/$expand", url=whole, excludeNotForUI="true")) == [
        "heart",
        "valve",
        "mitral",
        "rhythm",
        "lung",
    ]
    contains = (await ask(http, "/ValueSet/$expand", url=whole))["expansion"]["contains"]
    by_code = {one["code"]: one for one in contains}
    assert by_code["group"]["abstract"] is True and by_code["rhythm"]["inactive"] is True
    assert codes(await ask(http, "/ValueSet/$expand", url=whole, filter="LU")) == ["lung"]
    assert codes(await ask(http, "/ValueSet/$expand", url=whole, filter="herz")) == ["heart"]
    assert codes(await ask(http, "/ValueSet/$expand", url=whole, exclude_system=TREE)) == []
    assert codes(await ask(http, "/ValueSet/$expand", url=whole, exclude_system=f"{TREE}|1"))
    german = (await ask(http, "/ValueSet/$expand", url=HEART, displayLanguage="de-CH"))["expansion"]
    assert [one["display"] for one in german["contains"]] == ["Herz", "VALVE", "MITRAL", "RHYTHM"]
    assert {"name": "displayLanguage", "valueCode": "de-CH"} in german["parameter"]
    full = await ask(
        http, "/ValueSet/$expand", url=HEART, includeDesignations="true", includeDefinition="true"
    )
    assert full["expansion"]["contains"][0]["designation"] == [GERMAN]
    assert full["compose"] == value_set(filtered("concept", "is-a", "heart", TREE))["compose"]


async def test_nested(http: Http) -> None:
    found = await ask(http, "/ValueSet/$expand", url=f"{TREE}?fhir_vs", excludeNested="false", count=1)
    assert found["expansion"]["total"] == 6 and codes(found) == ["heart", "group"]
    heart, group = found["expansion"]["contains"]
    assert [one["code"] for one in heart["contains"]] == ["valve", "rhythm"]
    assert heart["contains"][0]["contains"][0]["code"] == "mitral" and group["contains"][0]["code"] == "lung"


async def test_versions_of_code_systems(http: Http) -> None:
    url = HEART
    assert codes(await ask(http, "/ValueSet/$expand", url=url, system_version=f"{TREE}|2"))
    for name in ("system_version", "check_system_version", "force_system_version"):
        code, text = said(await ask(http, "/ValueSet/$expand", 400, url=url, **{name: f"{TREE}|1"}))
        assert code == "not-found" and f"{TREE}|1" in text
    pinned = value_set({"system": TREE, "version": "1"})
    given = {"name": "valueSet", "resource": pinned}
    check = {"name": "check-system-version", "valueCanonical": f"{TREE}|2"}
    code, text = said(await post(http, "/ValueSet/$expand", given, check, status=422))
    assert code == "business-rule" and "'1'" in text and "'2'" in text
    forced = {"name": "force-system-version", "valueUri": f"{TREE}|2"}
    found = await post(http, "/ValueSet/$expand", given, forced)
    assert len(codes(found)) == 6
    assert {"name": "force-system-version", "valueUri": f"{TREE}|2"} in found["expansion"]["parameter"]


@pytest.mark.parametrize(
    ("params", "status", "code", "text"),
    [
        ({}, 400, "invalid", "'url', 'valueSet'"),
        ({"url": "http://example.org/unknown"}, 404, "not-found", "http://example.org/unknown"),
        ({"url": HEART, "valueSetVersion": "9"}, 404, "not-found", "'9'"),
        ({"url": f"{HEART}|8", "valueSetVersion": "9"}, 400, "invalid", "'8'"),
        ({"url": f"{R4}/mimetypes"}, 400, "too-costly", "no end"),
        ({"url": f"{R4}/ucum-units", "count": 5}, 400, "too-costly", "no end"),
        ({"url": f"{R4}/condition-code"}, 400, "not-found", "http://snomed.info/sct"),
        ({"url": HEART, "offset": -1}, 400, "invalid", "'offset' is 0 or more"),
        ({"url": HEART, "count": "many"}, 400, "invalid", "'count'"),
        ({"url": HEART, "date": "2020"}, 400, "not-supported", "date"),
        ({"url": HEART, "context": "x#y"}, 400, "not-supported", "context"),
        ({"url": HEART, "system-version": TREE}, 400, "invalid", "system|version"),
    ],
)
async def test_expansions_that_are_refused(
    http: Http, params: dict[str, Any], status: int, code: str, text: str
) -> None:
    answer = await http.get("/ValueSet/$expand", params=params)
    assert answer.status_code == status, answer.text
    told = said(answer.json())
    assert told[0] == code and text in told[1]


async def test_places_that_are_not_there(http: Http) -> None:
    assert said(await ask(http, "/ValueSet/nothing/$expand", 404))[0] == "not-found"
    assert said(await ask(http, "/CodeSystem/nothing/$subsumes", 404, codeA="a", codeB="b"))[0] == "not-found"
    assert said(await ask(http, "/ValueSet/heart/$expand", 400, url=HEART))[0] == "invalid"


# -- $validate-code on value sets


CODING = {"system": TREE, "code": "valve", "display": "Valve"}


@pytest.mark.parametrize(
    ("params", "result", "display", "text"),
    [
        ({"system": TREE, "code": "valve"}, True, "VALVE", None),
        ({"code": "valve"}, True, "VALVE", None),
        ({"system": TREE, "code": "Valve", "display": "  valve"}, True, "VALVE", None),
        ({"system": TREE, "code": "heart", "display": "herz"}, True, "HEART", None),
        ({"system": TREE, "code": "heart", "displayLanguage": "de"}, True, "Herz", None),
        ({"system": TREE, "code": "valve", "display": "Lung"}, False, "VALVE", "'Lung' is no display"),
        ({"system": TREE, "code": "lung"}, False, None, "is not in the value set"),
        ({"system": TREE, "code": "rhythm"}, True, "RHYTHM", "no longer in use"),
        ({"system": GENDER, "code": "male"}, False, None, "is not in the value set"),
        ({"code": "male"}, False, None, "is not in the value set"),
    ],
)
async def test_codes_in_a_value_set(
    http: Http, params: dict[str, str], result: bool, display: str | None, text: str | None
) -> None:
    for found in (
        await ask(http, "/ValueSet/$validate-code", url=HEART, **params),
        await ask(http, "/ValueSet/heart/$validate-code", **params),
        await post(
            http,
            "/ValueSet/$validate-code",
            {"name": "url", "valueUri": HEART},
            *({"name": name, "valueString": value} for name, value in params.items()),
        ),
    ):
        told = values(found)
        assert (told["result"], told.get("display")) == (result, display)
        assert (text in told["message"]) if text else "message" not in told


async def test_codings_and_concepts_in_a_value_set(http: Http) -> None:
    url = {"name": "url", "valueUri": HEART}
    coding = {"name": "coding", "valueCoding": CODING}
    assert values(await post(http, "/ValueSet/$validate-code", url, coding))["result"] is True
    other = {"system": TREE, "code": "lung"}
    both = {"name": "codeableConcept", "valueCodeableConcept": {"coding": [other, CODING]}}
    told = values(await post(http, "/ValueSet/$validate-code", url, both))
    assert told["result"] is True and told["display"] == "VALVE" and "'lung'" in told["message"]
    neither = {"name": "codeableConcept", "valueCodeableConcept": {"coding": [other], "text": "Lung"}}
    assert values(await post(http, "/ValueSet/$validate-code", url, neither))["result"] is False
    given = {"name": "valueSet", "resource": value_set({"system": TREE})}
    assert values(await post(http, "/ValueSet/$validate-code", given, coding))["result"] is True
    abstract = {"name": "coding", "valueCoding": {"system": TREE, "code": "group"}}
    told = values(await post(http, "/ValueSet/$validate-code", given, abstract))
    assert told["result"] is False and "abstract" in told["message"]
    allowed = {"name": "abstract", "valueBoolean": True}
    assert values(await post(http, "/ValueSet/$validate-code", given, abstract, allowed))["result"] is True


async def test_what_nobody_here_can_know_is_neither_an_error_nor_a_pass(http: Http) -> None:
    sct = "http://snomed.info/sct"
    told = values(
        await ask(http, "/ValueSet/$validate-code", url=f"{R4}/condition-code", system=sct, code="73211009")
    )
    assert told["result"] is False and told["x-unknown-system"] == sct and "is unknown" in told["message"]
    other = await ask(http, "/ValueSet/$validate-code", url=f"{R4}/condition-code", system=TREE, code="heart")
    assert values(other)["result"] is False and "x-unknown-system" not in values(other)
    version = await ask(
        http, "/ValueSet/$validate-code", url=HEART, system=TREE, code="valve", systemVersion="1"
    )
    assert values(version)["x-unknown-system"] == TREE
    told = values(await ask(http, "/CodeSystem/$validate-code", url=sct, code="73211009"))
    assert told["result"] is False and told["x-unknown-system"] == sct and "is unknown" in told["message"]
    await ask(http, "/ValueSet/$validate-code", 404, url="http://example.org/no", system=sct, code="1")


@pytest.mark.parametrize(
    ("value_set_", "system", "code", "result"),
    [
        ("ucum-units", "http://unitsofmeasure.org", "mm[Hg]", True),
        ("ucum-units", "http://unitsofmeasure.org", "mmHg2O", False),
        ("all-time-units", "http://unitsofmeasure.org", "min", True),
        ("all-time-units", "http://unitsofmeasure.org", "kg", False),
        ("mimetypes", "urn:ietf:bcp:13", "application/fhir+json", True),
        ("mimetypes", "urn:ietf:bcp:13", "text/plain; charset=utf-8", True),
        ("mimetypes", "urn:ietf:bcp:13", "picture", False),
        ("all-languages", "urn:ietf:bcp:47", "de-CH-1996", True),
        ("all-languages", "urn:ietf:bcp:47", "german", False),
        ("languages", "urn:ietf:bcp:47", "en-US", True),
        ("currencies", "urn:iso:std:iso:4217", "EUR", True),
        ("currencies", "urn:iso:std:iso:4217", "ECU", False),
        ("iso3166-1-2", "urn:iso:std:iso:3166", "NZ", True),
        ("iso3166-1-3", "urn:iso:std:iso:3166", "NZL", True),
        ("iso3166-1-3", "urn:iso:std:iso:3166", "NZ", False),
        ("timezones", "https://www.iana.org/time-zones", "Europe/Berlin", True),
    ],
)
async def test_systems_by_grammar_and_registries(
    http: Http, value_set_: str, system: str, code: str, result: bool
) -> None:
    told = values(
        await ask(http, "/ValueSet/$validate-code", url=f"{R4}/{value_set_}", system=system, code=code)
    )
    assert told["result"] is result, told


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"url": HEART}, "here none does"),
        ({"url": HEART, "system": TREE}, "'system' goes with 'code'"),
        ({"code": "x"}, "'url', 'valueSet'"),
        ({"url": HEART, "code": "valve", "abstract": "perhaps"}, "abstract"),
    ],
)
async def test_validations_that_are_refused(http: Http, params: dict[str, str], text: str) -> None:
    code, told = said(await ask(http, "/ValueSet/$validate-code", 400, **params))
    assert code == "invalid" and text in told


# -- code systems


async def test_codes_in_a_code_system(http: Http) -> None:
    path = "/CodeSystem/$validate-code"
    assert values(await ask(http, path, url=TREE, code="valve"))["display"] == "VALVE"
    assert values(await ask(http, path, url=TREE, code="nothing"))["result"] is False
    assert values(await ask(http, "/CodeSystem/tree/$validate-code", code="lung"))["result"] is True
    assert values(await ask(http, path, url="http://unitsofmeasure.org", code="mg/dL"))["result"] is True
    coding = {"name": "coding", "valueCoding": CODING}
    assert values(await post(http, "/CodeSystem/tree/$validate-code", coding))["result"] is True
    other = {"name": "coding", "valueCoding": {"system": GENDER, "code": "male"}}
    assert (
        f"is of '{GENDER}'" in values(await post(http, "/CodeSystem/tree/$validate-code", other))["message"]
    )
    given = {"name": "codeSystem", "resource": code_system(concept("x"))}
    code = {"name": "code", "valueCode": "x"}
    assert values(await post(http, path, given, code))["result"] is True
    await ask(http, "/CodeSystem/tree/$validate-code", 404, code="lung", version="9")


async def test_look_ups(http: Http) -> None:
    found = await ask(http, "/CodeSystem/$lookup", system=TREE, code="heart")
    assert values(found) == {"name": "Tree", "version": "2", "display": "HEART"}
    parts = [
        {
            part["name"]: value
            for part in one["part"]
            for key, value in part.items()
            if key.startswith("value")
        }
        for one in found["parameter"]
        if one["name"] == "property"
    ]
    assert {"code": "definition", "value": "What beats."} in parts
    assert {"code": "inactive", "value": False} in parts
    assert {"code": "child", "value": "valve", "description": "VALVE"} in parts
    (german,) = (one["part"] for one in found["parameter"] if one["name"] == "designation")
    assert german == [{"name": "language", "valueCode": "de"}, {"name": "value", "valueString": "Herz"}]
    some = await ask(http, "/CodeSystem/$lookup", system=TREE, code="mitral", property="parent")
    assert [one["part"][1]["valueCode"] for one in some["parameter"] if "part" in one] == ["valve"]
    coding = {"name": "coding", "valueCoding": {"system": TREE, "code": "heart"}}
    language = {"name": "displayLanguage", "valueCode": "de"}
    assert values(await post(http, "/CodeSystem/$lookup", coding, language))["display"] == "Herz"


async def test_look_ups_in_what_every_server_knows(http: Http) -> None:
    found = await ask(http, "/CodeSystem/$lookup", system=V3, code="RQO")
    assert values(found)["display"] == "request"
    told = await ask(http, "/CodeSystem/$lookup", system="urn:ietf:bcp:47", code="pt-BR")
    assert values(told)["display"] == "Portuguese (Brazil)"
    told = await ask(http, "/CodeSystem/$lookup", system="urn:iso:std:iso:4217", code="CHF")
    assert values(told)["display"] == "Swiss Franc"


@pytest.mark.parametrize(
    ("params", "status", "text"),
    [
        ({"system": TREE, "code": "nothing"}, 404, "no code 'nothing'"),
        ({"system": "urn:nothing", "code": "x"}, 404, "no code system 'urn:nothing'"),
        ({"system": TREE, "code": "heart", "version": "1"}, 404, f"{TREE}|1"),
        ({"code": "heart"}, 400, "'code' and 'system'"),
        ({"system": TREE, "code": "heart", "coding": f"{TREE}|x"}, 400, "not both"),
    ],
)
async def test_look_ups_that_are_refused(http: Http, params: dict[str, str], status: int, text: str) -> None:
    assert text in said(await ask(http, "/CodeSystem/$lookup", status, **params))[1]


@pytest.mark.parametrize(
    ("a", "b", "outcome"),
    [
        ("heart", "mitral", "subsumes"),
        ("mitral", "heart", "subsumed-by"),
        ("valve", "VALVE", "equivalent"),
        ("valve", "lung", "not-subsumed"),
    ],
)
async def test_subsumption(http: Http, a: str, b: str, outcome: str) -> None:
    by_codes = await ask(http, "/CodeSystem/$subsumes", system=TREE, codeA=a, codeB=b)
    at_place = await ask(http, "/CodeSystem/tree/$subsumes", codeA=a, codeB=b)
    codings = [
        {"name": f"coding{which}", "valueCoding": {"system": TREE, "code": code}}
        for which, code in (("A", a), ("B", b))
    ]
    by_codings = await post(http, "/CodeSystem/$subsumes", *codings)
    assert [values(one)["outcome"] for one in (by_codes, at_place, by_codings)] == [outcome] * 3


async def test_subsumption_that_nobody_knows(http: Http) -> None:
    await ask(http, "/CodeSystem/$subsumes", 404, system=TREE, codeA="heart", codeB="nothing")
    await ask(http, "/CodeSystem/$subsumes", 404, system="urn:nothing", codeA="a", codeB="b")
    await ask(http, "/CodeSystem/$subsumes", 400, codeA="a", codeB="b")
    await ask(http, "/CodeSystem/$subsumes", 400, system=TREE, codeA="heart")
    codings = [
        {"name": "codingA", "valueCoding": {"system": TREE, "code": "heart"}},
        {"name": "codingB", "valueCoding": {"system": GENDER, "code": "male"}},
        {"name": "system", "valueUri": TREE},
    ]
    code, text = said(await post(http, "/CodeSystem/$subsumes", *codings, status=400))
    assert code == "not-supported" and GENDER in text


async def test_by_form_of_the_answer(http: Http) -> None:
    answer = await http.get("/ValueSet/$expand", params={"url": GENDERS, "_format": "xml"})
    assert answer.text.startswith("<") and "administrative-gender" in answer.text
