"""What docs/how-to/identifiers.md and docs/reference/matching.md say, done."""

import json
from pathlib import Path

from tests.howto.pages import ROOT, Reader, blocks
from tests.support.matching.curves import PLACE, drawn
from tests.support.server import process


def test_the_page_is_right(database: str, tmp_path: Path) -> None:
    settings = {"DATABASE_URL": database, "FHIRSERVER_DEVELOPMENT": "true"}
    declare, create = blocks("identifiers.md", "sh")
    with process(environment=settings) as server:
        reader = Reader(tmp_path, server, database)
        reader.type(declare)
        assert reader.type(create).split() == ["201", "409", "422"]
        assert "luhn" in (tmp_path / "answer.json").read_text()
        assert json.loads((tmp_path / "answer.json").read_text())["resourceType"] == "OperationOutcome"


def test_the_picture_is_what_is_measured() -> None:
    assert PLACE.is_relative_to(ROOT)
    assert PLACE.read_text() == drawn()
