"""Questions to the terminology, one client: value sets of different sizes, single codes, a code's place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from benchmarks.client import Measured, request, send

SYSTEM, SET = "http://benchmark.example.org/cs", "http://benchmark.example.org/vs"
CODES = 1_000
LARGE = 100_000
"""Codes of the large code system, ten below each, so five levels deep."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request as people name it."""

    name: str
    path: str


QUESTIONS: tuple[Question, ...] = (
    Question(f"$expand, {CODES:,} codes", f"ValueSet/$expand?url={SET}"),
    Question(f"$expand, {CODES:,} codes, a page of 50", f"ValueSet/$expand?url={SET}&count=50&offset=500"),
    Question(f"$expand, {CODES:,} codes, by words", f"ValueSet/$expand?url={SET}&filter=number+99&count=20"),
    Question(
        "$expand, R4's administrative-gender",
        "ValueSet/$expand?url=http://hl7.org/fhir/ValueSet/administrative-gender",
    ),
    Question("ValueSet/$validate-code", f"ValueSet/$validate-code?url={SET}&system={SYSTEM}&code=c500"),
    Question("CodeSystem/$lookup", f"CodeSystem/$lookup?system={SYSTEM}&code=c500"),
    Question("CodeSystem/$lookup of 100,000", f"CodeSystem/$lookup?system={SYSTEM}/large&code=c77777"),
    Question(
        "CodeSystem/$subsumes of 100,000", f"CodeSystem/$subsumes?system={SYSTEM}/large&codeA=c7&codeB=c77777"
    ),
    Question(
        "$expand is-a of 100,000, 1,111 codes",
        f"ValueSet/$expand?url={quote(f'{SYSTEM}/large?fhir_vs=isa/c77', safe='')}",
    ),
)


async def define(port: int) -> None:
    """Store the definitions that are asked about."""
    whole = {"include": [{"system": SYSTEM}]}
    value_set = {"resourceType": "ValueSet", "id": "bench", "url": SET, "status": "active", "compose": whole}
    small, large = _code_system("bench", SYSTEM, CODES), _code_system("bench-large", f"{SYSTEM}/large", LARGE)
    for resource in (value_set, small, large):
        path = f"/fhir/{resource['resourceType']}/{resource['id']}"
        sent = await send(port, [request("PUT", path, orjson.dumps(resource))], 1)
        if sent.failed:
            raise RuntimeError(f"{path} was refused: {sent.first_error[:300]!r}")


def _code_system(id_: str, url: str, codes: int) -> dict[str, Any]:
    concepts = [
        {
            "code": f"c{number}",
            "display": f"Concept number {number}",
            **({"property": [{"code": "parent", "valueCode": f"c{number // 10}"}]} if number >= 10 else {}),
        }
        for number in range(codes)
    ]
    return {
        "resourceType": "CodeSystem",
        "id": id_,
        "url": url,
        "version": "1",
        "status": "active",
        "content": "complete",
        "caseSensitive": True,
        "concept": concepts,
    }


async def measure(port: int, question: Question, count: int) -> Measured:
    """Latencies of `count` requests one after the other, after some that are not counted."""
    asked = request("GET", f"/fhir/{question.path}")
    await send(port, [asked] * 5, 1)
    return await send(port, [asked] * count, 1)
