"""Whatever a resource has become, it is judged: the walk through the rules relies on no value's shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirserver.fhir.profile.validate import examine
from tests.support.guides import Package, package
from tests.support.mutation import mutated
from tests.support.share import share


@pytest.fixture(scope="module")
def us_core(shared_data: Path) -> Package:
    return package(shared_data / "us-core-igs" / "us_core_700.tgz")


@settings(max_examples=share(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_everything_is_judged(us_core: Package, data: st.DataObject) -> None:
    library, terms = us_core.library(), us_core.terms()
    examples: list[Any] = list(us_core.examples.values())
    asked = {one["url"]: one for one in examples if one["resourceType"] == "Questionnaire"}
    resource = data.draw(mutated(data.draw(st.sampled_from(examples))))
    for one in examine(resource, library, terms, questionnaires=asked):
        assert one.severity in ("error", "warning", "information")
        assert one.diagnostics
