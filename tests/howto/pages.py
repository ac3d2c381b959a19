"""How-to pages as tests read them: what stands in them is run, not something like it."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.server import Process

ROOT = Path(__file__).parents[2]
HOWTO = ROOT / "docs/how-to"
SERVER = "http://127.0.0.1:8080"
"""The server of the pages."""
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    """The code of a page in a language: `sh` is run, `console` happens elsewhere or takes somebody."""
    text = (HOWTO / page).read_text(encoding="utf-8")
    return [code for found, code in _BLOCK.findall(text) if found == language]


def block(page: str, language: str, about: str) -> str:
    """The one block that says `about`."""
    [found] = [code for code in blocks(page, language) if about in code]
    return found


@dataclass
class Reader:
    """Somebody who types what a page says, in a checkout of the project and beside a running server."""

    folder: Path
    server: Process
    dsn: str

    def environment(self) -> dict[str, str]:
        commands = self.folder / "bin"
        commands.mkdir(exist_ok=True)
        for name, module in (("fhirserver", "-m fhirserver"), ("python3", "")):
            command = commands / name
            command.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
            command.chmod(0o755)
        if not (self.folder / "docs").exists():
            (self.folder / "docs").symlink_to(ROOT / "docs")
        return os.environ | {
            "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": self.dsn,
            "FHIRSERVER_BASE_URL": self.server.url,
            "FHIRSERVER_DEVELOPMENT": "true",
            "NO_COLOR": "1",
            "COLUMNS": "300",
        }

    def begin(self, code: str, **places: str) -> subprocess.Popen[str]:
        """The commands, with this server's address for that of the page, and what else `places` replaces."""
        code = code.replace(SERVER, self.server.url.removesuffix("/fhir"))
        for said, meant in places.items():
            code = code.replace(said, meant)
        return subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", code],
            cwd=self.folder,
            env=self.environment() | {"BROWSER": "true"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def type(self, code: str, **places: str) -> str:
        """What the commands say, once all of them succeeded."""
        with self.begin(code, **places) as running:
            said, complained = running.communicate(timeout=120)
        assert running.returncode == 0, f"{code}\n{said}{complained}"
        return said + complained
