"""Whatever is asked of the terminology, the answer is a result, or an outcome that says why not."""

import random
from typing import Any

import pytest

from fhirserver.fhir.validate import issues
from tests.support.door import Door
from tests.support.terminology import code_system, concept, value_set

pytestmark = pytest.mark.asyncio(loop_scope="module")

TREE = "http://example.org/fuzz"
R4 = "http://hl7.org/fhir/ValueSet"
URLS = [
    f"{R4}/administrative-gender",
    f"{R4}/languages",
    f"{R4}/ucum-units|4.0.1",
    f"{R4}/condition-code",
    f"{TREE}?fhir_vs",
    f"{TREE}?fhir_vs=isa/b",
    f"{TREE}?fhir_vs=isa/zz",
    "|1",
    "#x",
    "a b",
    "http://example.org/" + "x" * 3000,
    "urn:nothing",
    "%_\\'\"",
]
SYSTEMS = [TREE, "http://unitsofmeasure.org", "urn:ietf:bcp:47", "http://snomed.info/sct", "urn:x", "x y"]
CODES = ["a", "B", "c", "mg/dL", "de-CH", "male", "x" * 300, "é", "'; --", "a|b", "[", "\\"]
VERSIONS = ["1", "", "*", "4.0.1", "|"]
TEXTS = ["", "a", "ä b", "%", "((", "x" * 500, "\u2028", "😀"]
OPS = ["=", "is-a", "descendent-of", "is-not-a", "regex", "in", "not-in", "generalizes", "exists"]
NEEDED = {
    "ValueSet/$expand": (["url"], ["valueSet"]),
    "ValueSet/$validate-code": (["url", "system", "code"], ["valueSet", "coding"]),
    "CodeSystem/$validate-code": (["url", "code"], ["codeSystem", "code"]),
    "CodeSystem/$lookup": (["system", "code"], ["coding"]),
    "CodeSystem/$subsumes": (["system", "codeA", "codeB"], ["system", "codingA", "codeB"]),
}
"""Operation -> what it needs at least, in a URL and in a body."""


class Draw:
    """Requests at random."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def one(self, values: list[Any]) -> Any:
        return self.random.choice(values)

    def coding(self) -> dict[str, Any]:
        made = {"system": self.one(SYSTEMS[:-1]), "code": self.one(CODES), "display": self.one(TEXTS[1:3])}
        return {name: made[name] for name in made if self.random.random() < 0.8} or {"code": "a"}

    def part(self) -> dict[str, Any]:
        """An include or exclude, not always a sensible one."""
        made: dict[str, Any] = {}
        if self.random.random() < 0.8:
            made["system"] = self.one(SYSTEMS[:-1])
            if self.random.random() < 0.2:
                made["version"] = self.one(["1", "*", "2"])
            if self.random.random() < 0.4:
                made["concept"] = [{"code": self.one(CODES)} for _ in range(3)]
            elif self.random.random() < 0.6:
                made["filter"] = [
                    {
                        "property": self.one(["code", "concept", "parent", "weight", "display", "canonical"]),
                        "op": self.one(OPS),
                        "value": self.one(["a", "b", "(", "[a-c]", "true", "(a*)*b", "m", "a,b"]),
                    }
                ]
        if not made or self.random.random() < 0.3:
            made["valueSet"] = [self.one([*URLS[:7], "urn:nothing", "http://example.org/vs"])]
        return made

    def value_set(self) -> dict[str, Any]:
        parts = [self.part() for _ in range(self.random.randint(1, 3))]
        more = {"exclude": [self.part()]} if self.random.random() < 0.4 else {}
        return value_set(*parts, **more, inactive=self.one([True, False]))

    def names(self, needed: list[str], every: list[str]) -> list[str]:
        """Mostly what is needed; sometimes less, sometimes more."""
        some = [name for name in needed if self.random.random() < 0.95]
        return [*some, *(self.random.sample(every, self.random.choice([0, 0, 1, 2])))]

    def query(self, needed: list[str]) -> list[tuple[str, str]]:
        values = {
            "url": URLS,
            "system": SYSTEMS,
            "code": CODES,
            "codeA": CODES,
            "codeB": CODES,
            "coding": [f"{TREE}|a", "|a", "a", "|", f"{TREE}|"],
            "display": TEXTS,
            "filter": TEXTS,
            "version": VERSIONS,
            "valueSetVersion": VERSIONS,
            "systemVersion": VERSIONS,
            "count": ["0", "3", "-1", "99999999999999999999", "x", "1.5"],
            "offset": ["0", "2", "2147483647", "-5"],
            "displayLanguage": ["de", "", "x y", "de-CH-1996"],
            "excludeNested": ["true", "false", "no"],
            "activeOnly": ["true", "1"],
            "exclude-system": SYSTEMS,
            "system-version": [f"{TREE}|1", TREE, "|"],
            "property": ["parent", "", "lang.de"],
        }
        return [(name, self.one(values[name])) for name in self.names(needed, list(values))]

    def body(self, needed: list[str]) -> dict[str, Any]:
        made: list[dict[str, Any]] = [
            {"name": "valueSet", "resource": self.value_set()},
            {"name": "codeSystem", "resource": code_system(concept("a"), url=TREE)},
            {"name": "url", "valueUri": self.one(URLS[:7])},
            {"name": "code", "valueCode": self.one(CODES[:3])},
            {"name": "system", "valueUri": self.one(SYSTEMS[:4])},
            {"name": "coding", "valueCoding": self.coding()},
            {"name": "codingA", "valueCoding": self.coding()},
            {"name": "codeB", "valueCode": self.one(CODES[:3])},
            {"name": "codeableConcept", "valueCodeableConcept": {"coding": [self.coding(), self.coding()]}},
            {"name": "excludeNested", "valueBoolean": False},
            {"name": "count", "valueInteger": self.one([0, 1, -1])},
        ]
        by_name = {one["name"]: one for one in made}
        chosen = [by_name[name] for name in self.names(needed, list(by_name))]
        return {"resourceType": "Parameters"} | ({"parameter": chosen} if chosen else {})


@pytest.mark.parametrize("seed", range(6))
async def test_answers_are_answers(door: Door, seed: int) -> None:
    """Strict and lenient, so that what does not belong is passed over and the rest is worked with."""
    tree = code_system(concept("a", concept("b", concept("c"))), url=TREE, version="1")
    await door.json("PUT", "/CodeSystem/fuzz", {**tree, "id": "fuzz"})
    draw = Draw(seed)
    statuses: dict[int, int] = {}
    for _ in range(150):
        operation = draw.one(list(NEEDED))
        path = "/" + (operation.replace("/", "/fuzz/") if draw.random.random() < 0.05 else operation)
        headers = [("prefer", f"handling={draw.one(['strict', 'lenient', 'lenient'])}")]
        in_url, in_body = NEEDED[operation]
        if draw.random.random() < 0.5:
            told = draw.body(in_body)
            reply = await door.json("POST", path, told, headers)
        else:
            told = draw.query(in_url)
            query = "&".join(f"{name}={quoted(value)}" for name, value in told)
            reply = await door.ask("GET", f"{path}?{query}", headers=headers)
        assert reply.status in (200, 400, 404, 413, 414, 422), (path, told, reply)
        resource = reply.resource()
        assert issues(resource) == [], (path, told, resource)
        assert (reply.status == 200) is (resource["resourceType"] in ("ValueSet", "Parameters")), (path, told)
        statuses[reply.status] = statuses.get(reply.status, 0) + 1
    assert statuses[200] > 15, statuses


def quoted(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())
