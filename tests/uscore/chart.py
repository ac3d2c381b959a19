"""The four US Core patients on a server, loaded through its door."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import httpx

from tests.support.server import BASE
from tests.uscore.literal import Literal
from tests.uscore.packages import Resource

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
REPRESENTATION = {"Prefer": "return=representation"}
PAGE = ("_count", "1000")
"""All matches on one page, so that the order of ids on it is all that can differ."""

Params = tuple[tuple[str, str], ...]


def contents(folder: Path) -> list[Resource]:
    """The resources in the files of a folder, in the order of their names."""
    return [json.loads(file.read_bytes()) for file in sorted(folder.glob("*.json"))]


async def load(http: httpx.AsyncClient, resources: Sequence[Resource]) -> Literal:
    """Post transactions and put what stands alone; the resources as the server stored them."""
    stored: list[Resource] = []
    for resource in resources:
        if resource["resourceType"] == "Bundle":
            answer = await http.post("", json=resource, headers=REPRESENTATION)
            assert answer.status_code == 200, answer.text[:2000]
            stored += [entry["resource"] for entry in answer.json()["entry"]]
        else:
            path = f"/{resource['resourceType']}/{resource['id']}"
            answer = await http.put(path, json=resource, headers=REPRESENTATION)
            assert answer.status_code == 201, answer.text[:2000]
            stored.append(answer.json())
    return Literal(stored, BASE, datetime.now(UTC))


async def search(http: httpx.AsyncClient, resource_type: str, params: Params) -> Resource:
    """The Bundle that GET gives, which is the one that POST gives."""
    text = urlencode([*params, PAGE])
    by_get = await http.get(f"/{resource_type}?{text}")
    by_post = await http.post(f"/{resource_type}/_search", content=text, headers=FORM)
    assert by_get.status_code == 200, (text, by_get.text[:1000])
    assert by_post.content == by_get.content, text
    return by_get.json()


def found(bundle: Resource, mode: str = "match") -> list[str]:
    """The paths of the entries of a mode, sorted."""
    return sorted(
        f"{entry['resource']['resourceType']}/{entry['resource']['id']}"
        for entry in bundle.get("entry", ())
        if entry["search"]["mode"] == mode
    )
