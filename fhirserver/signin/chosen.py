"""A new password as it stands in a form, twice."""

from __future__ import annotations

from collections.abc import Mapping

from fhirserver.people import passwords


def chosen(form: Mapping[str, str], *about: str) -> tuple[str, str | None]:
    """The password, and why it will not do."""
    password = form.get("new", "")
    if password != form.get("again", ""):
        return password, "The two passwords are not the same."
    return password, passwords.problem(password, *about)
