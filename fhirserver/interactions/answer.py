"""Answers about one version: status, location, entity tag, and what Prefer asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Final

from fhirserver.errors import Issue
from fhirserver.fhir import json
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.headers import Return
from fhirserver.store.version import Draft, Version

_PLACE = "http://hl7.org/fhir/StructureDefinition/operationoutcome-issue-"
"""With `line` and `col`: where an issue stands, in the words of HL7's own validator."""
_UNQUOTED = re.compile(r"[^ !#-\[\]-~]")
"""What stands in no quoted text of a header as it is."""
_WARNINGS_MAX: Final = 5
_WARNING_LENGTH_MAX: Final = 300
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def version_headers(version: Version) -> dict[str, str]:
    """ETag and Last-Modified: https://hl7.org/fhir/R4/http.html#versioning"""
    return {"ETag": version.etag, "Last-Modified": _http_date(version.updated)}


@lru_cache(maxsize=1_024)
def _http_date(moment: datetime) -> str:
    """The entries of a transaction share their instant, and readers read the same resources."""
    return format_datetime(moment, usegmt=True)


def outcome(*issues: Issue) -> bytes:
    """An OperationOutcome as JSON: https://hl7.org/fhir/R4/operationoutcome.html"""
    return json.dumps({"resourceType": "OperationOutcome", "issue": [issue_element(i) for i in issues]})


def issue_element(issue: Issue) -> dict[str, object]:
    """OperationOutcome.issue"""
    element: dict[str, object] = {
        "severity": issue.severity,
        "code": issue.code,
        "diagnostics": _text(issue.diagnostics) or issue.code,
    }
    if issue.expression:
        element["expression"] = [_text(issue.expression)]
    if issue.line is not None:
        places = [("line", issue.line), ("col", issue.column)]
        extensions = [{"url": _PLACE + name, "valueInteger": at} for name, at in places if at is not None]
        return {"extension": extensions, **element}
    return element


def _text(echoing: str) -> str:
    """A message that may repeat what a client sent, without what neither a string of FHIR nor XML can hold.

    https://hl7.org/fhir/R4/datatypes.html#string
    """
    return _FORBIDDEN.sub("\ufffd", echoing)


def written(call: Call, version: Version, status: int, done: str, made: Draft | None = None) -> Answer:
    """After a write: 201 with Location or 200, and by Prefer nothing, the resource or an outcome, which also
    has the warnings, which a header says anyhow. `made` is what was written, None where nothing had to be."""
    headers = version_headers(version)
    warnings = made.warnings if made is not None else ()
    if warnings:
        headers["Warning"] = _warning(warnings)
    location = f"{call.base}/{version.versioned_path}"
    headers["Location" if status == 201 else "Content-Location"] = location
    match call.prefer.returns:
        case Return.MINIMAL:
            body = None
        case Return.OPERATION_OUTCOME:
            said = Issue("information", "informational", f"{version.versioned_path} {done}")
            body = outcome(said, *warnings)
        case _:
            body = version.json()
    along = made.along if made is not None else ()
    is_recorded = any(one.type == "AuditEvent" for one in along)
    return Answer(status, body, headers, version, recorded=is_recorded, warnings=warnings)


def _warning(warnings: Sequence[Issue]) -> str:
    """For who asks for no OperationOutcome: https://www.rfc-editor.org/rfc/rfc7234#section-5.5"""
    texts = (_UNQUOTED.sub("?", one.diagnostics[:_WARNING_LENGTH_MAX]) for one in warnings[:_WARNINGS_MAX])
    return ", ".join(f'299 - "{text}"' for text in texts)
