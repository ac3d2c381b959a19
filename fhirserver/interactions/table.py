"""Which interaction a method and a path mean: https://hl7.org/fhir/R4/http.html#summary.

The CapabilityStatement, the API explorer, the router and the entries of Bundles all read this table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from fhirserver.errors import MethodNotAllowed, NotFound
from fhirserver.fhir.reference import is_id
from fhirserver.fhir.structure import COMPARTMENTS, ENDPOINT_TYPES
from fhirserver.fhir.suggest import nearest
from fhirserver.interactions.operations.definition import Operation
from fhirserver.interactions.operations.definitions import OPERATIONS
from fhirserver.policy.restriction import RECORDED

_CHANGES: Final = frozenset(
    {"update", "update_conditional", "patch", "patch_conditional", "delete", "delete_conditional"}
)
"""What nobody does to a type of `RECORDED`."""


@dataclass(frozen=True, slots=True)
class Interaction:
    """A row: `shape` is the path with `:type`, `:id`, `:vid` standing for what varies.

    `code` is the code of https://hl7.org/fhir/R4/valueset-type-restful-interaction.html (or
    system-restful-interaction) under which the CapabilityStatement announces it, if it does.
    """

    name: str
    method: str
    shape: str
    code: str | None
    title: str
    operation: Operation | None = None

    def is_of(self, resource_type: str | None) -> bool:
        """Whether a type (None: the system) has this row, compartments aside."""
        if self.shape.startswith(":type") != (resource_type is not None):
            return False
        if resource_type in RECORDED and self.name in _CHANGES:
            return False
        return self.operation is None or not self.operation.types or resource_type in self.operation.types


_INTERACTIONS: tuple[Interaction, ...] = (
    Interaction("capabilities", "GET", "metadata", None, "The capabilities of this server"),
    Interaction("search", "GET", "", "search-system", "Search across types"),
    Interaction("search", "POST", "_search", "search-system", "Search across types by form"),
    Interaction("bundle", "POST", "", "transaction", "Process a batch or transaction"),
    Interaction("history", "GET", "_history", "history-system", "Versions of all resources"),
    Interaction("search", "GET", ":type", "search-type", "Search a type"),
    Interaction("search", "POST", ":type/_search", "search-type", "Search a type by form"),
    Interaction("create", "POST", ":type", "create", "Create with an id of the server's"),
    Interaction("update_conditional", "PUT", ":type", None, "Update what a search finds, or create"),
    Interaction("patch_conditional", "PATCH", ":type", None, "Patch what a search finds"),
    Interaction("delete_conditional", "DELETE", ":type", None, "Delete what a search finds"),
    Interaction("history", "GET", ":type/_history", "history-type", "Versions of a type"),
    Interaction("read", "GET", ":type/:id", "read", "The current version"),
    Interaction("update", "PUT", ":type/:id", "update", "Write a new version"),
    Interaction("patch", "PATCH", ":type/:id", "patch", "Change parts of the current version"),
    Interaction("delete", "DELETE", ":type/:id", "delete", "Delete"),
    Interaction("history", "GET", ":type/:id/_history", "history-instance", "Versions of a resource"),
    Interaction("vread", "GET", ":type/:id/_history/:vid", "vread", "One version"),
    Interaction("search", "GET", ":type/:id/*", None, "Search a compartment, all types"),
    Interaction("search", "GET", ":type/:id/:type", None, "Search a compartment"),
    Interaction("search", "POST", ":type/:id/_search", None, "Search a compartment by form, all types"),
    Interaction("search", "POST", ":type/:id/:type/_search", None, "Search a compartment by form"),
)

TABLE: tuple[Interaction, ...] = (
    *_INTERACTIONS,
    *(
        Interaction("operation", method, level, None, operation.title, operation)
        for operation in OPERATIONS
        for level in operation.levels
        for method in operation.methods
    ),
)

_SHAPES: dict[str, list[Interaction]] = {}
for _row in TABLE:
    _SHAPES.setdefault(_row.shape, []).append(_row)

_WORDS = frozenset({"_history", "_search", "metadata", "*"})


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes: the row of the table and what stood for the variables."""

    interaction: Interaction
    type: str | None = None
    id: str | None = None
    version: str | None = None
    compartment: tuple[str, str] | None = None


@lru_cache(maxsize=4_096)
def resolve(method: str, path: str) -> Target:
    """The interaction of `method` on `path`, which is relative to the base, still percent-encoded.

    HEAD is GET without a body. Raises NotFound for a path that is none of FHIR's, MethodNotAllowed
    (with Allow) for a method the path does not offer.
    """
    segments, methods = _methods(path)
    row = methods.get("GET" if method == "HEAD" else method)
    if row is None:
        offered = ", ".join(_with_head(methods))
        raise MethodNotAllowed(
            f"{shortened(method)} is not offered here; this path offers {offered}", headers={"Allow": offered}
        )
    return _target(row, segments)


_ATTEMPTS: Final = {"PUT": "update", "PATCH": "patch", "DELETE": "delete", "POST": "create"}


def attempted(method: str, path: str) -> Target | None:
    """What a request for which `resolve` has no row was about: somebody tried to do it to a type or an
    instance, or by an operation. None where the path or the method means nothing."""
    segments = [unquote(segment) for segment in path.strip("/").split("/")]
    shape = "/".join(_shape(segments, index) for index in range(len(segments)))
    type_ = segments[0] if segments[0] in ENDPOINT_TYPES else None
    id_ = segments[1] if type_ and shape.startswith(":type/:id") and is_id(segments[1]) else None
    if method not in (*_ATTEMPTS, "GET", "HEAD"):
        return None
    if segments[-1].startswith("$") and (type_ or len(segments) == 1):
        name = "operation"
    elif type_ is not None and shape in _SHAPES:
        name = _ATTEMPTS.get(method, "read" if id_ else "search")
    else:
        return None
    return Target(Interaction(name, method, shape, None, ""), type_, id_)


def offers(path: str) -> list[str]:
    """The methods of a path, for OPTIONS. Raises NotFound."""
    segments, methods = _methods(path)
    _target(next(iter(methods.values())), segments)
    return _with_head(methods)


def _methods(path: str) -> tuple[list[str], dict[str, Interaction]]:
    """The decoded segments of a path, and its rows by their methods."""
    segments = [unquote(segment) for segment in path.strip("/").split("/")] if path.strip("/") else []
    shape = "/".join(_shape(segments, index) for index in range(len(segments)))
    named = segments[0] if shape.startswith(":type") else None
    methods = {row.method: row for row in _SHAPES.get(shape, ()) if row.is_of(named)}
    if not methods:
        raise _no_operation(segments) if "$" in shape else NotFound(f"no such path: {shortened(path)}")
    return segments, methods


def _no_operation(segments: list[str]) -> NotFound:
    """The refusal of an operation that does not stand where it was called; where it does is said."""
    code = segments[-1].removeprefix("$")
    near = nearest(code, {one.code for one in OPERATIONS})
    known = [level for one in OPERATIONS if one.code in near for level in _places(one)]
    return NotFound(
        f"no such operation here: {shortened('/'.join(segments))}"
        + (f"; there is {', '.join(known)}" if known else "")
    )


def _places(operation: Operation) -> list[str]:
    """`Patient/[id]/$everything` and the like."""
    type_ = "|".join(operation.types) or "[type]"
    return [level.replace(":type", type_).replace(":id", "[id]") for level in operation.levels]


def _with_head(methods: Iterable[str]) -> list[str]:
    return sorted({*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])})


def _shape(segments: list[str], index: int) -> str:
    segment = segments[index]
    if segment in _WORDS or segment.startswith("$"):
        return segment
    if index in (0, 2):
        return ":type"
    return ":id" if index == 1 else ":vid"


def _target(row: Interaction, segments: list[str]) -> Target:
    if not row.shape.startswith(":type"):
        return Target(row)
    resource_type = known_type(segments[0])
    if not row.shape.startswith(":type/:id"):
        return Target(row, resource_type)
    id_ = known_id(segments[1])
    rest = row.shape.removeprefix(":type/:id").strip("/")
    if row.name == "search":
        if resource_type not in COMPARTMENTS:
            raise NotFound(f"{resource_type} is no compartment; these are: {', '.join(sorted(COMPARTMENTS))}")
        searched = known_type(segments[2]) if rest.startswith(":type") else None
        return Target(row, searched, compartment=(resource_type, id_))
    return Target(row, resource_type, id_, segments[3] if rest.endswith(":vid") else None)


def known_type(name: str) -> str:
    """`name` if it is a resource type with an endpoint; names are case-sensitive."""
    if name not in ENDPOINT_TYPES:
        near = nearest(name, ENDPOINT_TYPES)
        raise NotFound(
            f"{shortened(name)} is not a resource type of R4 that has an endpoint"
            + (f"; did you mean {' or '.join(near)}?" if near else "")
        )
    return name


def known_id(text: str) -> str:
    """`text` if it can be a logical id; nothing that cannot be one exists."""
    if not is_id(text):
        raise NotFound(f"{shortened(text)} cannot be the id of a resource: 1 to 64 of A-Z a-z 0-9 - .")
    return text


def shortened(text: str) -> str:
    """What a client sent, quoted for a message."""
    return repr(text if len(text) <= 80 else text[:77] + "...")
