"""The official XML schemas as a second opinion: what the walker takes, they take.

They know nothing of references, containment, rules for narratives or JSON, so the converse does not hold.
"""

import copy
import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from fhirserver.fhir import validate
from fhirserver.fhir.xml import to_xml
from tests.unit.validate.conftest import Pool
from tests.unit.validate.test_mutations import Parts, mutate

Resource = dict[str, Any]
# Where the schemas are narrower than the definitions, which have the last word.
DIFFERENT = (
    r"(uri|canonical|url)-primitive",  # anyURI knows more about schemes than the regular expression does
    r"'text/cql', 'text/fhirpath'",  # Expression.language is bound as extensible
    r":60Z'",  # a leap second
)


@pytest.fixture(scope="session")
def official(shared_data: Path) -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(shared_data / "xsd-r4" / "fhir-single.xsd"))


@pytest.fixture(scope="session")
def small(examples: dict[str, Resource]) -> Pool:
    return Pool(resource for resource in examples.values() if len(str(resource)) < 4000)


@settings(max_examples=1500, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_what_the_walker_takes_the_official_schemas_take(
    official: etree.XMLSchema, small: Pool, seed: int
) -> None:
    choose = random.Random(seed)
    resource = copy.deepcopy(choose.choice(small))
    other = choose.choice(small)
    mutate(resource, Parts(other), choose)
    if validate.issues(resource):
        return
    document = etree.fromstring(to_xml(resource))
    if not official.validate(document):
        reason = str(official.error_log[0])
        assert any(re.search(known, reason) for known in DIFFERENT), reason
