"""What the server has promised so far, and everything that was ever sent to it."""

from dataclasses import dataclass, field
from itertools import count
from typing import Any

from fhirserver.fhir import json
from tests.support.exact import exact

WRITE = "urn:example:write"
"""System of the identifier that names the write a version came from."""
KEY = "urn:example:key"
"""System of the identifiers that conditional creates search for."""

Resource = dict[str, Any]


@dataclass(slots=True)
class Transaction:
    """One attempted Bundle: the write that stands in all its resources, and the path it deletes, if any."""

    write: str
    buries: str | None
    acknowledged: bool = False


@dataclass(slots=True)
class Ledger:
    """`sent`: bodies by write. `bodies`: acknowledged versions by (path, number), None for deletions.
    `seen`: what reads showed. `tips`: the highest acknowledged version of each path. `doomed`: paths whose
    deletion was asked for. `keyed`: the ids that the answers to conditional creates named, by key.
    `complaints`: answers that no outage explains."""

    sent: dict[str, list[Resource]] = field(default_factory=dict)
    bodies: dict[tuple[str, int], Resource | None] = field(default_factory=dict)
    seen: dict[tuple[str, int], bytes] = field(default_factory=dict)
    tips: dict[str, int] = field(default_factory=dict)
    doomed: set[str] = field(default_factory=set)
    keyed: dict[str, set[str]] = field(default_factory=dict)
    transactions: dict[str, Transaction] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    unavailable: int = 0
    _serial: Any = field(default_factory=count)

    def stamp(self, resource: Resource) -> Resource:
        """The resource with a new write's identifier as its last; remembered as sent."""
        return self.stamp_all([resource])[0]

    def stamp_all(self, resources: list[Resource]) -> list[Resource]:
        """The resources of one write."""
        write = f"w{next(self._serial)}"
        self.sent[write] = [_stamped(resource, write) for resource in resources]
        return self.sent[write]

    def was_sent(self, resource: Resource) -> bool:
        """Whether a resource is one that was sent, whole; entries of a Bundle may refer to each other."""
        wanted = _comparable(resource)
        return any(_comparable(sent) == wanted for sent in self.sent[write_of(resource)])

    def new_key(self) -> str:
        key = f"k{next(self._serial)}"
        self.keyed[key] = set()
        return key

    def acknowledge(self, content: bytes) -> Resource:
        """A write answered with this representation."""
        resource = json.loads(content)
        path, version = f"{resource['resourceType']}/{resource['id']}", int(resource["meta"]["versionId"])
        self._promise(path, version, resource)
        return resource

    def acknowledge_deletion(self, path: str, version: int) -> None:
        self._promise(path, version, None)

    def saw(self, content: bytes) -> None:
        """A read showed this; what was shown must stay as it was, byte for byte."""
        resource = json.loads(content)
        key = f"{resource['resourceType']}/{resource['id']}", int(resource["meta"]["versionId"])
        if self.seen.setdefault(key, content) != content:
            self.complaints.append(f"{key} was shown as {self.seen[key]!r} and then as {content!r}")

    def _promise(self, path: str, version: int, resource: Resource | None) -> None:
        if (path, version) in self.bodies:
            self.complaints.append(f"version {version} of {path} was given to two writers")
        self.bodies[path, version] = resource
        self.tips[path] = max(version, self.tips.get(path, 0))


def _stamped(resource: Resource, write: str) -> Resource:
    others = [i for i in resource.get("identifier", []) if i["system"] != WRITE]
    return {**resource, "identifier": [*others, {"system": WRITE, "value": write}]}


def _comparable(resource: Resource) -> Any:
    """Without what the server sets."""
    return exact({name: value for name, value in resource.items() if name not in ("id", "meta", "subject")})


def write_of(resource: Resource) -> str:
    """The write that a resource says it came from."""
    return next(i["value"] for i in resource["identifier"] if i["system"] == WRITE)
