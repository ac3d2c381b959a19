"""What an operation is, without what it does: https://hl7.org/fhir/R4/operations.html

The table of interactions makes rows of these definitions, the CapabilityStatement announces them, and
`inputs` reads a request by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from fhirserver.fhir.structure import Resource, is_primitive


@dataclass(frozen=True, slots=True)
class Parameter:
    """OperationDefinition.parameter. `type` is a FHIR type, `Resource`, or `part` for one made of `parts`;
    `max` None is `*`.

    `also` are types that other versions of the definition have, which a body may carry as well.
    """

    name: str
    type: str
    min: int = 0
    max: int | None = 1
    documentation: str = ""
    also: tuple[str, ...] = ()
    parts: tuple[Parameter, ...] = ()

    @property
    def fits_url(self) -> bool:
        """Whether a URL can carry it: a primitive, or a Coding as `system|code`."""
        return is_primitive(self.type) or self.type == "Coding"

    def element(self, use: str) -> dict[str, Any]:
        """OperationDefinition.parameter as JSON."""
        return {
            "name": self.name,
            "use": use,
            "min": self.min,
            "max": "*" if self.max is None else str(self.max),
            **({"documentation": self.documentation} if self.documentation else {}),
            **({"part": [one.element(use) for one in self.parts]} if self.parts else {"type": self.type}),
        }


@dataclass(frozen=True, slots=True)
class Operation:
    """OperationDefinition: where an operation stands, what it takes and what it gives.

    `id` is unique and the end of its canonical URL; `defined` that URL where others defined it. `types` are
    those at whose `type` or `instance` level it stands, none meaning all. `open`: other parameters are
    those of a search of the type. `raw`: the body is read by the operation itself, valid or not. `paged`:
    its answer comes in pages, whose links carry a cursor. `action` is the letter that a scope must have
    where that does not follow from `affects_state`. `rights`: it takes those on this type instead of those on
    the one where it stands.
    """

    id: str
    code: str
    title: str
    description: str
    inputs: tuple[Parameter, ...] = ()
    outputs: tuple[Parameter, ...] = ()
    types: tuple[str, ...] = ()
    system: bool = False
    type: bool = False
    instance: bool = False
    affects_state: bool = False
    open: bool = False
    raw: bool = False
    paged: bool = False
    action: str | None = None
    rights: str | None = None
    defined: str | None = None

    @property
    def methods(self) -> tuple[str, ...]:
        """GET as well where nothing changes and a URL can carry what is needed.

        https://hl7.org/fhir/R4/operations.html#request
        """
        carried = all(one.min == 0 or one.fits_url for one in self.inputs)
        return ("POST",) if self.affects_state or not carried else ("GET", "POST")

    def takes(self, resource_type: str) -> bool:
        """Whether an input is a resource of the type."""
        return any(one.type == resource_type for one in self.inputs)

    @property
    def gives_a_bundle(self) -> bool:
        return any(one.type == "Bundle" for one in self.outputs)

    @property
    def levels(self) -> tuple[str, ...]:
        """Where it stands, as shapes of the table of interactions."""
        return (
            *([f"${self.code}"] if self.system else []),
            *([f":type/${self.code}"] if self.type else []),
            *([f":type/:id/${self.code}"] if self.instance else []),
        )

    @property
    def url(self) -> str:
        """The canonical URL of the definition: the same wherever the server is reached."""
        return self.defined or f"{OWN}{self.id}"

    def resource(self, version: str) -> Resource:
        """The OperationDefinition, read at its id: what this server offers of one that others defined.

        https://hl7.org/fhir/R4/operationdefinition-definitions.html#OperationDefinition.base
        """
        return {
            "resourceType": "OperationDefinition",
            "id": self.id,
            "url": f"{OWN}{self.id}",
            "version": version,
            "name": "".join(part.capitalize() for part in self.id.split("-")),
            "title": self.title,
            "status": "active",
            "kind": "operation",
            "description": self.description,
            "affectsState": self.affects_state,
            "code": self.code,
            **({"base": self.defined} if self.defined else {}),
            **({"resource": list(self.types or ("Resource",))} if self.type or self.instance else {}),
            "system": self.system,
            "type": self.type,
            "instance": self.instance,
            **({"parameter": parameters} if (parameters := self._parameters()) else {}),
        }

    def _parameters(self) -> list[dict[str, Any]]:
        both = [("in", one) for one in self.inputs] + [("out", one) for one in self.outputs]
        return [one.element(use) for use, one in both]


OWN: Final = "urn:fhirserver:OperationDefinition:"
"""What the canonical URLs of this server's own definitions begin with."""
OFFICIAL: Final = "http://hl7.org/fhir/OperationDefinition/"
"""Where R4's own operations are defined."""
