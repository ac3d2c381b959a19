"""What the commands share: two consoles, and settings whose errors a person can act on."""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

if TYPE_CHECKING:
    from pydantic import ValidationError

    from fhirserver.settings import Settings

DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the embedded PostgreSQL, used without DATABASE_URL. [dim]\\[.data][/]",
        readable=False,  # whether it is the right user's is asked later, and answered with what to do
    ),
]

OfTenant = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Of this tenant instead of the one at /fhir: before the command."),
]
"""Of a group of commands, which says so to TENANT."""

TENANT: ContextVar[str | None] = ContextVar("tenant", default=None)
"""The tenant that the group of a command names, for the command."""

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

USAGE = 2
FAILED = 1


def fail(text: str, code: int = FAILED) -> NoReturn:
    """End the command with one line, or a few, that say what is wrong and what to do."""
    err.print("[bold red]error[/] ", end="")
    err.print(text, markup=False)
    raise typer.Exit(code)


def read_settings(**flags: Any) -> Settings:
    """The settings of this command, flags that are None not given. Ends the command when one is wrong."""
    from pydantic import ValidationError

    from fhirserver.settings import Settings

    try:
        return Settings.load(**flags)
    except ValidationError as error:
        fail(_explained(error, flags), USAGE)


def _explained(error: ValidationError, flags: dict[str, Any]) -> str:
    from fhirserver.settings import variables

    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        place = str(problem["loc"][0]) if problem["loc"] else ""
        name = "database_url" if place == "DATABASE_URL" else place
        given = flags.get(name) is not None
        label = f"--{name.replace('_', '-')}" if given else variables(name)[0] if name else "settings"
        lines.append(f"{label}: {problem['msg'].removeprefix('Value error, ')}")
    return "\n".join(lines)
