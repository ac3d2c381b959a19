"""Finds the files to load, in an order in which shared resources come first, and opens them."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

FORMATS = {".json": "json", ".xml": "xml", ".ndjson": "ndjson", ".jsonl": "ndjson"}
_FIRST = ("hospitalinformation", "practitionerinformation")


@dataclass(frozen=True, slots=True)
class Source:
    """A file to load. `phase` orders: all files of a phase are loaded before the next begins."""

    path: Path
    format: str
    phase: int
    size_bytes: int


def find(paths: Iterable[Path]) -> list[Source]:
    """The files among `paths` and in the folders below them, by phase and name.

    Hospital and practitioner files as Synthea writes them come first, because the patients' refer to
    them. Folders are searched for known endings only; a file that is named must have one of them.
    Raises ValueError for an unknown ending and FileNotFoundError.
    """
    found: dict[Path, Source] = {}
    for path in paths:
        if path.is_dir():
            for inside in sorted(path.rglob("*")):
                kind = _format(inside)
                hidden = any(part.startswith(".") for part in inside.relative_to(path).parts)
                if kind and inside.is_file() and not hidden:
                    found.setdefault(inside.resolve(), _source(inside, kind))
            continue
        kind = _format(path)
        if kind is None:
            raise ValueError(f"{path}: the name must end in {', '.join(FORMATS)} or one of these with .gz")
        found.setdefault(path.resolve(), _source(path, kind))
    return sorted(found.values(), key=lambda source: (source.phase, source.path))


def _format(path: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return FORMATS.get(suffixes[-1]) if suffixes else None


def _source(path: Path, kind: str) -> Source:
    name = path.name.lower()
    phase = next((number for number, start in enumerate(_FIRST) if name.startswith(start)), len(_FIRST))
    return Source(path, kind, phase, path.stat().st_size)


def read(source: Source) -> bytes:
    """The whole content, decompressed. Raises OSError (gzip.BadGzipFile among them) and EOFError."""
    data = source.path.read_bytes()
    return gzip.decompress(data) if source.path.suffix.lower() == ".gz" else data


@contextmanager
def lines(source: Source) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """The content as a stream, and the file below it, whose position tells how far reading has come."""
    with source.path.open("rb") as raw:
        if source.path.suffix.lower() == ".gz":
            with gzip.open(raw) as text:
                yield text, raw  # pyright: ignore[reportReturnType] (a GzipFile reads as a BinaryIO does)
        else:
            yield raw, raw
