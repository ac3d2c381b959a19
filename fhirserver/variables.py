"""Settings as text: how values are written in variables of the environment, and how these are named."""

from __future__ import annotations

from urllib.parse import urlsplit

PREFIX = "FHIRSERVER_"


def split(value: object) -> object:
    """Read `a, b` as ("a", "b"); anything but text is passed on for validation."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def tenant_prefix(name: str) -> str:
    """What stands before the paths of a tenant other than the one of the setting `tenant`."""
    return f"/t/{name}"


def absolute(url: str) -> str:
    """Check that `url` can be a FHIR base and drop the trailing slash. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise ValueError(f"{url} is not an absolute http(s) address without query")
    return url.rstrip("/")


def text_of(value: object) -> str:
    """A value as a variable of the environment carries it."""
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def variables(name: str) -> tuple[str, ...]:
    """Environment variables that set the field `name`, the preferred one first."""
    upper = f"{PREFIX}{name.upper()}"
    return ("DATABASE_URL", upper) if name == "database_url" else (upper,)
