"""`fhirserver settings`: every setting, its value and where that came from; also the reference page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fhirserver.cli.console import out, read_settings

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

GROUPS = {
    "database_url": "Where things are",
    "auth": "Who may come in",
    "time_zone": "How FHIR is spoken",
    "audit": "What is recorded",
    "body_bytes_max": "Limits",
    "statement_timeout_s": "The database",
    "log_level": "Running it",
}
"""The first setting of each group, in the order of `Settings`."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="settings")(settings)


def settings(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the reference page docs/reference/settings.md instead.")
    ] = False,
) -> None:
    """Show every setting, its value, and where the value came from.

    Flags come before the environment, the environment before a file [bold].env[/] in the current folder, and
    that before the defaults. Passwords are masked.
    """
    if markdown:
        typer.echo(reference(), nl=False)
        return
    from rich.table import Table

    from fhirserver.observe.shown import display, origin
    from fhirserver.settings import variables

    current = read_settings()
    origins, values = origin(current), display(current)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("variable", "value", "from"):
        table.add_column(heading, overflow="fold")
    for name, value in values.items():
        if name in GROUPS:
            table.add_row(f"[bold cyan]{GROUPS[name]}[/]", "", "")
        style = "dim" if origins[name] == "default" else "green"
        table.add_row(variables(name)[0], value or "-", f"[{style}]{origins[name]}[/]")
    out.print(table)


def reference() -> str:
    """The text of docs/reference/settings.md, made from the fields of `Settings`."""
    from fhirserver.settings import Settings, variables

    lines = [
        "# Settings",
        "",
        "Flags of `fhirserver serve` come before environment variables, these before a file `.env` in the",
        "current folder, and that before the defaults. Lists are written with commas. `fhirserver settings`",
        "shows what is in force and where it came from. This page is generated: `make docs`.",
    ]
    for name, field in Settings.model_fields.items():
        if name in GROUPS:
            lines += ["", f"## {GROUPS[name]}", "", "| variable | default | meaning |", "|---|---|---|"]
        lines.append(f"| `{variables(name)[0]}` | {_default(field.default)} | {_meaning(field)} |")
    return "\n".join(lines) + "\n"


def _default(value: Any) -> str:
    if value is None or value == ():
        return "-"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _meaning(field: FieldInfo) -> str:
    limits = [
        f"{word} {getattr(rule, attribute)}"
        for rule in field.metadata
        for attribute, word in (("ge", "at least"), ("gt", "more than"), ("le", "at most"))
        if getattr(rule, attribute, None) is not None
    ]
    text = f"{field.description} ({', '.join(limits)})" if limits else str(field.description)
    return text.replace("|", "\\|")
