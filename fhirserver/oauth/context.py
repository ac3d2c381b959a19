"""What the endpoints stand on: the services, the addresses, the roles and the signing keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from secrets import token_urlsafe

from fhirserver.interactions.call import Services
from fhirserver.oauth.jwks import KeySets
from fhirserver.policy.principal import Role
from fhirserver.policy.roles import roles

SECRET_BYTES = 32
ACCESS_S = 3_600
"""https://hl7.org/fhir/smart-app-launch/STU2.2/best-practices.html: no longer than an hour."""
BACKEND_S = 300
"""https://hl7.org/fhir/smart-app-launch/STU2.2/backend-services.html#response"""
CODE_S = 60
OFFLINE_S = 180 * 86_400
"""Longer than the three months that certification asks for."""


@dataclass(frozen=True, slots=True)
class Server:
    """The authorization server of a FHIR base. `base` is that base, which is the issuer, too."""

    services: Services
    roles: Mapping[str, Role]
    key_sets: KeySets

    @classmethod
    def of(cls, services: Services) -> Server:
        settings = services.settings
        return cls(services, roles(settings.roles), KeySets(settings.outbound_networks))

    @property
    def base(self) -> str:
        return self.services.settings.fhir_base

    @property
    def tenant(self) -> int:
        return self.services.tenant

    def url(self, name: str) -> str:
        """The absolute address of an endpoint, such as `token`."""
        return self.services.settings.auth_url(name)

    @property
    def token_url(self) -> str:
        return self.url("token")


def now() -> datetime:
    return datetime.now(UTC)


def new_secret() -> str:
    """256 random bits for a client or browser to hold; the server keeps `hashed` of it."""
    return token_urlsafe(SECRET_BYTES)


def hashed(secret: str) -> bytes:
    """SHA-256: enough for what is random. Passwords need more (see `passwords`)."""
    return sha256(secret.encode()).digest()
