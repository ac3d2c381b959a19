"""Every type with every parameter, in every form that it has."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from tests.oracle import definitions as d
from tests.oracle.beside import Criterion
from tests.oracle.forms import Forms
from tests.oracle.judging import Question
from tests.oracle.world import World

COMMON = ("Account", "Observation", "Patient")
"""The parameters that all resources have are asked for in all forms here, in one form each elsewhere."""


def questions(world: World, type_: str) -> Iterator[Question]:
    """All questions about parameters of a parameter type, such as `token`."""
    for resource_type in d.TYPES:
        for code, parameter in sorted(d.parameters(resource_type).items()):
            if parameter.type != type_:
                continue
            pick = Random(f"{resource_type} {code}")
            made = list(Forms(world, resource_type, parameter, pick).all())
            if code.startswith("_") and resource_type not in COMMON:
                made = made[:1]
            for criterion in made:
                yield question(resource_type, parameter, criterion)


def question(resource_type: str, parameter: d.Parameter, criterion: Criterion) -> Question:
    return Question(
        resource_type,
        ((criterion.name, criterion.value),),
        (parameter.type, criterion.form),
        f"{resource_type} {parameter.code}",
        labels(resource_type, parameter, criterion),
    )


def labels(resource_type: str, parameter: d.Parameter, criterion: Criterion) -> tuple[str, ...]:
    """The names by which a refusal may be expected."""
    return (
        f"{parameter.type} {criterion.form}",
        f"{parameter.code} {criterion.form}",
        f"{resource_type} {parameter.code}",
        parameter.code,
    )
