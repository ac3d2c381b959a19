"""`fhirserver package`: FHIR packages (implementation guides and the like) of a tenant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from fhirserver.cli.console import DataDir, fail, out, read_settings

T = TypeVar("T")

if TYPE_CHECKING:
    from fhirserver.cli.packaging import Work
    from fhirserver.interactions.packages.install import Report

SHOWN_MAX = 20

group = typer.Typer(
    name="package",
    help="FHIR packages: implementation guides with their profiles, value sets and search parameters.\n\n"
    "[bold]fhirserver package install hl7.fhir.us.core@7.0.0[/] fetches a package and what it depends on "
    "from the registries of [bold]FHIRSERVER_PACKAGE_REGISTRIES[/]. Servers that run use it at once, and "
    "build its search parameters in the background.",
    no_args_is_help=True,
)

Tenant = Annotated[
    str | None, typer.Option(metavar="NAME", help="Of this tenant instead of the one at /fhir.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(group)


@group.command()
def install(
    what: Annotated[
        str,
        typer.Argument(
            help="A file (.tgz), or name@version of a package: hl7.fhir.us.core@7.0.0, @6.1.x for the "
            "highest 6.1, nothing for the latest.",
            show_default=False,
        ),
    ],
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no registry; dependencies come from --from or are here.")
    ] = False,
    from_: Annotated[
        list[Path] | None,
        typer.Option("--from", help="File or folder with packages (.tgz) to look in first; may be repeated."),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without", help="Name of a package to do without, though depended on; may be repeated."
        ),
    ] = None,
    without_dependencies: Annotated[
        bool, typer.Option("--without-dependencies", help="Install nothing that it depends on.")
    ] = False,
    examples: Annotated[bool, typer.Option("--examples", help="Install its examples too.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also write over what people have changed.")
    ] = False,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Leave out resources that are not valid R4, and list them.")
    ] = False,
    tenant: Tenant = None,
    progress: Annotated[
        bool, typer.Option("--progress/--no-progress", help="Show how far it has come.")
    ] = True,
    data_dir: DataDir = None,
) -> None:
    """Install a package: all of it, or nothing.

    What it depends on is installed as far as the package refers to it: of all of HL7's terminology a few
    value sets and code systems. A dependency that is neither here nor found stops the installation; --without
    NAME leaves it out, and the list says so from then on.

    Installing again what is here changes nothing. Two versions of a package can be here at the same time.
    """
    from fhirserver.cli.packaging import installing
    from fhirserver.interactions.packages.plan import Options

    options = Options(frozenset(without or ()), without_dependencies, examples, overwrite, skip_invalid)
    work = installing(what, list(from_ or ()), options, offline=offline, shown=progress)
    _conclude(_done(work, tenant, data_dir))


@group.command(name="list")
def list_(tenant: Tenant = None, data_dir: DataDir = None) -> None:
    """List the packages: name and version, resources, whether all of it is here, and what it was installed
    without."""
    from fhirserver.cli.packaging import listing

    found = _done(listing(), tenant, data_dir)
    if not found:
        out.print("no packages are installed; fhirserver package install --help says how")
    for one in found:
        part = "" if one.whole else f", as far as needed ({len(one.left_out):,} left out)"
        lacking = f", without {', '.join(one.without)}" if one.without else ""
        asked = "" if one.asked else ", for others"
        out.print(f"{one.label:<40} {one.resources:>6,} resources{part}{asked}{lacking}", markup=False)


@group.command()
def remove(
    what: Annotated[
        str, typer.Argument(help="name@version, or the name where one version is here.", show_default=False)
    ],
    dependencies: Annotated[
        bool, typer.Option("--dependencies", help="Remove also what was installed for this package alone.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Even if another package depends on it or people changed what it brought."
        ),
    ] = False,
    tenant: Tenant = None,
    data_dir: DataDir = None,
) -> None:
    """Remove a package with what it brought: all of it, or nothing.

    What another package brought as well stays, and so does what was here before. The history of what is
    deleted stays readable.
    """
    from fhirserver.cli.packaging import removing

    removed = _done(removing(what, force=force, dependencies=dependencies), tenant, data_dir)
    kept = f", {removed.kept:,} stay" if removed.kept else ""
    out.print(
        f"removed {', '.join(removed.packages)}: {removed.deleted:,} resources deleted{kept}", markup=False
    )


def _done(work: Work[T], tenant: str | None, data_dir: Path | None) -> T:
    """What the work gives for the tenant. Ends the command where it fails."""
    import asyncio

    from fhirserver.cli.packaging import Refused, run
    from fhirserver.db.embedded import EmbeddedError, database
    from fhirserver.db.migrate import MigrationError, migrate
    from fhirserver.errors import FhirError
    from fhirserver.observe import log

    settings = read_settings(data_dir=data_dir)
    log.configure("error")
    try:
        with database(settings) as dsn:
            migrate(dsn)
            return asyncio.run(run(dsn, settings, tenant, work))
    except FhirError as error:
        fail("\n".join(issue.diagnostics for issue in error.issues))
    except (Refused, EmbeddedError, MigrationError, OSError) as error:
        fail(str(error))


def _conclude(report: Report) -> None:
    if report.was_here:
        out.print(f"{report.label} is here already: nothing to do", markup=False)
        return
    figures = {"new": report.created, "updated": report.updated, "deleted": report.deleted}
    parts = [f"{count:,} {what}" for what, count in figures.items() if count]
    parts += [f"{report.unchanged:,} unchanged"] if report.unchanged or not parts else []
    out.print(f"installed {report.label}: {', '.join(parts)}", markup=False)
    for label, count in report.packages.items():
        if label != report.label:
            out.print(f"  with {count:,} resources of {label}", markup=False)
    _some("without", report.without)
    _some("left out, as it is not valid", report.invalid)
    if report.other_versions:
        out.print(f"  {report.other_versions:,} search parameters: another version of them is in force")
    _some("search parameter that is only kept", [f"{url}: {why}" for url, why in report.idle.items()])
    _some("profile that is only kept", [f"{url}: {why}" for url, why in report.unusable.items()])


def _some(what: str, lines: list[str]) -> None:
    for line in lines[:SHOWN_MAX]:
        out.print(f"  {what}: {line}", markup=False)
    if len(lines) > SHOWN_MAX:
        out.print(f"  … and {len(lines) - SHOWN_MAX:,} more", markup=False)
