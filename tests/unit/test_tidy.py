"""The house rules that a machine can check: descriptions, sizes, no traces of where it was written."""

import ast
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = ("fhirserver", "conformance", "migrations", "benchmarks")
FILE_LINES_MAX = 450
FUNCTION_LINES_MAX = 60
TEST_LINES_MAX = 700
TRACES = re.compile(
    r"(?<![\w.])/(?:work|root|farm|tmp/plan)/|/home/[a-z]|\.pyenv|\bpypi\.org|files\.pythonhosted"
)
"""Folders of one machine, and registry hosts, which a lock file must not fix either."""
GENERATED = ("conformance/", "search_params/")
SPELLS_THEM = {"tests/unit/test_tidy.py"}


def tracked() -> list[str]:
    """Every text file of the project, committed or about to be; the tree itself without git."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        return [
            str(path.relative_to(ROOT))
            for folder in (*CODE, "tests")
            for path in (ROOT / folder).rglob("*.py")
        ]
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


FILES = tracked()
MODULES = [name for name in FILES if name.endswith(".py")]
SOURCE = [name for name in MODULES if name.startswith(tuple(f"{folder}/" for folder in CODE))]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_project_was_found() -> None:
    assert len(SOURCE) > 20


def test_every_module_says_what_it_is() -> None:
    assert [name for name in MODULES if not (ast.get_docstring(ast.parse(text(name))) or "").strip()] == []


def test_no_file_holds_more_than_one_idea() -> None:
    lines = {name: len(text(name).splitlines()) for name in MODULES}
    limits = {name: TEST_LINES_MAX if name.startswith("tests/") else FILE_LINES_MAX for name in MODULES}
    assert {name: count for name, count in lines.items() if count > limits[name]} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    lines = {
        f"{name}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for name in SOURCE
        for node in ast.walk(ast.parse(text(name)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: count for name, count in lines.items() if count > FUNCTION_LINES_MAX} == {}


def test_nothing_names_the_machine_it_was_written_on() -> None:
    found = {}
    for name in FILES:
        if name.startswith(GENERATED) or name in SPELLS_THEM:
            continue
        try:
            lines = text(name).splitlines()
        except UnicodeDecodeError:
            continue
        found |= {f"{name}:{number}": line for number, line in enumerate(lines, 1) if TRACES.search(line)}
    assert found == {}


def test_every_locked_package_has_a_hash() -> None:
    locks = [name for name in FILES if name.endswith(".lock")]
    assert locks
    for name in locks:
        packages = [line for line in text(name).splitlines() if re.match(r"[\w-]+==", line)]
        assert packages and all(line.endswith("\\") for line in packages), name
