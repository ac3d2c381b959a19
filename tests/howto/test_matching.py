"""What docs/how-to/matching.md says, done."""

import json
from pathlib import Path

from tests.howto.pages import Reader, blocks
from tests.support.server import process


def test_a_patient_is_found(database: str, tmp_path: Path) -> None:
    settings = {"DATABASE_URL": database, "FHIRSERVER_DEVELOPMENT": "true"}
    ask, decide = blocks("matching.md", "sh")
    functions = ask[: ask.index("\ncreate '{")] + ask[ask.index("\nmatch() {") : ask.rindex("\nmatch ''")]
    with process(environment=settings) as server:
        reader = Reader(tmp_path, server, database)
        found = json.loads(reader.type(ask))
        names = [one["resource"]["name"][0]["given"][0] for one in found["entry"]]
        grades = [one["search"]["extension"][0]["valueCode"] for one in found["entry"]]
        assert (names, grades[1]) == (["Anna", "Peter"], "possible")
        assert grades[0] in ("certain", "probable")
        alone = json.loads(reader.type(functions + "\n" + decide))
        assert alone["total"] == (1 if grades[0] == "certain" else 0)
