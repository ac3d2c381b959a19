"""Derive `conformance/terminology/{languages,iso}.json`: subtags of languages, currencies and countries.

    python conformance/generate_codes.py [--source D]

Without a folder the three archives are fetched with npm into a temporary one; each is checked against its
digest and only read. Languages are rows of the subtag registry of BCP 47 by their type, ranges as they are
written there (https://www.rfc-editor.org/rfc/rfc5646#section-3.1.2); currencies (ISO 4217) and countries
(ISO 3166-1: two letters, three letters, three digits) are code systems as in `codesystems.json`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from derive.sources import Package, SourceError
from derive.tables import Table

ROOT = Path(__file__).resolve().parents[1]
LANGUAGES = Package(
    "language-subtag-registry",
    "0.4.2",
    "language-subtag-registry-0.4.2.tgz",
    "eed19742980e16d482b56cf01604d5a0e80d43646e95740de2a99d5e85771ed8",
)
CURRENCIES = Package(
    "currency-codes",
    "2.2.0",
    "currency-codes-2.2.0.tgz",
    "741edb04557a9c7c5312567dac46c6fe4866623ef20fd3687b586e9b31f4a4b9",
)
COUNTRIES = Package(
    "i18n-iso-countries",
    "7.14.0",
    "i18n-iso-countries-7.14.0.tgz",
    "bb418ebfb965789fcfbcce7dee59888d901ef64b03601da78b2e224cd6f5825c",
)
TYPES = ("language", "extlang", "script", "region", "variant", "grandfathered")


def main() -> int:
    """The command line; see the module's docstring."""
    if sys.argv[1:2] == ["--source"]:
        write(Path(sys.argv[2]))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        fetch(Path(folder))
        write(Path(folder))
    return 0


def fetch(folder: Path) -> None:
    """Download the archives. Raises SourceError."""
    npm = shutil.which("npm")
    if npm is None:
        raise SourceError("npm is needed to fetch the registries; or give --source with the archives")
    names = [f"{one.name}@{one.version}" for one in (LANGUAGES, CURRENCIES, COUNTRIES)]
    subprocess.run([npm, "pack", "--silent", "--pack-destination", str(folder), *names], check=True)


def write(folder: Path) -> None:
    """Derive both files from the archives in a folder."""
    registry = member(folder, LANGUAGES, "package/data/json/registry.json")
    version = member(folder, LANGUAGES, "package/data/json/meta.json")["File-Date"]
    tables = (
        Table("conformance/terminology/languages.json", languages(registry, version), "", depth=2),
        Table("conformance/terminology/iso.json", iso(folder), ""),
    )
    for table in tables:
        (ROOT / table.path).write_text(table.text, encoding="utf-8")


def member(folder: Path, package: Package, name: str) -> Any:
    """One JSON file of an archive. Raises SourceError for another archive than the pinned one."""
    path = folder / package.archive
    if hashlib.sha256(path.read_bytes()).hexdigest() != package.sha256:
        raise SourceError(f"{path} is not the pinned one")
    with tarfile.open(path) as archive:
        stream = archive.extractfile(name)
        assert stream is not None
        text = stream.read().decode()
    return currencies(text) if name.endswith(".js") else json.loads(text)


def languages(registry: list[dict[str, Any]], version: str) -> dict[str, Any]:
    """``{registry: {date}, type: {subtag: description}}``, one for each type."""
    found: dict[str, Any] = {"registry": {"date": version}} | {type_: {} for type_ in TYPES}
    for row in registry:
        if row["Type"] in TYPES:
            name = row.get("Subtag") or row["Tag"]
            found[row["Type"]][name] = row["Description"][0]
    return found


def currencies(module: str) -> list[dict[str, Any]]:
    """The rows of a script that exports them."""
    return json.loads(module.partition("module.exports =")[2].strip().rstrip(";"))


def iso(folder: Path) -> dict[str, Any]:
    """Both systems as rows of `codesystems.json`."""
    money = member(folder, CURRENCIES, "package/data.js")
    codes = member(folder, COUNTRIES, "package/codes.json")
    names = member(folder, COUNTRIES, "package/langs/en.json")["countries"]
    named = [(row, names[row[0]] if isinstance(names[row[0]], str) else names[row[0]][0]) for row in codes]
    countries = [[row[kind], name] for kind in range(3) for row, name in named]
    return {
        "urn:iso:std:iso:3166": {"name": "ISO3166", "caseSensitive": True, "concept": sorted(countries)},
        "urn:iso:std:iso:4217": {
            "name": "ISO4217",
            "caseSensitive": True,
            "concept": sorted([row["code"], row["currency"]] for row in money),
        },
    }


if __name__ == "__main__":
    sys.exit(main())
