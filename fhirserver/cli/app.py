"""The command `fhirserver`. Nothing slow is imported here: `--help` answers at once."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from inspect import cleandoc
from typing import Annotated

import typer

COMMANDS = (
    *(
        "serve",
        "migrate",
        "load",
        "reindex",
        "demo",
        "user",
        "client",
        "keys",
        "tenant",
        "package",
        "doctor",
        "settings",
    ),
)

app = typer.Typer(
    name="fhirserver",
    help="A FHIR R4 server over PostgreSQL.\n\n"
    "Start with [bold]fhirserver serve[/]: without further settings it brings its own PostgreSQL, keeps the "
    "data in ./.data and answers at http://127.0.0.1:8080/fhir.",
    epilog="Every setting: [bold]fhirserver settings[/]. Is everything in order: [bold]fhirserver doctor[/].",
    no_args_is_help=True,
    rich_markup_mode="rich",
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from fhirserver.settings import version

        typer.echo(version())
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Options before the command."""


def _flowing(text: str) -> str:
    """The paragraphs of a docstring without its line breaks: help is as wide as the terminal."""
    return "\n\n".join(" ".join(part.split()) for part in cleandoc(text).split("\n\n"))


for _name in COMMANDS:
    if find_spec(f"fhirserver.cli.{_name}") is not None:
        import_module(f"fhirserver.cli.{_name}").register(app)
_groups = [_group.typer_instance for _group in app.registered_groups if _group.typer_instance]
for _command in (_one for _app in (app, *_groups) for _one in _app.registered_commands):
    _command.help = _flowing(_command.help or (_command.callback and _command.callback.__doc__) or "")
