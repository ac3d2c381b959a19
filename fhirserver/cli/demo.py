"""`fhirserver demo`: invented patients into a running server, and requests to try on them."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from fhirserver.cli.console import fail, out
from fhirserver.cli.load import (
    CONCURRENCY_OPTION,
    PROGRESS_OPTION,
    TOKEN_OPTION,
    URL,
    URL_OPTION,
    authorization,
    conclude,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="demo")(demo_command)


def demo_command(
    patients: Annotated[int, typer.Option(min=1, help="How many people.")] = 50,
    seed: Annotated[int, typer.Option(help="Another number gives other people.")] = 1,
    url: Annotated[str, URL_OPTION] = URL,
    concurrency: Annotated[int, CONCURRENCY_OPTION] = 4,
    token: Annotated[str | None, TOKEN_OPTION] = None,
    progress: Annotated[bool, PROGRESS_OPTION] = True,
) -> None:
    """Fill a running server with invented patients.

    Each comes with years of encounters, vital signs, laboratory results, diagnoses, prescriptions and more,
    about 150 resources. The same seed gives the same people under the same ids, so running it again updates
    them instead of adding others.
    """
    import asyncio

    from fhirserver.cli.loading import Unreachable
    from fhirserver.cli.loading.invented import store

    try:
        report, star = asyncio.run(
            store(patients, url, seed, concurrency, progress, headers=authorization(token))
        )
    except (Unreachable, ValueError) as error:
        fail(str(error))
    conclude(report)
    out.print("\nTry:")
    for request in requests(star, url.rstrip("/")):
        out.print(f"  curl -s '{request}'", markup=False)


def requests(patient: dict[str, Any], base: str) -> list[str]:
    """Addresses worth a look, for one of the patients stored."""
    id_, name = patient["id"], patient["name"][0]
    identifier = next(found for found in patient["identifier"] if found["use"] == "usual")
    return [
        f"{base}/Patient/{id_}",
        f"{base}/Patient?identifier={identifier['system']}|{identifier['value']}",
        f"{base}/Patient?family={quote(name['family'])}&birthdate={patient['birthDate']}",
        f"{base}/Observation?patient={id_}&category=vital-signs&_sort=-date&_count=5",
        f"{base}/Observation?patient={id_}&code=http://loinc.org|85354-9&_include=Observation:encounter",
        f"{base}/Condition?patient={id_}&clinical-status=active",
        f"{base}/Observation?code=http://loinc.org|4548-4&value-quantity=gt6.5&_sort=-date",
    ]
