"""`fhirserver reindex`: what is derived from resources made anew, or compared with what it should be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from fhirserver.cli.console import DataDir, err, fail, out, read_settings

if TYPE_CHECKING:
    from fhirserver.cli.reindexing import Report

SHOWN_MAX: Final = 50


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="reindex")(reindex)


def reindex(
    types: Annotated[
        list[str] | None, typer.Option("--type", help="Only this resource type; may be repeated.")
    ] = None,
    params: Annotated[
        list[str] | None,
        typer.Option("--param", help="Only types that have this search parameter; may be repeated."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare, change nothing; differences make the exit code 1.")
    ] = False,
    progress: Annotated[
        bool, typer.Option("--progress/--no-progress", help="Show how far it has come.")
    ] = True,
    data_dir: DataDir = None,
) -> None:
    """Make all index entries anew, while the servers go on.

    Needed when a release says so, and after a change of [bold]FHIRSERVER_TIME_ZONE[/],
    [bold]FHIRSERVER_REFERENTIAL_INTEGRITY[/] or [bold]FHIRSERVER_FULL_TEXT[/], which have to be set for this
    command too. Without --type and --param everything is rebuilt. It is done for all tenants. It can be ended
    at any time: running servers go on with it, and so does the next call.

    Search parameters that are defined by SearchParameter resources need no call: servers build them by
    themselves.
    """
    import asyncio

    from fhirserver.cli.reindexing import Refused, run
    from fhirserver.db.embedded import EmbeddedError, database
    from fhirserver.errors import FhirError
    from fhirserver.observe import log

    log.configure("error")
    settings = read_settings(data_dir=data_dir)
    try:
        with database(settings) as dsn:
            report = asyncio.run(
                run(dsn, settings, types or [], params or [], verifying=verify, shown=progress)
            )
    except (Refused, EmbeddedError, FhirError) as error:
        fail(str(error))
    _conclude(report, verify)


def _conclude(report: Report, verify: bool) -> None:
    """Print what came of it; end the command where the index is not as it should be."""
    for line in report.differences[:SHOWN_MAX]:
        err.print(line, style="red", markup=False)
    if report.different > SHOWN_MAX:
        err.print(f"… and {report.different - SHOWN_MAX:,} more")
    if report.skipped:
        err.print(f"not verified, as they are being rebuilt: {', '.join(report.skipped)}", style="red")
    versions = f"{report.seen:,} versions in {report.seconds:.1f} s"
    strays = sum(report.strays.values())
    rest = f", {strays:,} index rows belonged to no version" if strays else ""
    if not verify:
        out.print(f"rebuilt {versions}: {report.mended:,} were not as they should be{rest}")
        return
    out.print(f"verified {versions}: {report.different:,} are not as they should be{rest}")
    if report.different or strays or report.skipped:
        raise typer.Exit(1)
