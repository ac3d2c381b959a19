"""What docs/how-to/merging.md says, done."""

import json
from pathlib import Path

from tests.howto.pages import Reader, blocks
from tests.support.server import process


def test_patients_are_merged_and_taken_apart(database: str, tmp_path: Path) -> None:
    settings = {"DATABASE_URL": database, "FHIRSERVER_DEVELOPMENT": "true"}
    records, preview, merge, undo, others = blocks("merging.md", "sh")
    functions = preview[: preview.index("\nmerge merge")]
    with process(environment=settings) as server:
        reader = Reader(tmp_path, server, database)
        reader.type(records)
        said = preview.rpartition("# ")[2].strip()
        assert json.loads(said) in reader.type(preview)
        assert '"merged: 1 resources were moved' in reader.type(functions + "\n" + merge)
        assert "as if it had not been merged" in reader.type(functions + "\n" + undo)
        put = records[: records.index("\nput Patient/anna ")]
        assert "replaced: 1 resources" in reader.type(put + "\n" + others)
