"""JSON Patch on a resource: RFC 6902 with https://hl7.org/fhir/R4/http.html#patch.

A malformed patch document is the client's error (400); one that is well-formed but does not fit this
resource, a failing `test` among them, cannot be processed (422, RFC 5789 section 2.2).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from fhirserver import errors
from fhirserver.fhir import json

OPERATIONS_MAX: Final = 1_000
NODES_COPIED_MAX: Final = 100_000
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")
_ESCAPE: Final = re.compile(r"~(?![01])")
_NEEDS: Final = {
    "add": "value",
    "remove": None,
    "replace": "value",
    "move": "from",
    "copy": "from",
    "test": "value",
}


class _Misfit(Exception):
    """An operation does not fit the document; the message says why."""


@dataclass(frozen=True, slots=True)
class _Operation:
    """One operation with its JSON Pointers split into unescaped tokens (RFC 6901)."""

    op: str
    path: tuple[str, ...]
    source: tuple[str, ...]
    value: Any
    label: str


def apply(resource: Any, patch: Any, *, operations_max: int = OPERATIONS_MAX) -> Any:
    """A new resource with the patch applied; the given one stays as it was, also on failure.

    Both are values of `json.loads`. What comes out is not validated: the caller treats it as an update.
    Raises errors.Invalid for a malformed patch document, errors.TooCostly for one beyond the limits, and
    errors.Unprocessable for an operation that fails; each names the operation by its index.
    """
    operations = _read(patch, operations_max)
    document = _Document(resource)
    for index, operation in enumerate(operations):
        try:
            document.run(operation)
        except _Misfit as misfit:
            text = f"operation {index} ({operation.label}) failed: {misfit}"
            raise errors.Unprocessable(issues=[errors.Issue("error", "processing", text)]) from None
    _check_depth(document.root)
    return document.root


def _read(patch: Any, operations_max: int) -> list[_Operation]:
    if not isinstance(patch, list):
        raise errors.Invalid("a JSON Patch is an array of operations")
    if len(patch) > operations_max:
        raise errors.TooCostly(f"the patch has {len(patch)} operations; at most {operations_max} are allowed")
    return [_operation(index, item) for index, item in enumerate(patch)]


def _operation(index: int, item: Any) -> _Operation:
    if not isinstance(item, dict):
        raise errors.Invalid(f"operation {index} of the patch is not an object")
    op = item.get("op")
    if not isinstance(op, str) or op not in _NEEDS:
        raise errors.Invalid(f"operation {index} of the patch needs an op: one of {', '.join(_NEEDS)}")
    need = _NEEDS[op]
    if need is not None and need not in item:
        raise errors.Invalid(f"operation {index} of the patch ({op}) needs a {need}")
    path = _pointer(index, "path", item.get("path"))
    source = _pointer(index, "from", item["from"]) if need == "from" else ()
    if op == "move" and len(source) < len(path) and path[: len(source)] == source:
        raise errors.Invalid(f"operation {index} of the patch moves a value into itself")
    return _Operation(op, path, source, item.get("value"), f"{op} {item['path'][:100]}")


def _pointer(index: int, name: str, text: Any) -> tuple[str, ...]:
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise errors.Invalid(f"operation {index} of the patch needs a {name} such as /name/0/given")
    if _ESCAPE.search(text):
        raise errors.Invalid(f"operation {index} of the patch: '~' in its {name} is written ~0, '/' is ~1")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in text.split("/")[1:])


class _Document:
    """The copy that the operations change one after the other."""

    def __init__(self, resource: Any) -> None:
        self.root = _copied(resource)
        self._nodes_left = NODES_COPIED_MAX

    def run(self, operation: _Operation) -> None:
        """Apply one operation. Raises _Misfit."""
        match operation.op:
            case "add":
                self._add(operation.path, _copied(operation.value))
            case "remove":
                self._remove(operation.path)
            case "replace":
                self._replace(operation.path, _copied(operation.value))
            case "move":
                value = self._get(operation.source)
                if operation.source != operation.path:
                    self._remove(operation.source)
                    self._add(operation.path, value)
            case "copy":
                self._add(operation.path, self._duplicate(operation.source))
            case "test":
                if not _equal(self._get(operation.path), operation.value):
                    raise _Misfit("the value is another one")
            case op:
                raise AssertionError(op)

    def _get(self, path: tuple[str, ...]) -> Any:
        value = self.root
        for depth, token in enumerate(path):
            value = _child(value, token, path[: depth + 1])
        return value

    def _add(self, path: tuple[str, ...], value: Any) -> None:
        if not path:
            self.root = value
            return
        parent, token = self._get(path[:-1]), path[-1]
        if isinstance(parent, dict):
            parent[token] = value
        elif isinstance(parent, list):
            index = len(parent) if token == "-" else _index(token, path)
            if index > len(parent):
                raise _Misfit(f"{_text(path)} is beyond the end of the array of {len(parent)}")
            parent.insert(index, value)
        else:
            raise _Misfit(f"{_text(path[:-1])} is neither an object nor an array")

    def _remove(self, path: tuple[str, ...]) -> None:
        if not path:
            raise _Misfit("a resource cannot be removed by a patch")
        parent = self._get(path[:-1])
        _child(parent, path[-1], path)
        del parent[path[-1] if isinstance(parent, dict) else int(path[-1])]

    def _replace(self, path: tuple[str, ...], value: Any) -> None:
        if not path:
            self.root = value
            return
        parent = self._get(path[:-1])
        _child(parent, path[-1], path)
        parent[path[-1] if isinstance(parent, dict) else int(path[-1])] = value

    def _duplicate(self, path: tuple[str, ...]) -> Any:
        """A copy for `copy`, which could double the document with each operation."""
        value = self._get(path)
        self._nodes_left -= _size(value, self._nodes_left)
        if self._nodes_left < 0:
            raise errors.TooCostly(f"the patch copies more than {NODES_COPIED_MAX} values")
        _check_depth(value)
        return _copied(value)


def _child(value: Any, token: str, path: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        if token in value:
            return value[token]
    elif isinstance(value, list):
        index = _index(token, path)
        if index < len(value):
            return value[index]
    raise _Misfit(f"{_text(path)} does not exist")


def _index(token: str, path: tuple[str, ...]) -> int:
    if token == "-":
        raise _Misfit(f"{_text(path)} is the place after the last element, where only add can write")
    if _INDEX.fullmatch(token) is None:
        raise _Misfit(f"{_text(path)} points into an array, but '{token[:20]}' is not an index")
    return int(token)


def _text(path: tuple[str, ...]) -> str:
    pointer = "".join("/" + token.replace("~", "~0").replace("/", "~1") for token in path)
    return pointer[:100] or "the whole document"


def _check_depth(value: Any) -> None:
    if json.too_deep(value, json.DEPTH_MAX):
        raise errors.TooCostly(f"the patched resource would nest deeper than {json.DEPTH_MAX} levels")


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value


def _size(value: Any, limit: int) -> int:
    """How many values there are in a value, counted until they are more than the limit."""
    count, todo = 0, [value]
    while todo and count <= limit:
        item = todo.pop()
        count += 1
        if isinstance(item, dict):
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)
    return count


def _equal(left: Any, right: Any) -> bool:
    """RFC 6902 section 4.6: numbers by value (1.0 is 1), but true is not 1."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, (int, Decimal)) and isinstance(right, (int, Decimal)):
        return left == right
    return type(left) is type(right) and left == right
