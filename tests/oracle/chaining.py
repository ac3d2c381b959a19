"""Chains, reverse chains and compartments to ask for, along references that exist.

https://hl7.org/fhir/R4/search.html#chaining, #has
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from tests.oracle import definitions as d
from tests.oracle import references
from tests.oracle.expectations import refused
from tests.oracle.forms import Forms
from tests.oracle.judging import Question
from tests.oracle.pairs import labels
from tests.oracle.world import Subject, World

INLINE = ("composition", "message")
"""The parameters of Bundle that select a resource within it, to which nothing leads back."""
TYPES_MAX = 20
"""A chain without a type that means more types than that is one over many."""


@dataclass(frozen=True, slots=True)
class Step:
    """One reference followed: from a resource, by a parameter, to another."""

    source: Subject
    parameter: d.Parameter
    target: Subject


@dataclass(frozen=True, slots=True)
class Ending:
    """What a chain ends in: a criterion of a resource, with the labels of its form."""

    name: str
    value: str
    labels: tuple[str, ...]


class Chains:
    """Draws questions; the same ones for the same world and seed."""

    def __init__(self, world: World, pick: Random) -> None:
        self.world = world
        self.pick = pick
        self.steps: dict[tuple[str, str], list[Step]] = {}
        for type_ in d.TYPES:
            for code, parameter in sorted(d.parameters(type_).items()):
                if parameter.type == "reference":
                    self.steps[type_, code] = [
                        Step(subject, parameter, target)
                        for subject in world.subjects(type_)
                        for target in (
                            *references.followed(world, subject, parameter),
                            *references.inline(world, subject, parameter),
                        )
                    ]

        self.keys = list(self.steps)
        self.canonical = {key for key in self.keys if _by_url(world, *key)}

    def step(self, type_: str) -> Step | None:
        """Any reference from a resource of a type."""
        found = [steps for (one, _), steps in self.steps.items() if one == type_ and steps]
        return self.pick.choice(self.pick.choice(found)) if found else None

    def ending(self, subject: Subject) -> Ending | None:
        """A criterion near what the resource has."""
        has = [
            parameter
            for parameter in d.parameters(subject.type).values()
            if parameter.type != "special" and self.world.nodes(subject, parameter)
        ]
        for _ in range(5):
            parameter = self.pick.choice(has)
            made = Forms(self.world, subject.type, parameter, self.pick, [subject]).any()
            if made is not None:
                return Ending(made.name, made.value, labels(subject.type, parameter, made))
        return None

    def all(self) -> Iterator[Question]:
        """Each kind of chain for each reference parameter that leads somewhere."""
        for (type_, code), steps in self.steps.items():
            if steps:
                hit = f"{type_} {code}"
                yield from self._forward(self.pick.choice(steps), hit)
                if type_ != "Bundle" or code not in INLINE:
                    yield from self._backward(self.pick.choice(steps), hit)

    def criterion(self, type_: str, pick: Random) -> list[tuple[str, str]]:
        """A chain from resources of a type, or a `_has`, as `pick` decides; none where none is found."""
        own, self.pick = self.pick, pick
        try:
            onward = self.step(type_)
            back = self.reverse(pick.choice(sorted(self.world.by_type[type_].items()))[1])
            ways = [self._forward(onward, type_)] if onward is not None else []
            ways += [self._backward(back, type_)] if back is not None else []
            made = [one for one in pick.choice(ways) if not refused(one.labels)] if ways else []
            return [pick.choice(made).criteria[0]] if made else []
        finally:
            self.pick = own

    def _forward(self, step: Step, hit: str) -> Iterator[Question]:
        code, type_ = step.parameter.code, step.target.type
        yield from self._ask("typed", f"{code}:{type_}.", step.source, step.target, hit, step)
        if (untyped := self._untyped(step, hit)) is not None:
            yield untyped
        if (second := self.step(type_)) is not None:
            path = f"{code}:{type_}.{second.parameter.code}:{second.target.type}."
            yield from self._ask("two steps", path, step.source, second.target, hit, step, second)
            if (third := self.step(second.target.type)) is not None:
                path = f"{path}{third.parameter.code}:{third.target.type}."
                yield from self._ask("three steps", path, step.source, third.target, hit, step, second, third)
        inline = step.source.type == "Bundle" and code in INLINE  # nothing refers to what is within another
        if not inline and (back := self.reverse(step.target)) is not None:
            path = f"{code}:{type_}._has:{back.source.type}:{back.parameter.code}:"
            yield from self._ask("_has in a chain", path, step.source, back.source, hit, step, back)

    def _untyped(self, step: Step, hit: str) -> Question | None:
        """Without a type, all that the parameter may refer to are meant, whatever the next one is of each.

        A modifier that is none for one of them is for tests of errors.
        """
        for question in self._ask("untyped", f"{step.parameter.code}.", step.source, step.target, hit, step):
            code, _, modifier = question.criteria[0][0].split(".")[1].partition(":")
            kinds = {d.parameters(type_)[code].type for type_ in meant(step.parameter, code)}
            if len(kinds) == 1 or modifier in ("", "missing"):
                return replace(question, labels=(*question.labels, *many(step.parameter, code)))
        return None

    def _backward(self, step: Step, hit: str) -> Iterator[Question]:
        has = f"_has:{step.source.type}:{step.parameter.code}:"
        yield from self._ask("_has", has, step.target, step.source, hit, step)
        if (onward := self.step(step.source.type)) is not None:
            path = f"{has}{onward.parameter.code}:{onward.target.type}."
            yield from self._ask("chain in _has", path, step.target, onward.target, hit, step, onward)
        if (back := self.reverse(step.source)) is not None:
            path = f"{has}_has:{back.source.type}:{back.parameter.code}:"
            yield from self._ask("_has in _has", path, step.target, back.source, hit, step, back)

    def reverse(self, subject: Subject) -> Step | None:
        """A reference to a resource, by one of a few parameters tried."""
        for _ in range(40):
            found = [step for step in self.steps[self.pick.choice(self.keys)] if step.target is subject]
            if found:
                return self.pick.choice(found)
        return None

    def _ask(
        self, kind: str, path: str, start: Subject, end: Subject, hit: str, *steps: Step
    ) -> Iterator[Question]:
        """The resources like `start` from which a way by `path` leads to one like `end`."""
        ending = self.ending(end)
        if ending is None:
            return
        canonical = any((step.source.type, step.parameter.code) in self.canonical for step in steps)
        labels = [*ending.labels, *(f"{step.source.type} {step.parameter.code}" for step in steps)]
        if canonical:
            labels.append("chain by canonical URL")
        row = f"{kind}, by canonical URL" if canonical else kind
        yield Question(start.type, ((path + ending.name, ending.value),), (row,), hit, tuple(labels))


def _by_url(world: World, type_: str, code: str) -> bool:
    """Whether a parameter refers by canonical URL in any resource of a type."""
    parameter = d.parameters(type_)[code]
    nodes = (node for subject in world.subjects(type_) for node in world.nodes(subject, parameter))
    return any(node.type in ("canonical", "uri") for node in nodes)


def meant(parameter: d.Parameter, *codes: str) -> list[str]:
    """The types that a parameter may refer to and that have others."""
    everything = not parameter.targets or "Resource" in parameter.targets
    targets = d.TYPES if everything else parameter.targets
    return [type_ for type_ in targets if type_ in d.TYPES and d.parameters(type_).keys() >= {*codes}]


def many(parameter: d.Parameter, *codes: str) -> tuple[str, ...]:
    """The label of a chain without a type, if it means many."""
    return ("chain over many types",) if len(meant(parameter, *codes)) > TYPES_MAX else ()
