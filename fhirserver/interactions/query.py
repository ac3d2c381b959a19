"""Search parameters as they stand in URLs, forms, If-None-Exist, entries and references."""

from __future__ import annotations

from urllib.parse import parse_qsl

from fhirserver.errors import Invalid, TooCostly
from fhirserver.interactions.call import Params
from fhirserver.settings import Settings


def decoded(form: bytes, maximum: int) -> Params:
    """Form-encoded parameters of a URL or body. Raises TooCostly beyond `maximum` of them.

    URLs are in UTF-8 (https://hl7.org/fhir/R4/http.html#root); anything else, and U+0000, is Invalid.
    """
    if form.count(b"&") >= maximum:
        raise TooCostly(f"more than {maximum} parameters")
    try:
        pairs = parse_qsl(form.decode(), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise Invalid("the parameters are not percent-encoded UTF-8") from None
    if any("\0" in name or "\0" in value for name, value in pairs):
        raise Invalid("a parameter holds the character U+0000")
    return tuple(pairs)


def parameters(text: str, settings: Settings) -> Params:
    """The parameters of a query string in a header or element, under the limits of a request's own URL.

    Raises TooCostly beyond the limits, Invalid for what is not percent-encoded UTF-8 without U+0000.
    """
    if not text:
        return ()
    if len(text) > settings.url_bytes_max:
        raise TooCostly(f"the search parameters are longer than {settings.url_bytes_max} characters")
    return decoded(text.encode(errors="replace"), settings.params_max)
