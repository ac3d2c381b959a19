"""What docs/how-to/audit.md says, done."""

import json
from pathlib import Path
from typing import Any

from tests.howto.pages import Reader, blocks
from tests.support.server import process


def bundles(said: str) -> list[Any]:
    """The answers, one after the other."""
    decoder, found = json.JSONDecoder(), []
    while said:
        one, end = decoder.raw_decode(said)
        found.append(one)
        said = said[end:].lstrip()
    return found


def test_the_page_is_right(database: str, tmp_path: Path) -> None:
    settings = {"DATABASE_URL": database, "FHIRSERVER_DEVELOPMENT": "true", "FHIRSERVER_AUDIT": "on"}
    use, ask, account, never = blocks("audit.md", "sh")
    with process(environment=settings) as server:
        reader = Reader(tmp_path, server, database)
        reader.type(use)
        of_anna, of_nobody, touched, failed, own = bundles(reader.type(ask))
        assert of_anna["total"] == 2 and "entry" not in of_nobody
        assert [entry["resource"]["subtype"][0]["code"] for entry in touched["entry"]] == ["read"]
        assert failed["entry"][0]["resource"]["outcomeDesc"] == "404 Not Found"
        assert own["total"] >= 5
        [shown] = bundles(reader.type(account))
        assert {entry["resource"]["action"] for entry in shown["entry"]} == {"R", "E"}
        reader.type(never)
