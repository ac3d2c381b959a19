"""Whole searches for hypothesis: several criteria, orders, pages, as GET and as POST.

In continuous integration the same ones in every run; FHIRSERVER_TEST_NIGHTLY=1 draws many others.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from random import Random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.oracle import definitions as d
from tests.oracle.chaining import INLINE, Chains
from tests.oracle.expectations import different, refused
from tests.oracle.forms import Forms
from tests.oracle.judging import Question
from tests.oracle.pairs import labels
from tests.oracle.resulting import SORTABLE
from tests.oracle.world import World

NIGHTLY = os.environ.get("FHIRSERVER_TEST_NIGHTLY") == "1"
MANY = 50
"""How many times as much a night has."""


def examples(count: int) -> settings:
    """Hypothesis' settings for so many examples."""
    return settings(
        max_examples=count * MANY if NIGHTLY else count,
        deadline=None,
        derandomize=not NIGHTLY,
        print_blob=NIGHTLY,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.filter_too_much,
            HealthCheck.large_base_example,
        ],
    )


@dataclass(frozen=True, slots=True)
class Drawn:
    """A search of a type, its order, the size of its pages, and whether it is sent as a form."""

    question: Question
    sort: tuple[str, ...]
    size: int
    as_form: bool

    @property
    def query(self) -> str:
        order = f"_sort={','.join(self.sort)}" if self.sort else ""
        return "&".join(filter(None, (self.question.query, order, f"_count={self.size}")))


@st.composite
def searches(draw: st.DrawFn, chains: Chains) -> Drawn:
    """Of a type that has resources, by one to three criteria near their values, perhaps a chain or `_has`."""
    world = chains.world
    types = [type_ for type_ in d.TYPES if len(world.by_type[type_]) > 1]
    type_ = draw(st.sampled_from(types))
    pick = draw(st.randoms(use_true_random=False))
    criteria = [one for _ in range(draw(st.integers(1, 3))) if (one := criterion(world, type_, pick))]
    if draw(st.booleans()):
        criteria += chains.criterion(type_, pick)
    sortable = [
        code
        for code, one in d.parameters(type_).items()
        if one.type in SORTABLE
        and (type_ != "Bundle" or code not in INLINE)
        and not (refused((f"sort by {code}", code)) or different((f"sort by {one.type}",)))
    ]
    keys = draw(st.lists(st.sampled_from(sortable), max_size=3, unique=True)) if sortable else []
    sort = tuple(draw(st.sampled_from(("", "-"))) + key for key in keys)
    question = Question(type_, tuple(criteria), ("drawn",), type_)
    return Drawn(question, sort, draw(st.integers(1, 20)), draw(st.booleans()))


def criterion(world: World, type_: str, pick: Random) -> tuple[str, str] | None:
    """One that is answered today."""
    for _ in range(8):
        parameter = d.parameters(type_)[pick.choice(sorted(d.parameters(type_)))]
        made = Forms(world, type_, parameter, pick).any() if parameter.type != "special" else None
        if made is not None and not refused(labels(type_, parameter, made)):
            return made.name, made.value
    return None
