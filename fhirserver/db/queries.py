"""Named SQL: static statements live in `.sql` files and are called by their names."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


class Queries:
    """The statements of one `.sql` file; `{p}` stands for the partition of a resource type."""

    def __init__(self, path: Path) -> None:
        parts = _NAME.split(path.read_text())[1:]
        self._texts = {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}
        self.on = lru_cache(maxsize=None)(self._on)

    def _on(self, name: str, resource_type: str) -> str:
        """The statement `name` over the partition of `resource_type`."""
        return self._texts[name].replace("{p}", partition(resource_type))

    def __getitem__(self, name: str) -> str:
        return self._texts[name]


def partition(resource_type: str) -> str:
    """The table of a type's versions. Callers pass only names that the structure tables know."""
    assert resource_type.isalpha(), resource_type
    return f"resource_{resource_type.lower()}"
