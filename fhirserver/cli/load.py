"""`fhirserver load`: files and folders of FHIR data into a running server, through its REST door."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fhirserver.cli.console import err, fail, out

if TYPE_CHECKING:
    from fhirserver.cli.loading import Report

FAILURES_SHOWN_MAX: Final = 100
URL: Final = "http://127.0.0.1:8080/fhir"
URL_OPTION = typer.Option("--url", help="FHIR base of the server.")
TOKEN_OPTION = typer.Option("--token", envvar="FHIRSERVER_TOKEN", help="Access token, if it asks for one.")
CONCURRENCY_OPTION = typer.Option("--concurrency", min=1, max=64, help="Requests at a time.")
PROGRESS_OPTION = typer.Option("--progress/--no-progress", help="Show how far it has come.")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="load")(load_command)


def load_command(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Files (.json, .ndjson, .xml, each also .gz) and folders.", show_default=False),
    ],
    url: Annotated[str, URL_OPTION] = URL,
    concurrency: Annotated[int, CONCURRENCY_OPTION] = 4,
    token: Annotated[str | None, TOKEN_OPTION] = None,
    progress: Annotated[bool, PROGRESS_OPTION] = True,
) -> None:
    """Load FHIR files into a running server.

    Transactions and batches are posted as they are, other Bundles are taken apart, NDJSON is sent in groups,
    single resources are stored under their ids. What is refused because something it refers to is missing is
    tried again at the end. Every failure is listed with its file and entry, and makes the exit code 1.
    """
    import asyncio

    from fhirserver.cli.loading import Unreachable, load

    try:
        report = asyncio.run(load(paths, url, concurrency, progress, headers=authorization(token)))
    except (Unreachable, ValueError, OSError) as error:
        fail(str(error))
    conclude(report)


def authorization(token: str | None) -> dict[str, str]:
    """The header that carries an access token: https://www.rfc-editor.org/rfc/rfc6750#section-2.1."""
    return {"Authorization": f"Bearer {token}"} if token else {}


def conclude(report: Report) -> None:
    """Print the failures by file and entry and then the sum; end the command if there were failures."""
    ordered = sorted(report.failures, key=lambda failure: failure.file)
    for file, group in groupby(ordered[:FAILURES_SHOWN_MAX], key=lambda failure: failure.file):
        err.print(str(file), style="bold", markup=False)
        for failure in group:
            entry = f"{failure.entry}: " if failure.entry else ""
            status = f"{failure.status} " if failure.status else ""
            err.print(f"  {entry}{status}{failure.text}", style="red", markup=False)
    if len(ordered) > FAILURES_SHOWN_MAX:
        err.print(f"  … and {len(ordered) - FAILURES_SHOWN_MAX:,} more")
    count = len(ordered)
    failures = f", {count:,} failure{'s' if count != 1 else ''}" if count else ""
    out.print(f"{report.resources:,} resources in {report.seconds:.1f} s ({report.rate:,.0f}/s){failures}")
    if count:
        raise typer.Exit(1)
