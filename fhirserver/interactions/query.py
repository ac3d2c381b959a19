"""Parameters that stand in texts: of an entry's URL, of If-None-Exist, of a reference that is a search."""

from __future__ import annotations

from urllib.parse import parse_qsl

from fhirserver.errors import Invalid, TooCostly
from fhirserver.interactions.call import Params
from fhirserver.settings import Settings


def parameters(text: str, settings: Settings) -> Params:
    """The parameters of a query string, decoded, under the limits of a request's own URL.

    Raises TooCostly beyond the limits, Invalid for what is not percent-encoded UTF-8 without U+0000.
    """
    if not text:
        return ()
    if len(text) > settings.url_bytes_max:
        raise TooCostly(f"the search parameters are longer than {settings.url_bytes_max} characters")
    if text.count("&") >= settings.params_max:
        raise TooCostly(f"more than {settings.params_max} parameters")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise Invalid("the parameters are not percent-encoded UTF-8") from None
    if any("\0" in name or "\0" in value for name, value in pairs):
        raise Invalid("a parameter holds the character U+0000")
    return tuple(pairs)
