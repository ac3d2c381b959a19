"""`fhirserver user`: the accounts of those who sign in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from fhirserver.cli.console import TENANT, DataDir, OfTenant, fail, out, read_settings

if TYPE_CHECKING:
    from fhirserver.db.pool import Connection
    from fhirserver.interactions.call import Services
    from fhirserver.people.accounts import Account

T = TypeVar("T")
Work = Callable[["Connection", "Services"], Awaitable[T]]

Login = Annotated[str, typer.Argument(help="Name to sign in with; an e-mail address is a good one.")]

group = typer.Typer(
    name="user",
    help="Accounts of those who sign in: add, list, disable, enable, password, role, invite.\n\n"
    "An account belongs to a FHIR Person; what it may do follows from the Patient, Practitioner and "
    "PractitionerRoles behind that. Works on DATABASE_URL or on the data in --data-dir, beside a running "
    "server or without one.",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(group)


@group.callback()
def of_tenant(tenant: OfTenant = None) -> None:
    """See the help of the group."""
    TENANT.set(tenant)


def with_services(data_dir: Any, work: Work[T]) -> T:
    """Do the work on a connection to the database of the settings, for the tenant that the group of the
    command names. Ends the command where that fails."""
    import asyncio

    from fhirserver.db.embedded import EmbeddedError, database
    from fhirserver.db.migrate import MigrationError, migrate
    from fhirserver.errors import FhirError

    settings, tenant = read_settings(data_dir=data_dir), TENANT.get()

    async def main(dsn: str) -> T:
        from fhirserver.app import open_services
        from fhirserver.people import mail

        services = await open_services(settings.model_copy(update={"database_url": dsn}), tenant)
        try:
            async with services.pool.acquire() as connection:
                return await work(connection, services)
        finally:
            await mail.sent()
            await services.pool.close()

    try:
        with database(settings) as dsn:
            migrate(dsn)
            return asyncio.run(main(dsn))
    except (EmbeddedError, MigrationError, FhirError, ValueError) as error:
        fail(f"{error}")


async def _account(connection: Connection, services: Services, login: str) -> Account:
    from fhirserver.people import accounts

    found = await accounts.find(connection, services, login)
    if found is None:
        raise ValueError(f"there is no account {login!r}; fhirserver user list shows all")
    return found


def _require_role(services: Services, role: str) -> None:
    from fhirserver.fhir.suggest import nearest
    from fhirserver.people.identity import configured

    known = configured(services)
    if role not in known:
        near = nearest(role, sorted(known))
        hint = f"; did you mean {near[0]}?" if near else "."
        raise ValueError(f"there is no role {role!r}{hint} Roles are {', '.join(sorted(known))}.")


def _said(login: str, password: str) -> None:
    out.print(f"sign in as [bold]{login}[/] with the one-time password [bold]{password}[/]", soft_wrap=True)
    out.print("[dim]It is shown once; the next sign-in asks for another one.[/]")


@group.command()
def add(
    login: Login,
    name: Annotated[str, typer.Option(help="The person's name, as it is spoken.")],
    role: Annotated[
        list[str] | None,
        typer.Option(help="A role such as nurse; give it again for more. See settings, roles."),
    ] = None,
    email: Annotated[
        str | None, typer.Option(help="Where links to choose a new password go. \\[login, if one]")
    ] = None,
    link: Annotated[
        list[str] | None,
        typer.Option(help="A record that the person is: Patient/1, Practitioner/2, RelatedPerson/3."),
    ] = None,
    password_hash: Annotated[
        str | None, typer.Option(help="Password hash from another system: argon2 or Django's pbkdf2.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Make an account, with a one-time password that is printed once.

    A role makes the person a Practitioner with a PractitionerRole; a link to a Patient lets them see that
    record as their own.
    """

    async def work(connection: Connection, services: Services) -> str | None:
        from fhirserver.people import accounts, first, passwords

        for one in role or ():
            _require_role(services, one)
        if password_hash is not None and not passwords.is_readable(password_hash):
            raise ValueError("the password hash is neither argon2 ($argon2id$...) nor Django's pbkdf2")
        password = None if password_hash is not None else accounts.one_time_password()
        address = email or (login if "@" in login else None)
        await first.add(
            connection,
            services,
            login,
            name,
            password_hash if password is None else await passwords.hashed(password),
            roles=tuple(role or ()),
            email=address,
            links=tuple(link or ()),
            must_change=password is not None,
        )
        return password

    password = with_services(data_dir, work)
    out.print(f"made the account {login}", markup=False)
    if password is not None:
        _said(login, password)


@group.command(name="list")
def list_(data_dir: DataDir = None) -> None:
    """Show all accounts: who, which roles, and when they signed in last."""

    async def work(connection: Connection, services: Services) -> list[tuple[str, ...]]:
        from fhirserver.people import accounts, identity

        rows: list[tuple[str, ...]] = []
        for one in await accounts.every(connection, services):
            who = await identity.of_person(connection, services, one.person)
            state = "disabled" if one.disabled else "new" if one.must_change else "active"
            rows.append(
                (
                    one.login,
                    who.name if who else "-",
                    "/".join(who.user) if who else f"Person/{one.person}",
                    ", ".join(who.roles) if who else "-",
                    state,
                    "on" if one.totp else "-",
                    f"{one.seen:%Y-%m-%d %H:%M}" if one.seen else "never",
                )
            )
        return rows

    rows = with_services(data_dir, work)
    if not rows:
        out.print("no accounts yet: fhirserver user add")
        return
    table = [("login", "name", "is", "roles", "state", "second step", "signed in last (UTC)"), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for number, row in enumerate(table):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        out.print(line, markup=False, style=None if number else "bold")


@group.command()
def disable(login: Login, data_dir: DataDir = None) -> None:
    """End an account: nobody signs in with it, and whoever is signed in is out at once, apps included.

    The Person becomes inactive, which is what any FHIR client with the right to do so may do as well.
    """
    _set_active(login, data_dir, active=False)
    out.print(f"disabled {login}; whoever was signed in is out", markup=False)


@group.command()
def enable(login: Login, data_dir: DataDir = None) -> None:
    """Let a disabled account sign in again; apps have to be let in anew."""
    _set_active(login, data_dir, active=True)
    out.print(f"enabled {login}", markup=False)


def _set_active(login: str, data_dir: Any, *, active: bool) -> None:
    async def work(connection: Connection, services: Services) -> None:
        from fhirserver.people import persons

        account = await _account(connection, services, login)
        await persons.set_active(connection, services, account.person, active)

    with_services(data_dir, work)


@group.command()
def password(
    login: Login,
    link: Annotated[
        bool, typer.Option("--link", help="Print a link to choose one, good once and for an hour.")
    ] = False,
    without_second_step: Annotated[
        bool, typer.Option("--without-second-step", help="Turn the second step off, for a lost phone.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Give an account a new one-time password and sign it out everywhere; or print a link to choose one."""

    async def work(connection: Connection, services: Services) -> str:
        from fhirserver.people import accounts, passwords, reset, totp

        account = await _account(connection, services, login)
        if without_second_step:
            await totp.turn_off(connection, account.id)
        if link:
            return await reset.link(connection, services, account)
        made = accounts.one_time_password()
        stored = await passwords.hashed(made)
        if not await accounts.set_password(connection, services, account, stored, must_change=True):
            raise ValueError("somebody else changed the password at this moment; try again")
        return made

    made = with_services(data_dir, work)
    if link:
        out.print(made, markup=False)
    else:
        _said(login, made)


@group.command()
def role(
    login: Login,
    change: Annotated[Literal["add", "remove"], typer.Argument(help="What to do.")],
    name: Annotated[str, typer.Argument(help="The role, such as nurse.")],
    data_dir: DataDir = None,
) -> None:
    """Give somebody a role, or take it away: a PractitionerRole with the role as its code.

    Apps that were let in with the role lose their access at once and ask again.
    """

    async def work(connection: Connection, services: Services) -> bool:
        from fhirserver.people import persons

        _require_role(services, name)
        account = await _account(connection, services, login)
        todo = persons.give_role if change == "add" else persons.take_role
        async with connection.transaction():
            return await todo(connection, services, account.person, name)

    done = with_services(data_dir, work)
    has = "has" if change == "add" else "has not"
    out.print(f"{login} {has} the role {name}{' now' if done else ' already'}", markup=False)


@group.command()
def invite(
    reference: Annotated[
        str,
        typer.Argument(
            help="Whose account it will be: Patient/1, RelatedPerson/2, Practitioner/3, Person/4."
        ),
    ],
    data_dir: DataDir = None,
) -> None:
    """Print an invitation: a link, good once and for a week, with which somebody makes their own account."""

    async def work(connection: Connection, services: Services) -> tuple[str, str]:
        from fhirserver.people import invitations

        if services.settings.join == "off":
            raise ValueError("FHIRSERVER_JOIN is off: nobody makes an account with an invitation")
        code = await invitations.invite(connection, services, reference)
        return code, invitations.link(services, code)

    code, link = with_services(data_dir, work)
    out.print(link, markup=False)
    out.print(f"or, at {link.removesuffix('/' + code)}, the code {code}", markup=False)
