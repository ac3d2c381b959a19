"""Why the meaning of a code cannot be worked out; each says which definition is at fault."""

from __future__ import annotations

from fhirserver.errors import FhirError, NotSupported


class UnknownDefinition(FhirError):
    """A code system or value set that the server does not hold (400: the request names it, no path does)."""

    code = "not-found"


class NotEnumerable(NotSupported):
    """A definition that is held, but does not say which codes it stands for, or not in a way known here."""
