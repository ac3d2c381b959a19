"""The part of `fhirserver doctor` behind `--smart`: options to values, findings to an exit code."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import typer

from fhirserver.cli.console import FAILED, USAGE, fail, out
from fhirserver.cli.smart import run
from fhirserver.cli.smart.target import SCOPES, Client, KeyUnusable, Person, read_key


def client(id_: str | None, secret: str | None, key: Path | None, redirect_uri: str | None) -> Client | None:
    """The client of the options. Ends the command when they do not agree."""
    if id_ is None:
        if secret or key or redirect_uri:
            fail(
                "--client-secret, --key and --redirect-uri are a client's: give its --client-id, too.", USAGE
            )
        return None
    if secret and key:
        fail("a client proves who it is by --client-secret or by --key, not by both.", USAGE)
    try:
        return Client(id_, redirect_uri or "", secret, read_key(key) if key else None)
    except KeyUnusable as error:
        fail(str(error), USAGE)


def person(login: str | None, password: str | None, patient: str | None) -> Person | None:
    """Who signs in. Ends the command when half of it is missing."""
    if login is None and password is None:
        return None
    if not login or not password:
        fail("--user and --password belong together.", USAGE)
    return Person(login, password, patient)


def check(
    base: str,
    client: Client | None,
    person: Person | None,
    *,
    scopes: str | None,
    launch_context: str | None,
    as_json: bool,
) -> None:
    """Ask, show, and end the command with 1 when something failed."""
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        fail(f"{base} is not the address of a FHIR base, such as https://example.org/fhir.", USAGE)
    report = run.look(base, client, person, scopes=scopes or SCOPES, launch_context=launch_context)
    if as_json:
        typer.echo(run.as_json(base, report.findings))
    else:
        out.print(f"SMART on FHIR at {base}", markup=False)
        run.show(report.findings)
    if report.failures:
        raise typer.Exit(FAILED)
