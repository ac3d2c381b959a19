"""The consent page: who asks for what, in words, and nothing is given that is not ticked there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec
from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request
from starlette.responses import Response

from fhirserver import pages
from fhirserver.db.pool import Connection
from fhirserver.fhir.structure import Resource
from fhirserver.interactions.audit.entrance import GRANTED, Entrant, record_entrance
from fhirserver.interactions.call import Origin
from fhirserver.oauth import authorize, grants, launches, pending, reach, record, visit, wording
from fhirserver.oauth.context import ACCESS_S, CODE_S, OFFLINE_S, Server, now
from fhirserver.oauth.errors import OAuthError
from fhirserver.oauth.visit import Elsewhere, Refused, Visit

ENCOUNTERS_MAX: Final = 20


async def consent(request: Request, server: Server) -> Response:
    """GET shows the page, POST is the answer."""
    form = await pages.csrf.form(request) if request.method == "POST" else None
    ticket = (form if form is not None else request.query_params).get("ticket", "")
    async with server.services.pool.acquire() as connection:
        try:
            found = await visit.begun(request, connection, server, ticket)
            if isinstance(found, Elsewhere):
                return found.response
            if form is not None and form.get("decision") != "allow":
                raise _denied(found)
            return await _answered(request, connection, found, form)
        except Refused as refused:
            return visit.told(server, refused)


def _denied(found: Visit) -> Refused:
    return Refused(found.asked, OAuthError("access_denied", "nothing was allowed"))


async def _answered(
    request: Request,
    connection: Connection,
    found: Visit,
    form: ImmutableMultiDict[str, str] | None,
) -> Response:
    """The page, or what follows from the answer; before either, a patient where one is needed."""
    patient = await visit.patient_of(connection, found)
    if patient is None and found.asked.needs_patient:
        own = await _only_own(connection, found)
        if own is None:
            return authorize.onward(found.server, "patient", found.asked)
        asked = msgspec.structs.replace(found.asked, patient=own["id"])
        return authorize.onward(found.server, "consent", asked)
    sections = wording.sections(found.asked.scopes, reach.name_of(patient) if patient else None)
    encounters = await _encounters(connection, found, patient)
    if form is None:
        return _page(request, found, sections, patient, encounters)
    given = wording.granted(sections, form.getlist("scope"))
    if not given:
        raise _denied(found)
    context = _context(found, patient, encounters, form.get("encounter", ""))
    code = await _grant(connection, found, given, context, Origin.of(request.scope["state"]))
    asked = found.asked
    return pages.redirect(pending.answer(found.server, asked.redirect_uri, code=code, state=asked.state))


async def _only_own(connection: Connection, found: Visit) -> Resource | None:
    """The patient about whom alone somebody can mean it: themselves."""
    if not _has_only_own(found):
        return None
    return await reach.patient(connection, found.server, found.who, found.who.own[0])


def _has_only_own(found: Visit) -> bool:
    return found.who.user[0] != "Practitioner" and len(found.who.own) == 1


async def _encounters(connection: Connection, found: Visit, patient: Resource | None) -> list[Resource]:
    """The visits to choose from, where one is asked for and the launch names none."""
    asked_for = "launch/encounter" in found.asked.scopes and not found.context.get("encounter")
    if patient is None or not asked_for:
        return []
    return await reach.encounters(connection, found.server, found.who, patient["id"], ENCOUNTERS_MAX)


def _page(
    request: Request,
    found: Visit,
    sections: Sequence[wording.Section],
    patient: Resource | None,
    encounters: Sequence[Resource],
) -> Response:
    return pages.render(
        request,
        "consent.html",
        form_action=visit.form_action(found.asked.redirect_uri),
        who=found.who.name,
        app=found.client.name,
        home=found.client.metadata.get("client_uri"),
        address=found.asked.redirect_uri,
        patient=None if patient is None else reach.name_of(patient),
        birth_date=None if patient is None else patient.get("birthDate"),
        another="launch" not in found.asked.scopes and found.asked.needs_patient and not _has_only_own(found),
        sections=sections,
        encounters=[(one["id"], reach.visit_of(one)) for one in encounters],
        ticket=pending.seal(found.server, found.asked),
    )


def _context(
    found: Visit, patient: Resource | None, encounters: Sequence[Resource], encounter: str
) -> dict[str, Any]:
    """What the token response tells of the context, and what the grant remembers of who gave it."""
    context: dict[str, Any] = {
        "person": found.who.person,
        "auth_time": int(found.session.created.timestamp()),
        "nonce": found.asked.nonce,
        "smart_style_url": found.server.url("style"),
        "need_patient_banner": True if patient is not None else None,
        "patient": None if patient is None else patient["id"],
        **found.context,
    }
    if any(one["id"] == encounter for one in encounters):
        context["encounter"] = encounter
    return {name: value for name, value in context.items() if value is not None}


async def _grant(
    connection: Connection, found: Visit, scopes: Sequence[str], context: dict[str, Any], origin: Origin
) -> str:
    """The code. The grant, what records it and the end of the launch are one transaction."""
    server, asked = found.server, found.asked
    online = "online_access" in scopes and "offline_access" not in scopes
    lifetime_s = _lifetime_s(server, scopes)
    async with connection.transaction():
        if asked.launch is not None and "launch" in asked.scopes:
            try:
                await launches.use(connection, server, asked.client, asked.launch, found.who.user)
            except OAuthError as error:
                raise Refused(asked, error) from None
        patient, consent_id = context.get("patient"), None
        if patient is not None and patient in found.who.own:
            until = now() + timedelta(seconds=lifetime_s)
            consent_id = await record.consent(
                connection, server, found.client, found.who, patient, scopes, until
            )
        number = await grants.create(
            connection,
            server,
            found.client.id,
            scopes,
            lifetime_s,
            account=found.session.account,
            session=found.session.hash if online else None,
            context=context,
            consent=consent_id,
        )
        who = Entrant(user=found.who.user, client=found.client.id, patient=patient)
        await record_entrance(connection, server.services, origin, GRANTED, who, scopes=scopes)
        return await grants.code_for(connection, number, asked.redirect_uri, asked.challenge)


def _lifetime_s(server: Server, scopes: Sequence[str]) -> float:
    if "offline_access" in scopes:
        return OFFLINE_S
    return server.services.settings.session_max_s if "online_access" in scopes else ACCESS_S + CODE_S
