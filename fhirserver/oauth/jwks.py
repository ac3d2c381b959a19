"""Key sets of clients, fetched from their `jwks_uri`: RFC 7517 section 5.

What is fetched is chosen by whoever registers a client, so the address is looked at first (see
`fhirserver.outbound`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fhirserver.issuers.documents import Documents, is_key_set
from fhirserver.oauth.errors import OAuthError, invalid_client
from fhirserver.outbound import Outbound, Unusable
from fhirserver.settings import Network


class KeySets:
    """Key sets by address. `networks` are those, otherwise private, that an address may lead to."""

    def __init__(self, networks: Sequence[Network] = ()) -> None:
        self._outbound = Outbound(networks)
        self._documents = Documents(self._outbound, is_key_set)

    async def fetched(self, uri: str, *, afresh: bool = False) -> dict[str, Any]:
        """The key set at `uri`, perhaps from memory. Raises invalid_client when it cannot be had."""
        try:
            return await self._documents.fetched(uri, afresh=afresh)
        except Unusable as error:
            raise _refused(error) from None

    async def address(self, uri: str) -> str:
        """An address of the host, all of whose addresses may be asked. Raises invalid_client."""
        try:
            return await self._outbound.address(uri)
        except Unusable as error:
            raise _refused(error) from None


def _refused(error: Unusable) -> OAuthError:
    return invalid_client(f"the client's jwks_uri cannot be used: {error}")
