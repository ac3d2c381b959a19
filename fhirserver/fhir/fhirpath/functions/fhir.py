"""What FHIR adds to the language: https://hl7.org/fhir/R4/fhirpath.html#functions"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from fhirserver.fhir import narrative
from fhirserver.fhir.fhirpath.environment import Environment
from fhirserver.fhir.fhirpath.functions.site import Builder, Entry, Site
from fhirserver.fhir.fhirpath.navigate import member
from fhirserver.fhir.fhirpath.runtime import Compiled, Frame
from fhirserver.fhir.fhirpath.types import Node, is_a
from fhirserver.fhir.fhirpath.values import (
    DECIMAL,
    KINDS,
    QUANTITY,
    STRING,
    TRUE,
    boolean,
    one,
    single,
)
from fhirserver.fhir.structure import STRUCTURES

_R4: Final = "http://hl7.org/fhir/StructureDefinition/"


def _extension(site: Site) -> Compiled:
    """`extension(url)`: the extensions that have the URL."""
    held = member(site.source, "extension", site.at, located=site.scope.located)
    run_source, run_url = held.run, site.argument(0).run

    def run(frame: Frame) -> list[Node]:
        url = one(run_url(frame), STRING, site.what, site.at)
        return [node for node in run_source(frame) if url is not None and node.value.get("url") == url]

    return replace(held, run=run)


def _has_value(site: Site) -> Compiled:
    """Whether there is one primitive, and it has a value of its own."""
    run_source = site.source.run

    def run(frame: Frame) -> list[Node]:
        nodes = run_source(frame)
        return boolean(len(nodes) == 1 and nodes[0].type in KINDS and _primitive(nodes[0]))

    return site.gives(run, "System.Boolean")


def _primitive(node: Node) -> bool:
    return node.value is not None and KINDS.get(node.type) != QUANTITY


def _get_value(site: Site) -> Compiled:
    """The one primitive as a value of its System type."""
    run_source = site.source.run

    def run(frame: Frame) -> list[Node]:
        nodes = run_source(frame)
        kind = KINDS.get(nodes[0].type) if len(nodes) == 1 else None
        if kind is None or not _primitive(nodes[0]):
            return []
        value = Decimal(nodes[0].value) if kind == DECIMAL else nodes[0].value
        return [Node(value, f"System.{kind}")]

    return site.gives(run)


def _member_of(site: Site) -> Compiled:
    """Whether a code is in a value set; nothing where that is not known."""

    def judge(environment: Environment, node: Node, url: str) -> bool | None:
        if environment.member_of is None:
            raise site.error(f"{site.what} needs a terminology, which is not at hand here")
        return environment.member_of(node, url)

    return _of_url(site, judge)


def _conforms_to(site: Site) -> Compiled:
    """Whether a resource or value conforms to a profile. Of R4's own types the name is enough."""

    def judge(environment: Environment, node: Node, url: str) -> bool:
        found = environment.conforms_to(node, url) if environment.conforms_to else None
        if found is None:
            found = _is_of(node, url)
        if found is None:
            raise site.error(f"the profile {url[:200]} is not known here")
        return found

    return _of_url(site, judge)


def _of_url(site: Site, judge: Callable[[Environment, Node, str], bool | None]) -> Compiled:
    """A judgement of one node by what a canonical URL names; empty without the one or the other."""
    run_source, run_url = site.source.run, site.argument(0).run
    _require_free(site)

    def run(frame: Frame) -> list[Node]:
        node = single(run_source(frame), site.what, site.at)
        url = one(run_url(frame), STRING, site.what, site.at)
        if node is None or url is None:
            return []
        return boolean(judge(frame.root.environment, node, url))

    return site.gives(run, "System.Boolean")


def _is_of(node: Node, url: str) -> bool | None:
    """Whether a node is of the type that R4 defines under a URL; None for another URL."""
    name = url.removeprefix(_R4)
    if name == url or name not in STRUCTURES or "." in name:
        return None
    return is_a(node.type, name)


def _require_free(site: Site) -> None:
    """What follows from more than the resource cannot be indexed with it."""
    if site.scope.indexed:
        raise site.error(f"{site.what} has no place in what is indexed: its result can change")


def _subsuming(turned: bool) -> Builder:
    """`subsumes(code)` and `subsumedBy(code)`, of Codings, CodeableConcepts and codes."""

    def build(site: Site) -> Compiled:
        run_source, run_other = site.source.run, site.argument(0).run
        _require_free(site)

        def run(frame: Frame) -> list[Node]:
            node, other = (single(each(frame), site.what, site.at) for each in (run_source, run_other))
            if node is None or other is None:
                return []
            first, second = (other, node) if turned else (node, other)
            if set(_codes(first)) & set(_codes(second)):
                return TRUE
            ask = frame.root.environment.subsumes
            return [] if ask is None else boolean(ask(first, second))

        return site.gives(run, "System.Boolean")

    return build


def _codes(node: Node) -> list[tuple[str | None, str]]:
    value = node.value
    if isinstance(value, str):
        return [(None, value)]
    codings: Any = value.get("coding", ()) if node.type == "CodeableConcept" else (value,)
    if not isinstance(value, Mapping):
        return []
    return [(coding.get("system"), coding["code"]) for coding in codings if coding and coding.get("code")]


def _html_checks(site: Site) -> Compiled:
    """Whether XHTML keeps to the rules of narratives; nothing for what is no single XHTML."""
    run_source = site.source.run

    def run(frame: Frame) -> list[Node]:
        nodes = run_source(frame)
        if len(nodes) != 1 or not isinstance(nodes[0].value, str):
            return []
        frame.root.require_length(len(nodes[0].value))
        return boolean(narrative.fault(nodes[0].value) is None)

    return site.gives(run, "System.Boolean")


def _check_modifiers(site: Site) -> Compiled:
    """The items, after making sure that no modifier extension is on them but those named."""
    run_source = site.source.run
    runs = [site.argument(index).run for index in range(len(site.arguments))]

    def run(frame: Frame) -> list[Node]:
        nodes = run_source(frame)
        known = {one(each(frame), STRING, site.what, site.at) for each in runs}
        for node in nodes:
            extensions = node.value.get("modifierExtension", ()) if isinstance(node.value, dict) else ()
            for extension in extensions:
                if extension.get("url") not in known:
                    raise site.error(
                        f"the modifier extension {extension.get('url')} is not among those known"
                    )
        return nodes

    return site.keeps(run)


def _element_definition(site: Site) -> Compiled:
    run_source = site.source.run
    _require_free(site)

    def run(frame: Frame) -> list[Node]:
        ask = frame.root.environment.element_definition
        if ask is None:
            raise site.error("elementDefinition() needs the definitions, which are not at hand here")
        found = (ask(node) for node in run_source(frame))
        return [node for node in found if node is not None]

    return site.gives(run, "ElementDefinition")


def _slice(site: Site) -> Compiled:
    """`slice(structure, name)`: the items that are in a slice of a profile."""
    run_source, run_url, run_name = site.source.run, site.argument(0).run, site.argument(1).run
    _require_free(site)

    def run(frame: Frame) -> list[Node]:
        url = one(run_url(frame), STRING, site.what, site.at)
        name = one(run_name(frame), STRING, site.what, site.at)
        ask = frame.root.environment.slice
        if ask is None:
            raise site.error("slice() needs the definitions, which are not at hand here")
        return [] if url is None or name is None else list(ask(run_source(frame), url, name))

    return site.keeps(run)


FUNCTIONS: Final[dict[str, Entry]] = {
    "extension": (1, 1, _extension),
    "hasValue": (0, 0, _has_value),
    "getValue": (0, 0, _get_value),
    "memberOf": (1, 1, _member_of),
    "conformsTo": (1, 1, _conforms_to),
    "subsumes": (1, 1, _subsuming(turned=False)),
    "subsumedBy": (1, 1, _subsuming(turned=True)),
    "htmlChecks": (0, 0, _html_checks),
    "checkModifiers": (0, 64, _check_modifiers),
    "elementDefinition": (0, 0, _element_definition),
    "slice": (2, 2, _slice),
}
