"""The issuers that are trusted, as the settings `issuers` and `issuer_secrets` name them.

OpenID Connect Discovery 1.0 section 4: everything else about an issuer is what it publishes itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Self
from urllib.parse import urlsplit

import msgspec

from fhirserver.issuers.documents import Documents, is_key_set
from fhirserver.outbound import Outbound, Unusable
from fhirserver.settings import Settings

_WELL_KNOWN: Final = "/.well-known/openid-configuration"


class Issuer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`issuer` is its address, character for character as in its tokens; `name` is what people read.

    With `client_id` people sign in through it. With `tokens` its access tokens are taken as they are, if
    their `aud` names `audience` (without: the FHIR base); with `fhir_user` their claim fhirUser is believed.
    """

    issuer: str
    name: str = ""
    client_id: str | None = None
    tokens: bool = False
    audience: str | None = None
    fhir_user: bool = False

    @property
    def label(self) -> str:
        return self.name or urlsplit(self.issuer).netloc


@dataclass(frozen=True, slots=True)
class Trust:
    """The issuers by address, and what they publish, remembered for a while."""

    issuers: Mapping[str, Issuer]
    secrets: Mapping[str, str]
    outbound: Outbound
    configurations: Documents
    key_sets: Documents

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Raises ValueError, saying what is wrong, for settings that name no issuers."""
        outbound = Outbound(settings.outbound_networks)
        return cls(
            issuers=issuers(settings.issuers),
            secrets=_secrets(settings.issuer_secrets),
            outbound=outbound,
            configurations=Documents(outbound, lambda found: isinstance(found.get("issuer"), str)),
            key_sets=Documents(outbound, is_key_set),
        )

    @property
    def doors(self) -> list[Issuer]:
        """Those through which people sign in, in the order of the settings."""
        return [one for one in self.issuers.values() if one.client_id]

    async def configuration(self, issuer: Issuer) -> dict[str, Any]:
        """What the issuer says of itself. Raises Unusable; it has to be about this issuer and no other."""
        found = await self.configurations.fetched(f"{issuer.issuer.rstrip('/')}{_WELL_KNOWN}")
        if found["issuer"] != issuer.issuer:
            raise Unusable("it says that it is another issuer")
        return found

    async def endpoint(self, issuer: Issuer, name: str) -> str:
        """The address of an endpoint, such as `token_endpoint`. Raises Unusable."""
        found = (await self.configuration(issuer)).get(name)
        if not isinstance(found, str) or urlsplit(found).scheme not in ("https", "http"):
            raise Unusable(f"it names no {name}")
        return found

    async def keys(self, issuer: Issuer, *, afresh: bool = False) -> list[dict[str, Any]]:
        """Its public keys. Raises Unusable."""
        found = await self.key_sets.fetched(await self.endpoint(issuer, "jwks_uri"), afresh=afresh)
        return [key for key in found["keys"] if isinstance(key, dict)]


def problem(settings: Settings) -> str | None:
    """Why no server can start with these settings; None when one can."""
    try:
        found = issuers(settings.issuers)
        _secrets(settings.issuer_secrets)
    except ValueError as error:
        return str(error)
    if settings.auth == "external" and not any(one.tokens for one in found.values()):
        return "auth is external, so one of the issuers has to have tokens: see the setting issuers"
    return None


@lru_cache(maxsize=8)
def issuers(text: str) -> Mapping[str, Issuer]:
    """The issuers of the setting, JSON. Raises ValueError."""
    try:
        found = msgspec.json.decode(text, type=list[Issuer])
    except msgspec.MsgspecError as error:
        raise ValueError(f"the setting issuers is a JSON list of objects: {error}") from None
    for one in found:
        parts = urlsplit(one.issuer)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"the setting issuers: {one.issuer[:80]!r} is no https address")
        if not one.client_id and not one.tokens:
            raise ValueError(f"the setting issuers: {one.issuer} needs client_id, or tokens, or both")
    return {one.issuer: one for one in found}


@lru_cache(maxsize=8)
def _secrets(text: str) -> Mapping[str, str]:
    try:
        return msgspec.json.decode(text, type=dict[str, str])
    except msgspec.MsgspecError as error:
        raise ValueError(f"the setting issuer_secrets is JSON of issuers and secrets: {error}") from None
