"""HTTP/1.1 as uvicorn speaks it, with an end to the head of a request, and outcomes for what is no request.

RFC 9112 (messages), RFC 6585 section 5 (431), RFC 9110 section 15.5.15 (414)
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fhirserver.errors import FhirError, Invalid, UriTooLong
from fhirserver.interactions.answer import outcome

HEAD_BYTES_MAX: Final = 64 * 1024
"""Request line and headers; a client that never ends them would fill the memory."""

URL_BYTES_MAX: Final = 65_535
"""What the parser of the address reads."""


class HeadTooLong(FhirError):
    """The headers together are larger than the server reads (431)."""

    status = 431
    code = "too-long"


class Protocol(HttpToolsProtocol):
    """For uvicorn's setting `http`."""

    _head_bytes: int | None = None
    """Received of the head of a request while its end has not come."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse(self._too_long())

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._head_bytes = None

    def send_400_response(self, msg: str) -> None:
        if self._head_bytes is not None and len(self.url) > URL_BYTES_MAX:
            self._refuse(self._too_long())
            return
        self._refuse(Invalid("this is not a request of HTTP/1.1, or has a method or address that none has"))

    def _too_long(self) -> FhirError:
        """Of the address or of the headers, whichever are more."""
        if 2 * len(self.url) > HEAD_BYTES_MAX:
            return UriTooLong(f"the address is longer than {URL_BYTES_MAX} bytes")
        return HeadTooLong(f"the headers are larger than {HEAD_BYTES_MAX} bytes")

    def _refuse(self, error: FhirError) -> None:
        """Answer in JSON, for the headers cannot be asked, and hang up."""
        self._head_bytes = None
        if self.transport.is_closing():
            return
        body = outcome(*error.issues)
        head = (
            f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n"
            "content-type: application/fhir+json;charset=utf-8\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
