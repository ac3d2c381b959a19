"""Every setting, read once and frozen: flags before the environment before `.env` before the defaults.

The database is `DATABASE_URL`, as hosting platforms name it; everything else is `FHIRSERVER_<NAME>`. Lists
are written with commas. Units stand last in the names. `docs/reference/settings.md` is generated from the
descriptions below, and a test keeps it current.
"""

import ipaddress
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AliasChoices, BeforeValidator, Field, PrivateAttr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from fhirserver.variables import PREFIX, absolute, split, tenant_prefix, text_of, variables

PACKAGE = Path(__file__).resolve().parent

_ANY = ("0.0.0.0", "::")
"""To listen on, not to connect to."""

RATE = r"^(?:[1-9]\d{0,8}/(?:[1-9]\d{0,4})?[smh]|off)$"
"""So many requests in so many seconds, minutes or hours: `1000/10s`, `60/m`."""
_OFF = ("off",)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def data_path(name: str) -> Path:
    """The folder of data files `name` (conformance, search_params, migrations).

    A wheel carries them in `fhirserver/_data`; in a checkout they are folders at the top. The wheel's place
    is asked first, because beside an installed package `migrations` may belong to somebody else.
    """
    installed = PACKAGE / "_data" / name
    return installed if installed.is_dir() else PACKAGE.parent / name


def version() -> str:
    """The version of this software: of the installed package or, in a checkout, of its pyproject.toml."""
    try:
        return metadata.version("fhirserver")
    except metadata.PackageNotFoundError:
        return tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]["version"]


Texts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split)]
Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(split)]


class Settings(BaseSettings):
    """One immutable value that is handed down from the command line to every layer."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
    )
    _flags: frozenset[str] = PrivateAttr(default=frozenset())
    _prefix: str = PrivateAttr(default="")

    # -- where things are
    database_url: str | None = Field(
        None,
        repr=False,
        validation_alias=AliasChoices("DATABASE_URL", f"{PREFIX}DATABASE_URL"),
        description="PostgreSQL 15 or later, `postgresql://user:password@host:port/database`. "
        "Unset: an embedded PostgreSQL in `data_dir`.",
    )
    data_dir: Path = Field(Path(".data"), description="Folder of the embedded PostgreSQL.")
    host: str = Field(
        "127.0.0.1", description="Address to listen on. Beyond loopback people sign in, unless `insecure`."
    )
    port: int = Field(8080, ge=0, le=65535, description="TCP port to listen on; 0 takes a free one.")
    workers: int = Field(1, ge=1, le=256, description="Server processes; about one per core.")
    base_url: str | None = Field(
        None,
        description="Public FHIR base as clients write it, such as `https://example.org/fhir`. "
        "Unset: `http://<host>:<port>/fhir`.",
    )
    base_url_aliases: Texts = Field(
        (), description="Further absolute bases whose references mean this server, such as a former address."
    )
    tenant: int = Field(
        1, ge=1, le=2**31 - 1, description="Number of the tenant at `/fhir`; others are at `/t/<name>/fhir`."
    )

    # -- who may come in
    auth: Literal["off", "smart", "external", "auto"] = Field(
        "auto",
        description="`smart`: every request needs a SMART on FHIR token. `external`: the same, but tokens "
        "are those of `issuers` alone, and nobody signs in here. `off`: no request needs one. "
        "`auto`: `off` on loopback, `smart` on any other address.",
    )
    insecure: bool = Field(
        False, description="Allow an address other than loopback although nobody has to sign in."
    )
    roles: str = Field(
        "{}",
        description='Roles as JSON, `{"nurse": ["user/*.rs", "user/Observation.crus"]}`: SMART scopes that '
        "say what their holders may do at most. They come beside, or instead of, the built-in ones. `*` does "
        "not allow to write what the server itself goes by, such as SearchParameter: name these types.",
    )
    role_codes: str = Field(
        "{}",
        description="Codes of PractitionerRole.code that mean a role, as JSON: "
        '`{"http://snomed.info/sct|224535009": "nurse"}`. A code that is itself the name of a role means it '
        "without being named here.",
    )
    issuers: str = Field(
        "[]",
        description="OpenID Connect issuers that are trusted, as JSON: "
        '`[{"issuer": "https://sso.example.org", "name": "Staff", "client_id": "fhir"}]` lets people sign in '
        'through them; with `"tokens": true` their access tokens are taken, too. See '
        "[the how-to](../how-to/keycloak.md).",
    )
    issuer_secrets: str = Field(
        "{}",
        repr=False,
        description='Client secrets at those issuers, as JSON: `{"https://sso.example.org": "..."}`. '
        "An issuer without one is asked as a public client.",
    )
    registration: Literal["off", "approval", "open"] = Field(
        "approval",
        description="Who registers clients at `/auth/register`: nobody, anybody but they wait for approval, "
        "or anybody at once. Clients with `system/` scopes always wait. Those that nobody approves within 30 "
        "days are forgotten.",
    )
    outbound_networks: Networks = Field(
        (),
        description="Private networks (CIDR) to which addresses of clients (`jwks_uri`) and `issuers` lead, "
        "by http, too. Without, only public addresses are asked, by https.",
    )
    package_registries: Texts = Field(
        ("https://packages.fhir.org", "https://packages2.fhir.org/packages"),
        description="Where FHIR packages and what they depend on are fetched from, the first that has one; "
        "`off` for nowhere. They may be in a private network; what they refer to must be public.",
    )
    package_bytes_max: int = Field(
        1024 * 1024 * 1024, ge=1024, description="What the archive of a FHIR package may unpack to."
    )
    site_name: str = Field("Health record", description="What the sign-in pages call this server.")
    session_idle_s: int = Field(3_600, ge=60, description="Who did nothing for so long signs in again.")
    session_max_s: int = Field(
        43_200, ge=60, description="A person signs in again after so long at the latest."
    )
    join: Literal["off", "invitation", "identifiers"] = Field(
        "invitation",
        description="Who makes an account at `/auth/join`: nobody, whoever has an invitation "
        "(`fhirserver user invite`), or also a patient who knows an identifier, the family name and the "
        "birth date of their record: the invitation then goes to the e-mail address in that record.",
    )
    join_systems: Texts = Field(
        (),
        description="Identifier systems by which a patient find their record when `join` is `identifiers`.",
    )
    smtp_url: str | None = Field(
        None,
        repr=False,
        description="Mail server for links that reset passwords and invite: "
        "`smtps://user:password@host:465`, or `smtp://` with STARTTLS. "
        "Unset: no mail; with `development` the links stand in the log.",
    )
    mail_from: str | None = Field(None, description="Sender of those mails; unset: `no-reply@` and the host.")
    trusted_proxies: Networks = Field(
        (),
        description="Networks (CIDR) whose `X-Forwarded-*` headers are believed; others' are ignored.",
    )
    cors_origins: Texts = Field(
        (), description="Origins of browser apps that may call the API; `*` for any. Metadata is open to all."
    )

    # -- how FHIR is spoken
    time_zone: str = Field(
        "UTC", description="Zone (IANA name) of dates and times that carry none, in resources and searches."
    )
    update_create: bool = Field(True, description="PUT to an unknown id creates the resource under that id.")
    no_op_update: bool = Field(
        True,
        description="An update that changes nothing answers 200 and makes no new version.",
    )
    conditional_delete: Literal["single", "multiple"] = Field(
        "single", description="What a conditional DELETE with several matches does: 412, or delete them all."
    )
    referential_integrity: bool = Field(
        False,
        description="Refuse references to resources that do not exist, and deletions that would leave one.",
    )
    validation: str = Field("{}", description="What is demanded beyond structure: docs/how-to/validate.md.")
    full_text: Literal["none", "narrative", "content"] = Field(
        "narrative",
        description="What is searched for words: nothing, narratives (`_text`), or all text (`_content`), "
        "which makes writing dearer by a quarter. `fhirserver reindex` after a change.",
    )
    count_default: int = Field(50, ge=1, description="Entries on a search page when `_count` is absent.")
    count_max: int = Field(1000, ge=1, description="Largest `_count`; larger ones are reduced to it.")
    consent: str = Field(
        "off", description="Whether consents decide who sees what: docs/explanation/consent.md."
    )
    merge_at_once_max: int = Field(
        1_000, ge=0, description="Resources that `$merge` moves before it answers; with more it answers 202."
    )

    # -- what is recorded
    audit: Literal["on", "off", "auto"] = Field(
        "auto",
        description="Record who did what in AuditEvents: docs/how-to/audit.md. `auto`: where people sign in.",
    )
    audit_required: bool = Field(
        True,
        description="Answer 503 to reads that cannot be recorded, instead of leaving that to the log. "
        "Writes are never done without.",
    )
    audit_asynchronous: bool = Field(
        False,
        description="Reads do not wait until their events are on disk: a crash may lose the last 0.6 seconds "
        "of them.",
    )
    provenance: bool = Field(
        False, description="Write a Provenance with each write; of a transaction one for each patient."
    )

    # -- limits, each answered with an OperationOutcome
    body_bytes_max: int = Field(50 * 1024 * 1024, ge=1024, description="Request body, after decompression.")
    entries_max: int = Field(5000, ge=1, description="Entries in a batch or transaction.")
    json_depth_max: int = Field(64, ge=8, le=512, description="Nesting of objects and arrays in a body.")
    url_bytes_max: int = Field(
        8192, ge=256, description="Length of a request URL; longer searches use POST _search."
    )
    params_max: int = Field(100, ge=1, description="Search parameters in a request.")
    or_values_max: int = Field(500, ge=1, description="Comma-separated values of one search parameter.")
    chain_depth_max: int = Field(3, ge=0, le=8, description="Hops in a chained parameter or `_has`.")
    terminology_codes_max: int = Field(
        10_000, ge=1, description="Codes that `:in`, `:below` and the like stand for, or `$expand` shows."
    )
    includes_max: int = Field(10, ge=0, description="`_include` and `_revinclude` parameters in a request.")
    include_iterate_max: int = Field(5, ge=1, le=100, description="Rounds of `_include:iterate` for a page.")

    # -- how often somebody may ask; each worker machine counts for itself, its processes together
    rate_limits: Literal["on", "off", "auto"] = Field(
        "auto",
        description="Answer 429 to whoever asks more often than the rates below. `auto`: where somebody has "
        "to sign in or other machines can reach the server.",
    )
    rate_client: str = Field(
        "1000/10s",
        pattern=RATE,
        description="Requests of one client and user with a token: so many at once, and again so many spread "
        "over the time. `off` for any number.",
    )
    rate_address: str = Field(
        "5000/10s",
        pattern=RATE,
        description="Requests from one address (IPv6: from one /64 network). Behind a proxy, addresses are "
        "told apart with `trusted_proxies` only.",
    )
    rate_sign_in: str = Field(
        "60/m", pattern=RATE, description="Tries to sign in, or to reset a password, from one address."
    )
    rate_token: str = Field("600/m", pattern=RATE, description="Requests for tokens from one address.")
    rate_registration: str = Field(
        "60/h", pattern=RATE, description="Apps that one address may register (`registration`)."
    )

    # -- the database
    statement_timeout_s: float = Field(30, gt=0, description="Longest single SQL statement.")
    pool_min: int = Field(2, ge=0, description="Connections a worker keeps open.")
    pool_max: int | None = Field(
        None,
        ge=1,
        description="Most connections of one worker. Unset: its share of `max_connections`, at most 20.",
    )
    pool_timeout_s: float = Field(
        2, gt=0, description="Wait for a free connection; then 503 with Retry-After."
    )
    index_retention_s: int = Field(
        900, ge=0, description="How long index rows outlive their version, so that older page links work."
    )

    # -- running it
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe line logged."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="`auto`: `console` on a terminal, otherwise `json`."
    )
    process_time_header: bool = Field(
        False,
        description="Send `X-Process-Time`; never while sign-in is on, as it tells hidden from unknown ids.",
    )
    shutdown_grace_s: float = Field(
        20, ge=0, description="Time that running requests have to finish after SIGTERM."
    )
    development: bool = Field(
        False,
        description="Start although the database may lose acknowledged writes (fsync and the like off).",
    )

    @field_validator("database_url")
    @classmethod
    def _database_scheme(cls, url: str | None) -> str | None:
        if url is not None and urlsplit(url).scheme not in ("postgresql", "postgres"):
            raise ValueError("must start with postgresql://")
        return url

    @field_validator("smtp_url")
    @classmethod
    def _mail_scheme(cls, url: str | None) -> str | None:
        if url is not None and (urlsplit(url).scheme not in ("smtp", "smtps") or not urlsplit(url).hostname):
            raise ValueError("is smtp:// or smtps:// and a host")
        return url

    @field_validator("base_url")
    @classmethod
    def _public_base(cls, url: str | None) -> str | None:
        return None if url is None else absolute(url)

    @field_validator("base_url_aliases")
    @classmethod
    def _alias_bases(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(absolute(url) for url in urls)

    @field_validator("package_registries")
    @classmethod
    def _registries(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        return urls if urls == _OFF else tuple(absolute(url) for url in urls)

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        if name != "UTC":
            try:
                ZoneInfo(name)
            except (OSError, ValueError, KeyError) as error:
                raise ValueError("is no IANA time zone known to this machine") from error
        return name

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.count_default > self.count_max:
            raise ValueError("count_default is above count_max")
        if self.pool_max is not None and self.pool_min > self.pool_max:
            raise ValueError("pool_min is above pool_max")
        return self

    @classmethod
    def load(cls, **flags: Any) -> Self:
        """Read the settings; a flag that is None was not given. Raises pydantic's ValidationError."""
        given = {name: value for name, value in flags.items() if value is not None}
        settings = cls(**given)
        settings._flags = frozenset(given)
        return settings

    def of_tenant(self, number: int, name: str) -> Self:
        """The same for another tenant, whose FHIR base is `/t/<name>/fhir` beside this one's."""
        prefix = tenant_prefix(name)
        root = self.base_url and self.base_url.removesuffix("/fhir")
        base = f"{root}{prefix}/fhir" if root else None
        other = self.model_copy(update={"tenant": number, "base_url": base, "base_url_aliases": ()})
        # What was not given is not given for the other, either.
        other.model_fields_set.intersection_update(self.model_fields_set)
        other._prefix = prefix
        return other

    @property
    def fhir_base(self) -> str:
        """The public FHIR base without a trailing slash: `base_url`, or one made of host and port."""
        return self.base_url or self._base_at("localhost" if self.host in _ANY else self.host)

    @property
    def fhir_bases(self) -> tuple[str, ...]:
        """Every absolute base that means this server, `fhir_base` first."""
        local = (
            () if self.base_url else tuple(self._base_at(name) for name in ("localhost", "127.0.0.1", "::1"))
        )
        return tuple(dict.fromkeys((self.fhir_base, *self.base_url_aliases, *local)))

    @property
    def registries(self) -> tuple[str, ...]:
        """The registries of packages to ask, in this order."""
        return () if self.package_registries == _OFF else self.package_registries

    def auth_url(self, name: str) -> str:
        """The absolute address of an endpoint of the authorization server, beside the FHIR base."""
        return f"{self.fhir_base.removesuffix('/fhir')}/auth/{name}"

    def _base_at(self, host: str) -> str:
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}{self._prefix}/fhir"

    @property
    def sign_in(self) -> bool:
        """Whether every request needs a token."""
        return self.auth in ("smart", "external") or (
            self.auth == "auto" and not self.loopback and not self.insecure
        )

    @property
    def audited(self) -> bool:
        """Whether AuditEvents record who did what."""
        return self.audit == "on" or (self.audit == "auto" and self.sign_in)

    @property
    def is_of_path(self) -> bool:
        """Whether this is a tenant at a path of its own, beside that of the settings."""
        return bool(self._prefix)

    @property
    def gives_tokens(self) -> bool:
        """Whether people sign in here, and apps get their tokens here."""
        return self.sign_in and self.auth != "external"

    @property
    def limit_rates(self) -> bool:
        """Whether there is an end to how often somebody may ask."""
        return self.rate_limits == "on" or (
            self.rate_limits == "auto" and (self.sign_in or not self.loopback)
        )

    @property
    def loopback(self) -> bool:
        """Whether the server can be reached from this machine only."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def pool_limit(self, server_connections: int) -> int:
        """Connections one worker may open on a server with `server_connections`; ten are left to others."""
        share = max(1, (server_connections - 10) // self.workers)
        return min(share, self.pool_max or 20)

    def environment(self) -> dict[str, str]:
        """The variables that make `Settings.load()` in a worker process give this value again."""
        values = {name: getattr(self, name) for name in self.model_fields_set}
        return {variables(name)[0]: text_of(value) for name, value in values.items() if value is not None}
