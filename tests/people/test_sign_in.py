"""Signing in and out, through the door."""

import pytest

from tests.people.conftest import PASSWORD, House

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_name_and_password_lead_to_the_account(house: House) -> None:
    await house.account("Ada@Example.org", roles=("nurse",))
    browser = house.browser()
    page = await browser.sign_in(" ada@example.ORG ", PASSWORD)
    assert (page.status, page.place) == (303, "/auth/account")
    account = await browser.get("/auth/account")
    assert account.status == 200
    assert "Signed in as ada@example.org" in account.text
    assert "nurse" in account.text
    assert "this is the first time" in account.text
