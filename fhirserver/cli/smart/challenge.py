"""What an app makes anew for each authorization request: state, nonce, and the proof key of RFC 7636."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from secrets import token_urlsafe
from typing import Self

from fhirserver.cli.smart.target import Client, Target


@dataclass(frozen=True, slots=True)
class Challenge:
    """One authorization request's secrets."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def new(cls) -> Self:
        return cls(token_urlsafe(24), token_urlsafe(24), token_urlsafe(48))

    @property
    def value(self) -> str:
        """S256"""
        return urlsafe_b64encode(sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()

    def request(self, target: Target, client: Client, scopes: str) -> dict[str, str]:
        """https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html#request-4"""
        parameters = {
            "response_type": "code",
            "client_id": client.id,
            "redirect_uri": client.redirect_uri,
            "scope": scopes,
            "state": self.state,
            "nonce": self.nonce,
            "aud": target.base,
            "code_challenge": self.value,
            "code_challenge_method": "S256",
        }
        return parameters | ({"launch": target.launch} if target.launch else {})
