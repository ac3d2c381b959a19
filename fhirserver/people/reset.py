"""A new password for who forgot theirs: by a link that is good once, for an hour, and only the newest.

https://cheatsheetseries.owasp.org/cheatsheets/Forgot_Password_Cheat_Sheet.html
"""

from __future__ import annotations

from typing import Final

from fhirserver.db.pool import Connection
from fhirserver.interactions.call import Services
from fhirserver.people import accounts, attempts, mail, once, persons, resources
from fhirserver.people.accounts import Account
from fhirserver.people.places import address

KIND: Final = "reset"
LIFETIME_S: Final = 3_600
SUBJECT: Final = "Choose a new password"
TEXT: Final = (
    "Somebody, most likely you, asked for a new password for the account {login}.\n"
    "This link is good once and for an hour. If it was not you, there is nothing to do."
)


async def link(connection: Connection, services: Services, account: Account) -> str:
    """The address at which the account's owner chooses a new password; those before it are useless now."""
    value = {"account": account.id}
    async with connection.transaction():
        await once.drop(connection, services, KIND, value)
        return address(services, f"reset/{await once.put(connection, services, KIND, value, LIFETIME_S)}")


async def ask(services: Services, login: str) -> None:
    """Send a link to the e-mail address of whoever has the name; the caller learns nothing, nor do those who
    ask again and again."""
    async with services.pool.acquire() as connection:
        found = await _owner(connection, services, login)
        place = await link(connection, services, found[0]) if found else ""
    if found is not None:
        await mail.send(services, found[1], SUBJECT, TEXT.format(login=found[0].login), place)


async def _owner(connection: Connection, services: Services, login: str) -> tuple[Account, str] | None:
    """The account of a name, and where its owner reads mail."""
    try:
        await attempts.count(connection, services, KIND, login.strip().casefold())
    except attempts.TooMany:
        return None
    account = await accounts.find(connection, services, login)
    # Who signs in elsewhere alone has no password here, and gets none by knowing an e-mail address.
    if account is None or account.disabled or account.password is None:
        return None
    person = await resources.stored(connection, services, "Person", account.person)
    to = (persons.e_mail(person) if person else None) or (account.login if "@" in account.login else None)
    return (account, to) if to is not None else None


async def of_code(connection: Connection, services: Services, code: str) -> Account | None:
    """Whose password an unused link changes."""
    value = await once.look(connection, services, KIND, code)
    found = await accounts.get(connection, services, value["account"]) if value else None
    return found if found is not None and not found.disabled else None


async def redeem(connection: Connection, services: Services, code: str, password: str) -> bool:
    """Use up the link for a new password (a hash), and end everything that was begun with the old one.

    False for a link that was used or is too old. A second step stays as it is.
    """
    async with connection.transaction():
        value = await once.take(connection, services, KIND, code)
        account = await accounts.get(connection, services, value["account"]) if value else None
        if account is None or account.disabled:
            return False
        if not await accounts.set_password(connection, services, account, password):
            return False
        await accounts.end_everything(connection, account.id)
        return True
