"""Comparing resources as they are written: numbers by their digits."""

from typing import Any

SERVER_META = frozenset({"versionId", "lastUpdated", "_versionId", "_lastUpdated"})


def exact(value: Any) -> Any:
    """The same value with each number as text, so that 1.50 and 1.5 differ."""
    if isinstance(value, dict):
        return {name: exact(item) for name, item in value.items()}
    if isinstance(value, list):
        return [exact(item) for item in value]
    return value if isinstance(value, bool | str) or value is None else f"number {value}"


def portable(resource: dict[str, Any]) -> Any:
    """`exact` without what a server sets: id, versionId, lastUpdated."""
    bare = {name: value for name, value in resource.items() if name not in ("id", "_id", "meta")}
    meta = {name: value for name, value in resource.get("meta", {}).items() if name not in SERVER_META}
    return exact(bare | ({"meta": meta} if meta else {}))
