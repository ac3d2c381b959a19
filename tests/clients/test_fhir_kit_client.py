"""fhir-kit-client on Node.js; its tests are node/client.test.js, its version is locked beside them."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from tests.support import node

FOLDER = Path(__file__).parent / "node"


def test_fhir_kit_client(base: str, people: dict[str, Any], tmp_path: Path) -> None:
    transaction = tmp_path / "people.json"
    transaction.write_text(json.dumps(people))
    done = subprocess.run(
        [node.NODE, "--test", "--test-reporter=tap", "client.test.js"],
        cwd=node.installed(FOLDER),
        env={"FHIR_BASE": base, "PEOPLE": str(transaction)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"^# pass (\d+)$", done.stdout, re.MULTILINE)
    assert passed is not None and int(passed[1]) == 7, done.stdout
