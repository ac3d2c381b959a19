"""All questions in order, and their answers as a table or as JSON."""

from __future__ import annotations

import json
from collections import Counter
from typing import Final

import httpx

from fhirserver.cli.console import out
from fhirserver.cli.smart import backend, discovery, endpoints, launch, transport
from fhirserver.cli.smart.report import Finding, Report
from fhirserver.cli.smart.target import SCOPES, Client, Person, Target

TIMEOUT_S: Final = 30.0
STYLES: Final = {"pass": "green", "fail": "bold red", "warn": "yellow", "skipped": "dim"}
_STATUSES: Final = ("pass", "warn", "fail", "skipped")


def look(
    base: str,
    client: Client | None = None,
    person: Person | None = None,
    *,
    scopes: str = SCOPES,
    launch_context: str | None = None,
    wire: httpx.BaseTransport | None = None,
) -> Report:
    """Ask everything that can be asked with what is given."""
    report = Report()
    with httpx.Client(transport=wire, timeout=TIMEOUT_S) as http:
        target = Target(base.rstrip("/"), http, report, client, person, scopes, launch_context, wire)
        discovery.look(target)
        transport.look(target)
        if not target.configuration:
            return report
        endpoints.look(target)
        _with_credentials(target)
    return report


def _with_credentials(target: Target) -> None:
    """What needs a client, and a key or a person."""
    report, client = target.report, target.client
    report.group = "Launch"
    if client is None or target.person is None:
        what = "somebody signs in and lets the app in; tokens, refresh, scopes, replay"
        report.skip_all((what,), "needs --client-id, --redirect-uri, --user and --password")
    else:
        launch.look(target)
    report.group = "Backend services"
    if client is None or client.key is None or target.person is not None:
        report.skip_all(
            ("an assertion gets a token, and no false one does",), "needs --client-id and --key alone"
        )
    else:
        backend.look(target)


def show(findings: list[Finding]) -> None:
    """A table, and how many of each."""
    group = ""
    for finding in findings:
        if finding.group != group:
            group = finding.group
            out.print(f"\n[bold]{group}[/]")
        out.print(f"  [{STYLES[finding.status]}]{finding.status:<7}[/]  ", end="")
        out.print(finding.check, markup=False)
        if finding.reason:
            out.print(f"{'':<11}[dim]->[/] ", end="")
            out.print(finding.reason, markup=False)
    counts = Counter(finding.status for finding in findings)
    out.print("\n" + ", ".join(f"{counts[status]} {status}" for status in _STATUSES))


def as_json(base: str, findings: list[Finding]) -> str:
    """For programs."""
    counts = Counter(finding.status for finding in findings)
    listed = [
        {"group": one.group, "check": one.check, "status": one.status, "reason": one.reason}
        for one in findings
    ]
    summary = {status: counts[status] for status in _STATUSES}
    return json.dumps({"server": base, "summary": summary, "findings": listed}, indent=2, ensure_ascii=False)
