"""A SearchParameter resource as a search parameter that can be indexed and searched, or why it cannot.

https://hl7.org/fhir/R4/searchparameter.html. What R4 leaves to servers, docs/adr/0009 decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, Final

from fhirserver.errors import Issue, Unprocessable
from fhirserver.fhir.fhirpath import FHIRPathError, compile_expression
from fhirserver.fhir.fhirpath.routes import Route, routes
from fhirserver.fhir.structure import ENDPOINT_TYPES, STRUCTURES, supertypes
from fhirserver.fhir.suggest import nearest
from fhirserver.params import composite
from fhirserver.params.choices import as_fhirpath
from fhirserver.params.facts import unanswered
from fhirserver.params.fits import FITS, program_types
from fhirserver.params.registry import Component, Registry, SearchParam, published, types_of

TYPE: Final = "SearchParameter"
_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_NAMED_MAX: Final = 6
_SERVERS: Final = (["meta", "versionId"], ["meta", "lastUpdated"])
COMPOSITES: Final = (
    "tokens, references and URIs; a token and a quantity; a token and one or two numbers; or any parts"
    " that are R4's own parameters of an element that cannot repeat"
)


def is_active(resource: Mapping[str, Any]) -> bool:
    """Whether searches are to know the parameter: drafts and what is retired are kept, no more."""
    return resource.get("status") == "active"


def read(resource: Mapping[str, Any], registry: Registry) -> SearchParam:
    """The parameter that a valid, active resource defines. Raises Unprocessable with an issue for each fault.

    `registry` holds R4's and all other active ones. Where it repeats one of R4's, as implementation guides
    do, that one goes on to answer: `base` leaves such types out, and is empty when nothing is left.
    """
    reader = _Reader(resource, registry)
    param = reader.param()
    if reader.issues:
        raise Unprocessable(issues=reader.issues)
    return param


def stored(param: SearchParam) -> dict[str, Any]:
    """The parameter as JSON, from which `restored` makes it again."""
    return asdict(param)


def restored(row: Mapping[str, Any]) -> SearchParam:
    """The inverse of `stored`; what another release added is left out."""
    row = {one.name: row[one.name] for one in fields(SearchParam) if one.name in row}
    components = tuple(Component(**{**part, "targets": tuple(part["targets"])}) for part in row["components"])
    lists = {"base": tuple(row["base"]), "targets": tuple(row["targets"]), "components": components}
    return SearchParam(**{**row, **lists})


class _Reader:
    """Reads one resource, collecting what is wrong with it."""

    def __init__(self, resource: Mapping[str, Any], registry: Registry) -> None:
        self.issues: list[Issue] = []
        self._registry = registry
        self._resource = resource
        self._url: str = resource["url"]
        self._code: str = resource["code"]
        self._type: str = resource["type"]
        self._derived = str(resource.get("derivedFrom", "")).partition("|")[0]
        self._expression: str | None = resource.get("expression")

    def _fault(self, element: str, code: str, text: str) -> None:
        self.issues.append(Issue("error", code, text, f"{TYPE}.{element}"))

    def param(self) -> SearchParam:
        """The parameter; meaningless when there are issues."""
        types = self._types()
        again = {of for of in types if self._is_again(of)}
        if self._verify_url(again == types):
            self._verify_code(types - again)
        left = sorted(types - again)
        if left and not self.issues:
            self._expression = self._readable(left)
            self._verify_values(left)
        param = SearchParam(
            code=self._code,
            type=self._type,
            base=self._bases(again, left),
            expression=self._expression,
            url=self._url,
            targets=self._targets(),
            components=self._components(left) if left and not self.issues else (),
            custom=True,
        )
        if param.components and not self.issues:
            self._verify_shape(param, left)
        return param

    # -- what it is called and where it stands

    def _types(self) -> set[str]:
        """The types that it stands on."""
        for index, base in enumerate(self._resource["base"]):
            known = base in STRUCTURES and STRUCTURES[base].kind == "resource"
            if not known or not types_of([base]) & ENDPOINT_TYPES:
                near = nearest(base, ENDPOINT_TYPES)
                hint = f"; alike: {', '.join(near)}" if near else ""
                self._fault(f"base[{index}]", "value", f"{base} is no type that can be searched{hint}")
        return set(types_of(self._resource["base"]) & ENDPOINT_TYPES)

    def _bases(self, again: Iterable[str], left: Sequence[str]) -> tuple[str, ...]:
        """As they are written, so that `Resource` stays one, or what is left of them."""
        return tuple(left) if again else tuple(dict.fromkeys(self._resource["base"]))

    def _is_again(self, of: str) -> bool:
        """Whether it is, on the type, one of R4's own again."""
        other = self._registry.get(of, self._code)
        if other is None or other.custom or other.type != self._type:
            return False
        if other.url in (self._derived, self._url):
            return other.url != self._url or self._is_published(other)
        return not other.components and self._same_values(other.expression, of)

    def _is_published(self, own: SearchParam) -> bool:
        """Whether the resource is the definition of one of R4's own parameters, unchanged."""
        given = {own.expression} | ({found.expression} if (found := published(own.url)) else set())
        return self._expression in given

    def _same_values(self, other: str | None, of: str) -> bool:
        if self._expression is None or other is None:
            return False
        if self._expression == other:
            return True
        try:
            compile_expression(self._expression, of, indexed=True)
            mine = routes(self._expression, of)
        except FHIRPathError:
            return False
        return mine is not None and mine == routes(other, of)

    def _verify_url(self, is_again: bool) -> bool:
        """False when the URL is taken: then nothing else is worth saying."""
        other = self._registry.by_url(self._url)
        if other is None or (is_again and not other.custom):
            return True
        if other.custom:
            self._fault("url", "duplicate", f"another active SearchParameter has the URL {self._url}")
        else:
            self._fault(
                "url",
                "business-rule",
                f"{self._url} is one of R4's own parameters, which cannot be changed: give yours a URL of its"
                " own, and a code that its types do not have",
            )
        return False

    def _verify_code(self, types: set[str]) -> None:
        if not types:
            return
        if _CODE.fullmatch(self._code) is None:
            self._fault(
                "code",
                "value",
                f"'{self._code}' cannot name a parameter: a letter, then up to 63 letters, digits,"
                " - and _ (names that begin with _ are R4's)",
            )
        for of in sorted(types):
            other = self._registry.get(of, self._code)
            if other is not None:
                self._fault(
                    "code",
                    "duplicate",
                    f"{of} has a parameter '{self._code}' already, {other.url}, which is not the same: use"
                    " another code, or name it in derivedFrom if it is one of R4's and yours the same",
                )
                return

    def _targets(self) -> tuple[str, ...]:
        given = tuple(dict.fromkeys(self._resource.get("target", ())))
        if given and self._type != "reference":
            self._fault(
                "target", "value", f"only a parameter of type reference has targets, not a {self._type}"
            )
        for index, target in enumerate(self._resource.get("target", ())):
            if target not in STRUCTURES or STRUCTURES[target].kind != "resource":
                near = nearest(target, ENDPOINT_TYPES)
                hint = f"; alike: {', '.join(near)}" if near else ""
                self._fault(f"target[{index}]", "value", f"{target} is no resource type{hint}")
        return () if "Resource" in given else given

    # -- what it finds

    def _readable(self, types: Sequence[str]) -> str | None:
        """The expression as FHIRPath that compiles for every type; None, with an issue, when it does not."""
        if self._type == "special":
            self._fault(
                "type",
                "not-supported",
                "a special parameter needs code of its own in the server; those that do not are"
                f" {', '.join(sorted(FITS))} and composite",
            )
            return None
        if not self._expression:
            self._fault(
                "expression",
                "required",
                "an active parameter needs an expression, the FHIRPath of its values (xpath is not read)",
            )
            return None
        expression = self._expression
        for of in types:
            expression = as_fhirpath(expression, of)
            try:
                found = compile_expression(expression, of, indexed=True).types
            except FHIRPathError as error:
                self._fault("expression", "not-supported", f"'{self._expression}' on {of}: {error}")
                return None
            if found is not None and not found:
                begin = " or ".join(name for name in supertypes(of) if name in (of, *self._resource["base"]))
                self._fault(
                    "expression", "value", f"the expression finds nothing in {of}; it begins with {begin}"
                )
                return None
        return expression

    def _verify_values(self, types: Sequence[str]) -> None:
        """Whether what the expression finds can be of the parameter's type."""
        if self._expression is None or self._type == "composite":
            return
        for of in types:
            found = program_types(compile_expression(self._expression, of, indexed=True))
            fault = _misfit(found, self._type, whole=False)
            if fault is None and _is_servers(routes(self._expression, of)):
                fault = "gives what the server sets: search by _lastUpdated instead"
            if fault is not None:
                self._fault("expression", "value", f"'{self._expression}' on {of} {fault}")
                return

    # -- components

    def _components(self, types: Sequence[str]) -> tuple[Component, ...]:
        given = self._resource.get("component", ())
        if self._type != "composite":
            if given:
                self._fault("component", "value", f"only a composite has components, not a {self._type}")
            return ()
        if len(given) < 2:
            self._fault("component", "required", "a composite has two components or more")
        parts = [self._component(index, part, types) for index, part in enumerate(given)]
        return tuple(part for part in parts if part is not None)

    def _component(self, index: int, part: Mapping[str, Any], types: Sequence[str]) -> Component | None:
        url = part["definition"].partition("|")[0]
        known = self._registry.by_url(url)
        if known is None or known.type not in FITS:
            why = "is not known here" if known is None else f"is a {known.type} itself"
            self._fault(
                f"component[{index}].definition",
                "not-found",
                f"the search parameter {url} {why}; a component is an active one of type"
                f" {', '.join(sorted(FITS))}",
            )
            return None
        assert self._expression is not None
        expression: str = part["expression"]
        for of in types:
            for end in sorted(compile_expression(self._expression, of, indexed=True).types or ()):
                expression = as_fhirpath(expression, end, of)
                fault = self._component_fault(expression, end, of, known.type)
                if fault is not None:
                    self._fault(f"component[{index}].expression", "value", fault)
                    return None
        return Component(known.url, known.code, known.type, expression, known.targets)

    def _component_fault(self, expression: str, end: str, of: str, type_: str) -> str | None:
        try:
            found = program_types(compile_expression(expression, end, of, indexed=True))
        except FHIRPathError as error:
            return f"'{expression}' on {end}: {error}"
        fault = _misfit(found, type_, whole=True)
        return None if fault is None else f"'{expression}' on {end} {fault}"

    def _verify_shape(self, param: SearchParam, types: Sequence[str]) -> None:
        for of in types:
            if composite.shape_of(param, of) is None:
                parts = ", ".join(part.type for part in param.components)
                self._fault(
                    "component",
                    "not-supported",
                    f"components of the types {parts} cannot be searched together; what can: {COMPOSITES}",
                )
                return
        reason = next((found for of in types if (found := unanswered(param, of))), None)
        if reason is not None:
            self._fault("code", "not-supported", f"'{self._code}' {reason}")


def _is_servers(ways: Sequence[Route] | None) -> bool:
    """Whether all that can be found is set by the server, and no part of what is indexed."""
    return bool(ways) and all([hop.key for hop in way] in _SERVERS for way in ways)


def _misfit(found: frozenset[str] | None, type_: str, *, whole: bool) -> str | None:
    """What is wrong with values of the types `found` for a parameter of a type; None when nothing is.

    `whole`: all of them must fit, not only one.
    """
    fits = ", ".join(sorted(FITS[type_]))
    if found is None:
        return (
            "gives values whose type the definitions do not tell; narrow them by ofType(), to one of"
            f" {fits} for a {type_}"
        )
    if found <= FITS[type_] or (found & FITS[type_] and not whole):
        return None
    named = sorted(found - FITS[type_])
    more = ", ..." if len(named) > _NAMED_MAX else ""
    return f"gives {', '.join(named[:_NAMED_MAX])}{more}; a {type_} is one of {fits}"
