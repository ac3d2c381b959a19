"""$install-package: a FHIR package from the body or from a registry; see `definitions.INSTALL_PACKAGE`."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

from fhirserver.db.pool import Connection
from fhirserver.errors import Forbidden, Invalid, NotSupported
from fhirserver.fhir import json
from fhirserver.fhir.package.archive import Archive, is_packed
from fhirserver.fhir.package.content import DEFINITIONS
from fhirserver.fhir.package.versions import LATEST
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.operations.inputs import Inputs, parameters
from fhirserver.interactions.packages.install import Report, install, install_named
from fhirserver.interactions.packages.plan import Options
from fhirserver.interactions.packages.sources import sources
from fhirserver.policy.restriction import Permits
from fhirserver.policy.roles import ADMINISTRATOR

SHOWN_MAX: Final = 100


async def install_package(connection: Connection, call: Call, inputs: Inputs) -> Answer:
    """200 with Parameters that say what was done. Raises Forbidden, and what installing raises."""
    require_administrator(call, examples=bool(inputs.one("examples")))
    if connection.is_in_transaction():  # a registry may take its time, and others wait for the transaction
        raise NotSupported("a package is installed by a request of its own, not in a transaction")
    package, name = inputs.one("package"), inputs.one("name")
    if (package is None) is (name is None):
        raise Invalid("either the package itself or its 'name' is given")
    options = Options(
        without=frozenset(inputs.all("without")),
        without_dependencies=bool(inputs.one("without-dependencies")),
        examples=bool(inputs.one("examples")),
        overwrite=bool(inputs.one("overwrite")),
        skip_invalid=bool(inputs.one("skip-invalid")),
    )
    with sources(call.services.settings) as found:
        if package is not None:
            archive = Archive.of_bytes(_content(package), "the package", found.limits)
            report = await install(connection, call, archive, found, options)
        else:
            version = inputs.one("version") or LATEST
            report = await install_named(connection, call, str(name), version, found, options)
    return Answer(200, json.dumps(parameters(_parts(report))), {"Cache-Control": "no-store"})


def require_administrator(call: Call, *, examples: bool) -> None:
    """Raise Forbidden unless nobody has to sign in, or the caller may write whatever a package can bring: as
    an administrator, or as a service with the scopes."""
    if call.principal.is_open:
        return
    restriction, user = call.restriction, call.principal.user
    if user is not None and not any(role.name == ADMINISTRATOR for role in call.principal.roles):
        raise Forbidden("packages are installed by administrators")
    for type_ in sorted(ENDPOINT_TYPES if examples else DEFINITIONS):
        for action in "cu":
            permits = restriction.of(type_, action) if isinstance(restriction, Permits) else ()
            if not any(not permit.is_narrow for permit in permits):
                context = "system" if user is None else "user"
                raise Forbidden(
                    f"a package can bring a {type_}: it takes a scope such as {context}/{type_}.cu"
                )


def _content(package: dict[str, Any]) -> bytes:
    try:
        data = base64.b64decode(package.get("data", ""))
    except (binascii.Error, ValueError):
        raise Invalid("the Binary has no base64 data", "Binary.data") from None
    if not is_packed(data):
        raise Invalid("a package is a tar archive in gzip (.tgz)", "Binary.data")
    return data


def _parts(report: Report) -> list[tuple[str, str, Any]]:
    labels = [report.label, *(one for one in sorted(report.packages) if one != report.label)]
    idle = [f"{url}: {why}" for url, why in report.idle.items()]
    unusable = [f"{url}: {why}" for url, why in report.unusable.items()]
    return [
        *(("package", "string", one) for one in labels),
        ("created", "integer", report.created),
        ("updated", "integer", report.updated),
        ("unchanged", "integer", report.unchanged),
        ("deleted", "integer", report.deleted),
        *(("without", "string", one) for one in report.without),
        *(("invalid", "string", one) for one in report.invalid[:SHOWN_MAX]),
        *(("not-searchable", "string", one) for one in idle[:SHOWN_MAX]),
        *(("not-judged-by", "string", one) for one in unusable[:SHOWN_MAX]),
    ]
