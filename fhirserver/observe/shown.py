"""What the settings are, for people: where each value came from, and no passwords."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import urlsplit

from fhirserver.settings import Settings, text_of, variables

Origin = Literal["default", "environment", ".env", "flag"]

_MASKED: Final = frozenset({"database_url", "smtp_url"})
"""Addresses that may hold a password."""
_HIDDEN: Final = frozenset({"issuer_secrets"})


def origin(settings: Settings, environment: Mapping[str, str] | None = None) -> dict[str, Origin]:
    """Where each value came from, by field name."""
    known = {
        name.upper() for name, text in (os.environ if environment is None else environment).items() if text
    }

    def of(name: str) -> Origin:
        if name not in settings.model_fields_set:
            return "default"
        if name in settings._flags:
            return "flag"
        return "environment" if known.intersection(variables(name)) else ".env"

    return {name: of(name) for name in Settings.model_fields}


def masked(url: str) -> str:
    """A connection URL that may be shown: user and place stay, passwords do not."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    user = (
        f"{parts.username or ''}{':***' if parts.password else ''}@"
        if parts.username or parts.password
        else ""
    )
    query = "&".join(
        f"{pair.partition('=')[0]}=***" if "password" in pair.partition("=")[0].lower() else pair
        for pair in parts.query.split("&")
        if pair
    )
    return f"{parts.scheme}://{user}{place}{parts.path}{f'?{query}' if query else ''}"


def display(settings: Settings) -> dict[str, str]:
    """Every value as text that may be shown or logged, by field name; unset ones are empty."""
    shown: dict[str, str] = {}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        shown[name] = "" if value is None else masked(value) if name in _MASKED else text_of(value)
        if name in _HIDDEN and name in settings.model_fields_set:
            shown[name] = "***"
    return shown
