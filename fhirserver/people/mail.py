"""Mails with links, by the server of the setting `smtp_url`; in development to the log.

Sent `beside` the request: how long it takes, and whether there was anything to send, tells nobody anything.
"""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import Coroutine
from email.message import EmailMessage
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from fhirserver.interactions.call import Services
from fhirserver.observe import log
from fhirserver.settings import Settings

TIMEOUT_S: Final = 20
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})

_logger: Any = log.get("mail")
_sending: set[asyncio.Task[None]] = set()


def is_possible(settings: Settings) -> bool:
    """Whether a mail would reach anybody."""
    return settings.smtp_url is not None or settings.development


def beside(work: Coroutine[Any, Any, None]) -> None:
    """Do the work while the answer is on its way already; what fails is for the log alone."""

    async def logged() -> None:
        try:
            await work
        except Exception as error:  # nobody waits for it
            _logger.error("mail_failed", error=type(error).__name__)

    task = asyncio.create_task(logged())
    _sending.add(task)
    task.add_done_callback(_sending.discard)


async def sent() -> None:
    """Wait for what is still going on beside; for commands, and at the end of the server."""
    while _sending:
        await asyncio.gather(*_sending)


async def send(services: Services, to: str, subject: str, text: str, link: str) -> None:
    """Send `text` with the link below it. Raises OSError and SMTPException."""
    settings = services.settings
    if settings.smtp_url is None:
        if settings.development:
            _logger.info("mail_not_sent", subject=subject, link=link)
        return
    message = EmailMessage()
    message["From"] = _sender(settings)
    message["To"] = to
    message["Subject"] = subject
    message.set_content(f"{text}\n\n{link}\n\n-- \n{settings.site_name}\n")
    await asyncio.to_thread(_deliver, urlsplit(settings.smtp_url), message)


def _sender(settings: Settings) -> str:
    return settings.mail_from or f"no-reply@{urlsplit(settings.fhir_base).hostname or 'localhost'}"


def _deliver(server: SplitResult, message: EmailMessage) -> None:
    host = server.hostname or "localhost"
    context = ssl.create_default_context()
    if server.scheme == "smtps":
        connection: smtplib.SMTP = smtplib.SMTP_SSL(
            host, server.port or 465, timeout=TIMEOUT_S, context=context
        )
    else:
        connection = smtplib.SMTP(host, server.port or 587, timeout=TIMEOUT_S)
    with connection:
        if server.scheme == "smtp" and host not in _LOOPBACK:
            connection.starttls(context=context)  # raises where the server offers none
        if server.username:
            connection.login(unquote(server.username), unquote(server.password or ""))
        connection.send_message(message)
