"""The view that validation goes by: it learns from what is stored, and knows when that changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
import pytest_asyncio

from fhirserver.interactions.views import LOOK_S, Views, library
from fhirserver.policy.restriction import NOTHING
from fhirserver.search.context import Context
from fhirserver.terminology.cache import Cache
from fhirserver.terminology.view import View
from tests.db.search.harness import KEYS, NOW, REGISTRY, Harness, harness
from tests.support.terminology import SET, SYSTEM, code_system, concept, filtered, value_set

pytestmark = pytest.mark.asyncio(loop_scope="module")
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def store(database: str) -> Any:
    async with harness(database) as found:
        yield found


async def known(store: Harness, view: View, code: str) -> str:
    """Asked as a validator asks, for somebody who may see nothing at all."""
    context = Context(REGISTRY, KEYS, NOW, NOTHING)
    view.validate(SET, SYSTEM, code)
    await view.learn(library(cast(Any, store.connection), context, Cache()))
    return view.validate(SET, SYSTEM, code).membership.value


async def current(store: Harness, views: Views, after_s: float, **more: Any) -> View:
    now = START + timedelta(seconds=after_s)
    return await views.current(cast(Any, store.connection), KEYS.tenant, now, **more)


async def test_a_view_lasts_until_a_definition_is_written(store: Harness) -> None:
    await store.put({**code_system(concept("a"), concept("b")), "id": "cs"})
    views = Views()
    view = await current(store, views, 0)
    assert await known(store, view, "a") == "unknown"
    await store.put({**value_set(filtered("code", "=", "a")), "id": "vs"})
    await store.put({"resourceType": "Patient", "id": "p"})
    assert await current(store, views, LOOK_S / 2) is view
    second = await current(store, views, LOOK_S / 2, exactly=True)
    assert second is not view
    assert [await known(store, second, code) for code in "ab"] == ["member", "not member"]
    assert await current(store, views, 5 * LOOK_S) is second
    await store.put({**value_set(filtered("code", "=", "b")), "id": "vs"}, version=2)
    third = await current(store, views, 9 * LOOK_S)
    assert [await known(store, third, code) for code in "ab"] == ["not member", "member"]
    await store.delete("ValueSet", "vs", 2)
    assert await known(store, await current(store, views, 20 * LOOK_S), "b") == "unknown"
