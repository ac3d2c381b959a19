"""`fhirserver serve`: database, migrations, checks, the HTTP server, and all of it down again in order."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn
from urllib.parse import urlsplit

import typer

from fhirserver.cli.console import DataDir, err, fail, out, read_settings

if TYPE_CHECKING:
    from fhirserver.settings import Settings

APPLICATION = "fhirserver.cli.worker:create"
KEEP_ALIVE_S = 75  # above the 60 s of the usual proxies, which else meet a closing connection
HEALTHCHECK_S = 10  # a worker that is busy for a moment is not dead
WATCH_S = 1.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="serve")(serve)


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. [dim]\\[127.0.0.1][/]")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; 0 takes a free one. [dim]\\[8080][/]")
    ] = None,
    data_dir: DataDir = None,
    workers: Annotated[
        int | None, typer.Option(help="Server processes, about one per core. [dim]\\[1][/]")
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(help="Public FHIR base as clients write it, such as https://example.org/fhir."),
    ] = None,
    auth: Annotated[
        Literal["off", "smart", "external", "auto"] | None,
        typer.Option(
            help="Whether requests need a SMART on FHIR token, and whose. [dim]\\[auto][/]", show_choices=True
        ),
    ] = None,
    insecure: Annotated[
        bool | None,
        typer.Option("--insecure", help="Listen beyond this machine although nobody has to sign in."),
    ] = None,
    reload: Annotated[bool, typer.Option("--reload", help="Start anew when the source changes.")] = False,
) -> None:
    """Start the server.

    With [bold]DATABASE_URL[/] it works on that PostgreSQL (15 or later); without, it starts one of its own
    and keeps the data in --data-dir. Migrations run by themselves. Ctrl-C or SIGTERM lets running requests
    finish.

    All settings, also as environment variables: [bold]fhirserver settings[/].
    """
    settings = read_settings(
        host=host,
        port=port,
        data_dir=data_dir,
        workers=workers,
        base_url=base_url,
        auth=auth,
        insecure=insecure,
    )
    if reason := refusal(settings):
        fail(reason)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    with ExitStack() as stack:
        listener = stack.enter_context(_listen(settings))
        dsn = stack.enter_context(_database(settings))
        _prepare(dsn, settings)
        _require_index(dsn, settings)
        if settings.gives_tokens:
            _first_administrator(dsn, settings)
        _hand_down(stack, settings, dsn, listener.getsockname()[1])
        threading.Thread(target=_welcome, args=(settings, listener.getsockname()), daemon=True).start()
        _run(settings, listener, reload=reload)


def refusal(settings: Settings) -> str | None:
    """Why a server with these settings must not start; None when it may."""
    from fhirserver.issuers import trust

    if found := trust.problem(settings):
        return found
    if not settings.loopback and not settings.sign_in and not settings.insecure:
        return (
            f"{settings.host} can be reached from other machines and nobody would have to sign in. Leave out "
            "--auth off, listen on 127.0.0.1 behind a proxy that checks who comes, or allow it: --insecure."
        )
    if settings.validation != "{}":
        from fhirserver.interactions.conformance import policy_of

        try:
            policy_of(settings.validation)
        except ValueError as error:
            return f"FHIRSERVER_VALIDATION: {error}"
    if settings.consent != "off":
        from fhirserver.policy.consent.enforcement import enforcement_of

        try:
            enforcement_of(settings.consent)
        except ValueError as error:
            return f"FHIRSERVER_CONSENT: {error}"
    return None


def _leave(*_: object) -> NoReturn:
    """A signal outside the HTTP server, which has handlers of its own: leave through every `finally`."""
    raise SystemExit(0)


@contextmanager
def _listen(settings: Settings) -> Iterator[socket.socket]:
    """The listening socket, taken first: a busy port should not cost the start of a database."""
    host = "127.0.0.1" if settings.host == "localhost" else settings.host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, settings.port), family=family, backlog=2048)
    except OSError as error:
        why = os.strerror(error.errno or 0)
        fail(f"cannot listen on {host} port {settings.port} ({why}): choose another with --port.")
    with listener:
        yield listener


@contextmanager
def _database(settings: Settings) -> Iterator[str]:
    """The URL of the database; our own PostgreSQL is started, watched and stopped with us."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    from fhirserver.db.embedded import Embedded, EmbeddedError

    try:
        server = Embedded.start(settings.data_dir)
    except EmbeddedError as error:
        fail(str(error))
    done = threading.Event()
    watch = threading.Thread(target=_revive, args=(server, done), name="postgresql", daemon=True)
    watch.start()
    try:
        yield server.dsn
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # impatience would cost a recovery at the next start
        done.set()
        watch.join()
        server.stop()


def _revive(server: Any, done: threading.Event) -> None:
    """Start PostgreSQL again when it was killed; requests in between are answered with 503."""
    from fhirserver.db.embedded import EmbeddedError

    while not done.wait(WATCH_S):
        try:
            if server.revive():
                err.print("PostgreSQL had ended and was started again")
        except EmbeddedError as error:
            err.print(str(error), markup=False)


def _prepare(dsn: str, settings: Settings) -> None:
    """Migrate, and refuse a database that forgets. Ends the command with what to do."""
    from fhirserver.db.durability import durability
    from fhirserver.db.migrate import MigrationError, migrate

    try:
        done = migrate(dsn)
    except MigrationError as error:
        fail(str(error))
    if done:
        err.print(f"migrated the database to {done[-1]}")
    if (off := durability(dsn)) and not settings.development:
        fail(
            f"the database has {' and '.join(off)} off: after a crash, acknowledged writes would be lost. "
            "Turn it on, or set FHIRSERVER_DEVELOPMENT=true for data that may be lost."
        )


FIRST = """\
[bold]The first account[/], an administrator. It is shown this once:

  name      [bold]{login}[/]
  password  [bold]{password}[/]

The first sign-in asks for another password."""


def _first_administrator(dsn: str, settings: Settings) -> None:
    """Make the first account where there is none, and say its password once."""
    import asyncio

    from fhirserver.people.first import First, administrator

    async def work() -> First | None:
        from fhirserver.app import open_services

        services = await open_services(settings.model_copy(update={"database_url": dsn}))
        try:
            async with services.pool.acquire() as connection:
                return await administrator(connection, services)
        finally:
            await services.pool.close()

    made = asyncio.run(work())
    if made is not None:
        from rich.panel import Panel

        text = FIRST.format(login=made.login, password=made.password)
        err.print(Panel(text, title="fhirserver", title_align="left", border_style="yellow", expand=False))


def authorization(settings: Settings, place: str) -> str:
    """Whether people have to sign in, and what to do about it; `place` is the server without `/fhir`."""
    if not settings.sign_in:
        return "authorization is off: whoever reaches this address may do all. Turn it on: --auth smart"
    parts = urlsplit(place)
    if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        return (
            "authorization is on, but browsers sign in over https alone: put a proxy with a certificate in"
            " front and set FHIRSERVER_BASE_URL to its https address"
        )
    if not settings.gives_tokens:
        return "authorization is on: tokens are those of the issuers in FHIRSERVER_ISSUERS"
    return f"authorization is on: sign in at {place}/auth/account, make accounts with fhirserver user add"


def _require_index(dsn: str, settings: Settings) -> None:
    """Refuse a database whose index this release would search wrongly; warn of settings that it is not of."""
    import asyncio

    from fhirserver.errors import FhirError
    from fhirserver.settings import variables
    from fhirserver.store.index_state import changed, fault_of, look

    try:
        state = asyncio.run(look(dsn, settings))
    except FhirError as error:
        fail(str(error))
    if (fault := fault_of(state)) is not None:
        fail(fault)
    if names := [variables(name)[0] for name in changed(state, settings)]:
        err.print(
            f"[bold yellow]warning[/] {' and '.join(names)} changed; what was stored before is not found as"
            " the new value has it. Run: fhirserver reindex"
        )


def _hand_down(stack: ExitStack, settings: Settings, dsn: str, port: int) -> None:
    """Put what the application reads into the environment, which its processes inherit."""
    os.environ.update(settings.environment() | {"DATABASE_URL": dsn, "FHIRSERVER_PORT": str(port)})
    if settings.workers > 1 and settings.limit_rates:
        from fhirserver.policy import rates

        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fhirserver-rates-"))
        os.environ[rates.FILE] = f"{folder}/rates"
        rates.create_file(Path(os.environ[rates.FILE]))
    if settings.workers > 1 and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fhirserver-metrics-"))
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder


def _run(settings: Settings, listener: socket.socket, *, reload: bool) -> None:
    """Serve until a signal says otherwise."""
    import uvicorn

    config = uvicorn.Config(
        APPLICATION,
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="uvloop",
        http="fhirserver.http.wire:Protocol",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the application decides whom it believes
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.shutdown_grace_s),
        timeout_worker_healthcheck=HEALTHCHECK_S,
        reload=reload,
    )
    if reload:
        from uvicorn.supervisors import ChangeReload

        ChangeReload(config, target=uvicorn.Server(config).run, sockets=[listener]).run()
    elif settings.workers > 1:
        from uvicorn.config import STARTUP_FAILURE
        from uvicorn.supervisors import Multiprocess

        parent = Multiprocess(config, [listener])
        parent.run()
        if any(process.exitcode == STARTUP_FAILURE for process in parent.processes):
            fail("the server processes could not start; the reason stands above.")
    else:
        uvicorn.Server(config).run([listener])


LINKS = """\
[bold]{base}[/]   the FHIR API
{place}/docs   try it in the browser
[{colour}]{authorization}[/]
[dim]data: {store} · Ctrl-C stops it[/]"""
PANEL: dict[str, Any] = {"title_align": "left", "border_style": "green", "expand": False}
TRY = """\
[dim]# what this server can do[/]
curl {base}/metadata
[dim]# create a patient, then find it[/]
curl -H 'Content-Type: application/fhir+json' {base}/Patient \\
  -d '{{"resourceType": "Patient", "name": \\[{{"family": "Chalmers"}}]}}'
curl '{base}/Patient?family=chalmers'
"""
TRY_SIGNED_IN = """\
[dim]# what this server can do, and where apps sign in[/]
curl {base}/metadata
curl {base}/.well-known/smart-configuration
"""


def _welcome(settings: Settings, address: tuple[Any, ...]) -> None:
    """Say where the server is and what to try, once it answers."""
    from http.client import HTTPConnection, HTTPException
    from time import sleep

    from rich.panel import Panel

    port = address[1]
    host = str({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address[0], address[0]))
    while True:
        try:
            probe = HTTPConnection(host, port, timeout=5)
            probe.request("GET", "/livez")
            probe.getresponse()
            break
        except (OSError, HTTPException):
            sleep(0.05)
    base = settings.model_copy(update={"port": port}).fhir_base
    place = base.removesuffix("/fhir")
    said = authorization(settings, place)
    if not out.is_terminal:
        out.print(f"serving {base}\n{said}", markup=False)
        return
    store = "the database of DATABASE_URL" if settings.database_url else f"PostgreSQL in {settings.data_dir}"
    colour = "green" if settings.sign_in else "yellow"
    links = LINKS.format(base=base, place=place, store=store, authorization=said, colour=colour)
    out.print(Panel(links, title="fhirserver", **PANEL))
    out.print((TRY_SIGNED_IN if settings.sign_in else TRY).format(base=base))
