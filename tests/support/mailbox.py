"""A mail server that keeps what it is sent: as much of SMTP (RFC 5321) as a client needs."""

import asyncio
import email
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import policy
from email.message import EmailMessage


class Mailbox:
    """`messages` in the order in which they came; `url` for the setting `smtp_url`."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.url = ""

    async def receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mailbox\r\n")
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"DATA":
                writer.write(b"354 go on\r\n")
                body = (await reader.readuntil(b"\r\n.\r\n"))[:-3]
                self.messages.append(email.message_from_bytes(body, policy=policy.default))
            if verb == b"QUIT":
                writer.write(b"221 bye\r\n")
                break
            writer.write(b"250 ok\r\n")
        writer.close()

    def link(self, to: str) -> str:
        """The link in the newest message to an address."""
        message = next(one for one in reversed(self.messages) if one["To"] == to)
        found = re.search(r"https?://\S+", message.get_content())
        assert found
        return found[0]


@asynccontextmanager
async def mailbox() -> AsyncIterator[Mailbox]:
    box = Mailbox()
    server = await asyncio.start_server(box.receive, "127.0.0.1", 0)
    box.url = f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield box
