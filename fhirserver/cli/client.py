"""`fhirserver client`: the apps and services that may ask for access."""

from __future__ import annotations

import string
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fhirserver.cli.console import TENANT, USAGE, DataDir, OfTenant, err, fail, out
from fhirserver.cli.user import with_services

if TYPE_CHECKING:
    from fhirserver.db.pool import Connection
    from fhirserver.interactions.call import Services
    from fhirserver.oauth.clients import Client
    from fhirserver.oauth.context import Server

group = typer.Typer(
    name="client",
    help="Apps and services that may ask for access: add, list, approve, secret, revoke, launch.",
    no_args_is_help=True,
)
_OF_IDS = frozenset(string.ascii_letters + string.digits + "._-")
Id = Annotated[str, typer.Argument(help="The client_id, as `client list` shows it.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(group)


@group.callback()
def of_tenant(tenant: OfTenant = None) -> None:
    """See the help of the group."""
    TENANT.set(tenant)


@group.command()
def add(
    name: Annotated[str, typer.Argument(help="What people see when it asks for access.")],
    redirect: Annotated[
        list[str] | None,
        typer.Option(help="Address that gets the answers, exactly; may stand several times."),
    ] = None,
    scope: Annotated[
        str, typer.Option(help="Scopes that it may ask for; without, all that people let it have.")
    ] = "",
    kind: Annotated[
        Literal["public", "secret", "keys"],
        typer.Option(help="How it proves who it is: not at all, by a secret, or by keys of its own."),
    ] = "public",
    jwks: Annotated[
        str | None,
        typer.Option(help="Its public keys, for keys: a file with a JWK set, or its https address."),
    ] = None,
    backend: Annotated[
        bool, typer.Option("--backend", help="A service without people: client credentials, system/ scopes.")
    ] = False,
    launch_uri: Annotated[str | None, typer.Option(help="Address that an EHR opens to launch it.")] = None,
    ehr: Annotated[
        bool, typer.Option("--ehr", help="It is an EHR: it may open launches into other apps.")
    ] = False,
    id_: Annotated[str | None, typer.Option("--id", help="Its client_id; without, a new UUID.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Register a client and approve it. A secret is shown once."""
    methods = {"public": "none", "secret": "client_secret_basic", "keys": "private_key_jwt"}
    given: dict[str, Any] = {
        "client_name": name,
        "token_endpoint_auth_method": methods["keys" if backend else kind],
        "grant_types": ["client_credentials"] if backend else ["authorization_code", "refresh_token"],
        **({"redirect_uris": redirect} if redirect else {}),
        **({"scope": scope} if scope else {}),
        **({"launch_uri": launch_uri} if launch_uri else {}),
        **_keys(jwks),
    }

    if id_ is not None and not set(id_) <= _OF_IDS:
        fail("a client_id has letters, digits, '.', '_' and '-'", USAGE)

    async def work(connection: Connection, services: Services) -> tuple[str, str | None]:
        from fhirserver.oauth import clients, metadata, register

        server = _server(services)
        found = metadata.checked(given) | ({"ehr": True} if ehr else {})
        if id_ is not None and await clients.find(connection, server.tenant, id_) is not None:
            fail(f"there is a client {id_} already")
        client, secret, _ = await register.insert(connection, server, found, approved=True, id_=id_)
        return client.id, secret

    made, secret = _told(data_dir, work)
    out.print(f"client_id      {made}", markup=False)
    if secret is not None:
        out.print(f"client_secret  {secret}", markup=False)
        err.print("The secret is shown this once; `fhirserver client secret` makes another.", markup=False)


def _keys(jwks: str | None) -> dict[str, Any]:
    """`jwks` or `jwks_uri` of the metadata."""
    if jwks is None:
        return {}
    if jwks.startswith(("https://", "http://")):
        return {"jwks_uri": jwks}
    import json

    try:
        return {"jwks": json.loads(Path(jwks).read_text(encoding="utf-8"))}
    except (OSError, ValueError) as error:
        fail(f"--jwks {jwks}: {error}", USAGE)


@group.command("list")
def list_(data_dir: DataDir = None) -> None:
    """All clients: id, status, how they prove who they are, name, and the scopes they registered."""

    async def work(connection: Connection, services: Services) -> list[Client]:
        from fhirserver.oauth import clients

        return await clients.all_of(connection, services.tenant)

    for client in _told(data_dir, work):
        parts = (client.id, f"{client.status:9}", f"{client.method:20}", client.name, " ".join(client.scopes))
        out.print("  ".join(parts).rstrip(), markup=False)


@group.command()
def approve(
    id_: Id,
    ehr: Annotated[
        bool, typer.Option("--ehr", help="It is an EHR: it may open launches into other apps.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Let a client in that registered itself, or that was revoked."""

    async def work(connection: Connection, services: Services) -> None:
        from fhirserver.oauth import clients

        client = await _found(connection, services, id_)
        await clients.approve(connection, services.tenant, client.id, ehr=ehr)

    _told(data_dir, work)
    out.print(f"approved {id_}", markup=False)


@group.command()
def secret(id_: Id, data_dir: DataDir = None) -> None:
    """Give a client a new secret, shown once; the one before is good no more."""

    async def work(connection: Connection, services: Services) -> str:
        from fhirserver.oauth import clients

        client = await _found(connection, services, id_)
        if client.method not in clients.SECRET_METHODS:
            fail(f"{id_} proves who it is by {client.method}, not by a secret")
        return await clients.new_secret_of(connection, services.tenant, client.id)

    out.print(_told(data_dir, work), markup=False)


@group.command()
def revoke(id_: Id, data_dir: DataDir = None) -> None:
    """End all access of a client, now, and let it ask for no more."""

    async def work(connection: Connection, services: Services) -> int:
        from fhirserver.oauth import clients, grants

        client = await _found(connection, services, id_)
        async with connection.transaction():
            await clients.disable(connection, services.tenant, client.id)
            return await grants.revoke_of(connection, _server(services), client.id)

    out.print(f"revoked {id_}, and {_told(data_dir, work)} grants of its", markup=False)


@group.command()
def launch(
    id_: Id,
    user: Annotated[
        str, typer.Option(help="Whose launch it is: their login, or Practitioner/1 and the like.")
    ],
    patient: Annotated[str | None, typer.Option(help="Id of the Patient that is open.")] = None,
    encounter: Annotated[str | None, typer.Option(help="Id of the Encounter that is open.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Open an EHR launch, good once and for five minutes, and print the address to open in the browser."""

    async def work(connection: Connection, services: Services) -> str:
        from fhirserver.oauth import launches

        server, client = _server(services), await _found(connection, services, id_)
        who = await launches.user_of(connection, server, user)
        given = {"patient": patient, "encounter": encounter}
        made = await launches.create(connection, server, client, who, launches.context_of(given))
        return launches.address_of(server, client, made) or f"iss={server.base}\nlaunch={made}"

    out.print(_told(data_dir, work), markup=False, soft_wrap=True)


def _server(services: Services) -> Server:
    from fhirserver.oauth.context import Server

    return Server.of(services)


async def _found(connection: Connection, services: Services, id_: str) -> Client:
    from fhirserver.oauth import clients

    client = await clients.find(connection, services.tenant, id_)
    if client is None:
        fail(f"there is no client {id_}; `fhirserver client list` shows those there are")
    return client


def _told(data_dir: Path | None, work: Any) -> Any:
    """What `work` gives; what is wrong with the arguments is told."""
    from fhirserver.oauth.errors import OAuthError

    try:
        return with_services(data_dir, work)
    except OAuthError as error:
        fail(str(error), USAGE)
