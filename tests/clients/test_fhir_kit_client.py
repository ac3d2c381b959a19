"""fhir-kit-client on Node.js; its tests are node/client.test.js, its version is locked beside them."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent / "node"
NODE_MAJOR = 20


@pytest.fixture(scope="module")
def node() -> str:
    """The program, once the locked packages are installed beside the tests."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None or npm is None:
        pytest.skip("Node.js or npm is not installed")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.strip().removeprefix("v").partition(".")[0]) < NODE_MAJOR:
        pytest.skip(f"fhir-kit-client needs Node.js {NODE_MAJOR}, this is {version.strip()}")
    installed, lock = FOLDER / "node_modules/.package-lock.json", FOLDER / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        done = subprocess.run([npm, "ci"], cwd=FOLDER, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return found


def test_fhir_kit_client(node: str, base: str, people: dict[str, Any], tmp_path: Path) -> None:
    transaction = tmp_path / "people.json"
    transaction.write_text(json.dumps(people))
    done = subprocess.run(
        [node, "--test", "--test-reporter=tap", "client.test.js"],
        cwd=FOLDER,
        env={"FHIR_BASE": base, "PEOPLE": str(transaction)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"^# pass (\d+)$", done.stdout, re.MULTILINE)
    assert passed is not None and int(passed[1]) == 7, done.stdout
