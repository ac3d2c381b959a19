"""Which resources match: parameters, modifiers, lists, chains, reverse chains, compartments.

https://hl7.org/fhir/R4/search.html, sections 3.1.1.4.1 to 3.1.1.4.24
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tests.oracle import definitions as d
from tests.oracle import folding, references, values
from tests.oracle.expressions import Node, evaluate
from tests.oracle.ranges import instant
from tests.oracle.terms import Terms
from tests.oracle.world import Subject, World

FAMILY = frozenset(("family",))
"""Parameters whose every value is a family name."""


class Search:
    """Evaluates searches over one world; remembers what it found.

    `into_contained`: "A chained condition will be evaluated inside contained resources" (#contained).
    """

    def __init__(self, world: World, into_contained: bool = False) -> None:
        self.world = world
        self.into_contained = into_contained
        self.terms = Terms(world)
        self._found: dict[tuple[str, str, str], frozenset[str]] = {}

    def all_of(self, type_: str, criteria: Iterable[tuple[str, str]]) -> frozenset[str]:
        """The ids of the resources that meet every criterion, (name, value) as a URL has them."""
        found = frozenset(self.world.by_type[type_])
        for name, value in criteria:
            found &= self.select(type_, name, value)
        return found

    def select(self, type_: str, name: str, value: str) -> frozenset[str]:
        key = (type_, name, value)
        if key not in self._found:
            self._found[key] = frozenset(
                subject.id for subject in self.matching(self.world.subjects(type_), type_, name, value)
            )
        return self._found[key]

    def matching(self, subjects: Iterable[Subject], type_: str, name: str, value: str) -> list[Subject]:
        test = self._test(type_, name, value)
        return [subject for subject in subjects if test(subject)]

    def _test(self, type_: str, name: str, value: str) -> Callable[[Subject], bool]:
        if name.startswith("_has:"):
            _, source, code, rest = name.split(":", 3)
            return self._has(type_, source, code, rest, value)
        head, dot, rest = name.partition(".")
        code, _, modifier = head.partition(":")
        if dot:
            return self._chain(d.parameters(type_)[code], modifier or None, rest, value)
        parameter = d.parameters(type_)[code]
        return lambda subject: self.holds(subject, parameter, modifier or None, value)

    # -- chains

    def _chain(
        self, parameter: d.Parameter, modifier: str | None, rest: str, value: str
    ) -> Callable[[Subject], bool]:
        """Of an untyped chain every target type that has the parameter is meant."""
        code = _code(rest)
        everything = not parameter.targets or "Resource" in parameter.targets
        targets = (modifier,) if modifier else tuple(d.TYPES) if everything else parameter.targets
        apt = [one for one in targets if one in d.TYPES and (code == "_has" or code in d.parameters(one))]
        reached = {(type_, id_) for type_ in apt for id_ in self._understood(type_, rest, value)}

        def test(subject: Subject) -> bool:
            found = references.followed(self.world, subject, parameter)
            inside = references.inline(self.world, subject, parameter)
            if self.into_contained:
                inside += references.contained(self.world, subject, parameter)
            return any((one.type, one.id) in reached for one in found) or any(
                one.type in apt and self.matching([one], one.type, rest, value) for one in inside
            )

        return test

    def _understood(self, type_: str, name: str, value: str) -> frozenset[str]:
        """A value or modifier that means nothing for one of a chain's types leaves that type out."""
        try:
            return self.select(type_, name, value)
        except values.Meaningless:
            return frozenset()

    def _has(self, type_: str, source: str, code: str, rest: str, value: str) -> Callable[[Subject], bool]:
        parameter = d.parameters(source)[code]
        wanted = self.select(source, rest, value)
        reached = {
            one.id
            for id_ in wanted
            for one in references.followed(self.world, self.world.by_type[source][id_], parameter)
            if one.type == type_
        }
        return lambda subject: subject.id in reached

    # -- one parameter

    def holds(self, subject: Subject, parameter: d.Parameter, modifier: str | None, value: str) -> bool:
        """Whether one of the comma-separated values is met; `:not` and `:not-in` turn the whole around."""
        if modifier == "missing":
            return bool(self.nodes(subject, parameter)) is (value == "false")
        wanted = [text for text in values.split(value, ",") if text]
        if modifier in ("not", "not-in"):
            inner = None if modifier == "not" else "in"
            return not any(self._meets(subject, parameter, inner, text) for text in wanted)
        return any(self._meets(subject, parameter, modifier, text) for text in wanted)

    def nodes(self, subject: Subject, parameter: d.Parameter) -> tuple[Node, ...]:
        return self.world.nodes(subject, parameter)

    def _meets(self, subject: Subject, parameter: d.Parameter, modifier: str | None, text: str) -> bool:
        if parameter.code == "_lastUpdated":
            return self._updated(subject, text)
        nodes = self.nodes(subject, parameter)
        if parameter.type == "composite":
            return any(self._together(subject, parameter, node, text) for node in nodes)
        return any(self._one(subject, parameter, node, modifier, text) for node in nodes)

    def _updated(self, subject: Subject, text: str) -> bool:
        updated = subject.resource.get("meta", {}).get("lastUpdated")
        return updated is not None and values.date_holds(
            values.asked_date(text), instant(updated), self.world.now
        )

    def _together(self, subject: Subject, parameter: d.Parameter, node: Node, text: str) -> bool:
        """Every component on the same element: https://hl7.org/fhir/R4/search.html#composite"""
        resource = self.world.surroundings(subject)
        pieces = values.split(text, "$")
        if len(pieces) != len(parameter.parts):
            raise values.Meaningless(text)
        return all(
            any(
                self._one(subject, part, found, None, piece)
                for found in evaluate(part.expression, node, resource)
            )
            for part, piece in zip(parameter.parts, pieces, strict=True)
        )

    def _one(
        self, subject: Subject, parameter: d.Parameter | d.Part, node: Node, modifier: str | None, text: str
    ) -> bool:
        match parameter.type:
            case "number":
                return values.number_matches(node, text)
            case "date":
                return values.date_matches(node, text, self.world.now)
            case "quantity":
                return values.quantity_matches(node, text)
            case "string":
                code = parameter.code if isinstance(parameter, d.Parameter) else ""
                how = folding.PHONETIC if code == folding.PHONETIC else modifier
                return values.string_matches(node, text, how, code in FAMILY)
            case "token":
                return self._token(node, modifier, text)
            case "uri":
                return self._uri(subject, node, modifier, text)
            case "reference":
                return self._reference(subject, parameter, node, modifier, text)
        raise AssertionError(parameter.type)

    def _token(self, node: Node, modifier: str | None, text: str) -> bool:
        match modifier:
            case None:
                return values.token_matches(node, text)
            case "text":
                return values.text_matches(node, text)
            case "of-type":
                return values.of_type_matches(node, text)
            case "in":
                return self.terms.in_value_set(node, values.unescape(text))
            case "above" | "below":
                return self.terms.related(node, text, modifier == "below")
        raise values.Meaningless(modifier)

    def _uri(self, subject: Subject, node: Node, modifier: str | None, text: str) -> bool:
        match modifier:
            case None:
                return values.uri_matches(node, text, subject.resource)
            case "below":
                return values.uri_below(node, text)
            case "above":
                return values.uri_above(node, text)
        raise values.Meaningless(modifier)

    def _reference(
        self, subject: Subject, parameter: d.Parameter | d.Part, node: Node, modifier: str | None, text: str
    ) -> bool:
        if modifier in ("above", "below"):
            found = references.literal(node)
            if found is None:
                return False
            if node.type != "Reference":
                asked = values.unescape(text)
                pair = (found, asked) if modifier == "below" else (asked, found)
                return references.canonical_below(*pair)
            return self._in_hierarchy(subject, parameter, found, text, modifier == "below")
        return references.reference_matches(self.world, node, parameter, text, modifier)

    def _in_hierarchy(
        self, subject: Subject, parameter: d.Parameter | d.Part, found: str, text: str, below: bool
    ) -> bool:
        """https://hl7.org/fhir/R4/search.html#recursive"""
        target = references.link(found, self.world.base)
        asked = references.link(values.unescape(text), self.world.base)
        if (target.base, target.type, target.id) == (asked.base, asked.type, asked.id):
            return True
        types = (asked.type,) if asked.type else parameter.targets
        if target.base is not None or target.type is None or target.type not in types:
            return False
        code = HIERARCHIES.get(target.type, "")
        if isinstance(parameter, d.Parameter) and parameter.code in OF_CARE_PLANS:
            code = parameter.code if subject.type == target.type == "CarePlan" else code
        ends = (target.id, asked.id) if below else (asked.id, target.id)
        return ends[1] in self._ancestry(target.type, code, ends[0])

    def _ancestry(self, type_: str, code: str, id_: str) -> set[str]:
        """An id and those of all that it is part of."""
        parameter = d.parameters(type_).get(code)
        found, waiting = {id_}, [id_]
        while waiting:
            subject = self.world.get(type_, waiting.pop())
            if subject is None or parameter is None:
                continue
            for node in self.world.nodes(subject, parameter):
                link = references.link(references.literal(node) or "", self.world.base)
                if link.type == type_ and link.base is None and link.id not in found:
                    found.add(link.id)
                    waiting.append(link.id)
        return found

    # -- compartments

    def compartment(self, name: str, id_: str, type_: str) -> frozenset[str]:
        """The resources of a type that are in somebody's compartment.

        https://hl7.org/fhir/R4/compartmentdefinition.html: any of the parameters refers to it, or it is it.
        """
        found: frozenset[str] = (
            frozenset({id_} & self.world.by_type[type_].keys()) if type_ == name else frozenset()
        )
        for code in d.COMPARTMENTS[name].get(type_, ()):
            if code != "{def}":
                found |= self.select(type_, code, f"{name}/{id_}")
        return found


def _code(name: str) -> str:
    """`family` of `family:exact`, `subject` of `subject:Patient.name`."""
    return name.partition(".")[0].partition(":")[0]


HIERARCHIES = {
    "CarePlan": "part-of",
    "Communication": "part-of",
    "DeviceDefinition": "parent",
    "Encounter": "part-of",
    "Location": "partof",
    "Organization": "partof",
    "Procedure": "part-of",
    "ResearchStudy": "partof",
    "Specimen": "parent",
    "Task": "part-of",
}
"""The parameter that establishes a strict hierarchy, by type; of care plans two more do."""
OF_CARE_PLANS = ("based-on", "replaces")
