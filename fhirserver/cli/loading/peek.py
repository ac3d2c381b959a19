"""Looks into JSON just far enough to route it; resources stay the bytes they were written as.

Decimals keep their precision because nothing is decoded that is passed on
(https://hl7.org/fhir/R4/datatypes.html#decimal).
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

import msgspec


class Head(msgspec.Struct):
    """What the beginning of every resource says."""

    resourceType: str = ""
    id: str | None = None
    type: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def bundle_type(self) -> str:
        """Bundle.type; empty for other resources, whose `type` is something else."""
        text = bytes(self.type)
        return text.strip(b'"').decode() if self.resourceType == "Bundle" and text[:1] == b'"' else ""


class Entry(msgspec.Struct):
    """A Bundle.entry whose resource is left as it is written."""

    fullUrl: str | None = None
    resource: msgspec.Raw = msgspec.Raw(b"")


class Bundle(msgspec.Struct):
    """A Bundle with its entries not decoded."""

    entry: list[Entry] = []


class Coding(msgspec.Struct):
    """The part of an issue's details that people read."""

    text: str = ""


class Issue(msgspec.Struct):
    """One OperationOutcome.issue: https://hl7.org/fhir/R4/operationoutcome.html."""

    severity: str = ""
    code: str = ""
    diagnostics: str = ""
    expression: list[str] = []
    details: Coding | None = None

    @property
    def text(self) -> str:
        """What went wrong and where, in one line."""
        said = self.diagnostics or (self.details.text if self.details else "") or self.code
        return f"{said} ({', '.join(self.expression)})" if self.expression else said


class Outcome(msgspec.Struct):
    """An OperationOutcome."""

    issue: list[Issue] = []

    @property
    def text(self) -> str:
        """The errors, or whatever else it says when there is none."""
        errors = [issue for issue in self.issue if issue.severity in ("error", "fatal")]
        return "; ".join(issue.text for issue in errors or self.issue)


class EntryResponse(msgspec.Struct):
    """Bundle.entry.response: https://hl7.org/fhir/R4/bundle.html."""

    status: str = ""
    outcome: Outcome | None = None

    @property
    def code(self) -> int:
        """The HTTP status; 0 when it is missing."""
        word = self.status[:3]
        return int(word) if word.isdigit() else 0


class ResponseEntry(msgspec.Struct):
    """An entry of the answer to a transaction or batch."""

    response: EntryResponse = msgspec.field(default_factory=EntryResponse)


class Answer(msgspec.Struct):
    """An answer of the server: a Bundle of responses or an OperationOutcome."""

    resourceType: str = ""
    entry: list[ResponseEntry] = []
    issue: list[Issue] = []


_HEAD: Final = msgspec.json.Decoder(Head)
_BUNDLE: Final = msgspec.json.Decoder(Bundle)
_ANSWER: Final = msgspec.json.Decoder(Answer)


def head(data: bytes | msgspec.Raw) -> Head:
    """Type, id and Bundle type. Raises ValueError when the text is not a JSON object with a resourceType."""
    found = _HEAD.decode(data)
    if not found.resourceType:
        raise ValueError("is not a FHIR resource: it has no resourceType")
    return found


def entries(data: bytes) -> list[Entry]:
    """The entries of a Bundle. Raises ValueError."""
    return _BUNDLE.decode(data).entry


def answer(data: bytes) -> Answer | None:
    """What the server answered; None when it is not FHIR JSON."""
    try:
        return _ANSWER.decode(data)
    except ValueError:
        return None


def target(resource_type: str, id_: str | None) -> tuple[str, str]:
    """Method and path that keep the id where there is one; nobody chooses the ids of AuditEvents."""
    if id_ and resource_type != "AuditEvent":
        return "PUT", f"{resource_type}/{quote(id_, safe='')}"
    return "POST", resource_type
