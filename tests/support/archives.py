"""Packages for tests, honest and hostile."""

import gzip
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Files = Mapping[str, Any]


def manifest(name: str = "test.guide", version: str = "1.0.0", **more: Any) -> dict[str, Any]:
    """package.json of a guide for R4."""
    return {
        "name": name,
        "version": version,
        "canonical": f"http://example.org/{name}",
        "fhirVersions": ["4.0.1"],
        "dependencies": {"hl7.fhir.r4.core": "4.0.1"},
        **more,
    }


def entry(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, **more: Any
) -> tuple[tarfile.TarInfo, bytes]:
    """A tar entry; `more` are attributes of it."""
    info = tarfile.TarInfo(name)
    info.size, info.type = len(data), kind
    for key, value in more.items():
        setattr(info, key, value)
    return info, data


def tar(entries: Iterable[tuple[tarfile.TarInfo, bytes]], format_: int = tarfile.PAX_FORMAT) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=format_) as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return made.getvalue()


def text(value: Any) -> bytes:
    """A file's content: bytes as they are, anything else as JSON."""
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def packed(files: Files) -> bytes:
    """A .tgz of files by their whole names."""
    return gzip.compress(tar(entry(name, text(value)) for name, value in files.items()), 6, mtime=0)


def package(*resources: dict[str, Any], files: Files | None = None, **about: Any) -> bytes:
    """The archive of a package with these resources; `about` is said in package.json."""
    named = {f"package/{one['resourceType']}-{one['id']}.json": one for one in resources}
    return packed({"package/package.json": manifest(**about), **named, **(files or {})})


def saved(folder: Path, data: bytes, name: str = "package.tgz") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def value_set(id_: str, version: str | None = "1.0.0", *systems: str, **more: Any) -> dict[str, Any]:
    """A value set; its compose names code systems."""
    return {
        "resourceType": "ValueSet",
        "id": id_,
        "url": f"http://example.org/ValueSet/{id_}",
        **({"version": version} if version else {}),
        "status": "active",
        **({"compose": {"include": [{"system": one} for one in systems]}} if systems else {}),
        **more,
    }


def code_system(id_: str, version: str = "1.0.0", *codes: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "CodeSystem",
        "id": id_,
        "url": f"http://example.org/CodeSystem/{id_}",
        "version": version,
        "status": "active",
        "content": "complete",
        **({"concept": [{"code": code} for code in codes]} if codes else {}),
        **more,
    }


def profile(id_: str, type_: str = "Patient", version: str = "1.0.0", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "StructureDefinition",
        "id": id_,
        "url": f"http://example.org/StructureDefinition/{id_}",
        "version": version,
        "name": "Profile",
        "status": "active",
        "kind": "resource",
        "abstract": False,
        "type": type_,
        "baseDefinition": f"http://hl7.org/fhir/StructureDefinition/{type_}",
        "derivation": "constraint",
        "differential": {"element": [{"id": type_, "path": type_}]},
        **more,
    }
