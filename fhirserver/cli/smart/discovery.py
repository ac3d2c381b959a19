"""Documents that clients read first.

https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html, OpenID Connect Discovery 1.0 section 3
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from fhirserver.cli.smart.report import doubt, expect, skip
from fhirserver.cli.smart.target import ORIGIN, Target, body_of, expect_origin, expect_status

OAUTH_URIS: Final = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
NAMES: Final = {
    "authorize": "authorization_endpoint",
    "token": "token_endpoint",
    "register": "registration_endpoint",
    "manage": "management_endpoint",
    "introspect": "introspection_endpoint",
    "revoke": "revocation_endpoint",
}
"""Of the extension in the CapabilityStatement and of the SMART configuration."""
PATIENT_APP: Final = frozenset(
    (
        *("launch-standalone", "client-public", "client-confidential-symmetric", "sso-openid-connect"),
        *("client-confidential-asymmetric", "context-standalone-patient", "permission-offline"),
        *("permission-patient", "authorize-post", "permission-v1", "permission-v2"),
    )
)
PRACTITIONER_APP: Final = frozenset(
    (
        *("launch-ehr", "client-confidential-symmetric", "client-confidential-asymmetric", "permission-v1"),
        *("sso-openid-connect", "context-banner", "context-style", "context-ehr-patient", "permission-v2"),
        *("context-ehr-encounter", "permission-offline", "permission-user", "authorize-post"),
    )
)
"""What (g)(10) asks of a standalone patient app's and an EHR practitioner app's server."""
_OPENID_FIELDS: Final = (
    *("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri", "response_types_supported"),
    *("subject_types_supported", "id_token_signing_alg_values_supported"),
)
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "k"})


def look(target: Target) -> None:
    """All of this module."""
    target.report.group = "SMART configuration"
    _configuration(target)
    _advertised(target)
    target.report.group = "CapabilityStatement"
    _capability_statement(target)
    target.report.group = "OpenID Connect"
    _openid(target)
    _key_set(target)
    target.report.group = "Browser apps (CORS)"
    _everybody_may_discover(target)


def _configuration(target: Target) -> None:
    check, url = target.report.check, f"{target.base}/.well-known/smart-configuration"
    with check("is JSON, whatever form is asked for"):
        for accept in ("application/json", "text/html", "application/fhir+xml", "*/*"):
            response = target.http.get(url, headers={"Accept": accept})
            expect_status(response, 200)
            sent = response.headers.get("content-type", "")
            expect(sent.startswith("application/json"), f"Content-Type is {sent!r} for Accept: {accept}")
            target.configuration = body_of(response)
    found = target.configuration
    with check("has the required fields, of their types"):
        expect(found, "there is no configuration")
        for name in ("authorization_endpoint", "token_endpoint"):
            expect(isinstance(found.get(name), str) and found[name], f"{name} is no text")
        for name in ("capabilities", "grant_types_supported", "code_challenge_methods_supported"):
            expect_texts(found, name)
    with check("has absolute addresses"):
        for name in ("issuer", "jwks_uri", "authorization_endpoint", *NAMES.values()):
            if (value := found.get(name)) is not None:
                expect(is_absolute(value), f"{name} is {value!r}")
    with check("offers the authorization code with S256 alone"):
        expect("authorization_code" in expect_texts(found, "grant_types_supported"), "not among grant types")
        methods = expect_texts(found, "code_challenge_methods_supported")
        expect("S256" in methods, "code_challenge_methods_supported is without S256")
        expect("plain" not in methods, "code_challenge_methods_supported has plain")
    with check("names issuer and key set exactly when people can sign in (sso-openid-connect)"):
        if "sso-openid-connect" in target.capabilities:
            expect(isinstance(found.get("issuer"), str), "issuer is no text")
            expect(isinstance(found.get("jwks_uri"), str), "jwks_uri is no text")
        elif found.get("issuer") is not None:
            doubt("there is an issuer without sso-openid-connect")


def _advertised(target: Target) -> None:
    check, found = target.report.check, target.configuration
    for who, needed in (("patient", PATIENT_APP), ("practitioner", PRACTITIONER_APP)):
        with check(f"has the capabilities for {who} apps that (g)(10) asks for"):
            missing = needed - target.capabilities
            expect(not missing, f"missing: {', '.join(sorted(missing))}")
    with check("says how clients prove who they are"):
        methods = expect_texts(found, "token_endpoint_auth_methods_supported")
        wanted = {
            "client-confidential-symmetric": {"client_secret_basic"},
            "client-confidential-asymmetric": {"private_key_jwt"},
        }
        for capability, needed in wanted.items():
            if capability in target.capabilities:
                expect(needed <= set(methods), f"{capability} without {', '.join(needed)}")
        if "client-confidential-asymmetric" in target.capabilities:
            algorithms = expect_texts(found, "token_endpoint_auth_signing_alg_values_supported")
            expect({"RS384", "ES384"} <= set(algorithms), f"RS384 and ES384 are not both in {algorithms}")
    with check("lists scopes and response types as texts"):
        expect("code" in expect_texts(found, "response_types_supported"), "response_types without code")
        expect("openid" in expect_texts(found, "scopes_supported"), "scopes_supported without openid")


def _capability_statement(target: Target) -> None:
    check = target.report.check
    addresses: dict[str, Any] = {}
    with check("can be read without a token and says SMART-on-FHIR"):
        response = target.fhir("metadata")
        expect_status(response, 200)
        securities = [rest.get("security", {}) for rest in body_of(response).get("rest", [])]
        coded = [one for one in securities if "SMART-on-FHIR" in json.dumps(one.get("service", []))]
        expect(coded, "no rest.security.service has the code SMART-on-FHIR")
        extensions = [one for one in coded[0].get("extension", []) if one.get("url") == OAUTH_URIS]
        expect(extensions, "rest.security is without the extension oauth-uris")
        addresses = {one.get("url"): one.get("valueUri") for one in extensions[0].get("extension", [])}
    with check("has the same addresses as the SMART configuration"):
        if not addresses:
            skip("has no addresses")
        for name, field in NAMES.items():
            here, there = addresses.get(name), target.configuration.get(field)
            expect(here == there, f"{name} is {here!r} here and {there!r} there")
        expect(addresses.get("authorize") and addresses.get("token"), "authorize or token is missing")


def _openid(target: Target) -> None:
    check = target.report.check
    with check("configuration is JSON and has the required fields"):
        response = target.http.get(f"{target.url('issuer').rstrip('/')}/.well-known/openid-configuration")
        expect_status(response, 200)
        sent = response.headers.get("content-type", "")
        expect(sent.startswith("application/json"), f"Content-Type is {sent!r}")
        target.openid = body_of(response)
        missing = [name for name in _OPENID_FIELDS if name not in target.openid]
        expect(not missing, f"missing: {', '.join(missing)}")
        algorithms = target.openid["id_token_signing_alg_values_supported"]
        expect("RS256" in algorithms, f"id tokens are not signed by RS256 but by {algorithms}")
    with check("configuration agrees with the SMART configuration"):
        if not target.openid:
            skip("there is no configuration")
        for name in ("issuer", "jwks_uri", "authorization_endpoint", "token_endpoint"):
            here, there = target.openid.get(name), target.configuration.get(name)
            expect(here == there, f"{name} is {here!r} here and {there!r} there")


def _key_set(target: Target) -> None:
    with target.report.check("key set holds public keys that can be told apart, RSA among them"):
        response = target.http.get(target.url("jwks_uri"))
        expect_status(response, 200)
        keys = body_of(response).get("keys")
        expect(isinstance(keys, list) and keys, "keys is no list, or empty")
        assert isinstance(keys, list)
        expect(not any(_PRIVATE & key.keys() for key in keys), "private parts of keys are published")
        expect(any(key.get("kty") == "RSA" for key in keys), "there is no RSA key")
        names = [key.get("kid") for key in keys]
        expect(len(set(names)) == len(names), "several keys have the same kid, or none")
        try:
            KeySet.import_key_set({"keys": keys})
        except (JoseError, ValueError, KeyError, TypeError) as error:
            expect(False, f"a key is none: {error}")
        target.keys = keys


def _everybody_may_discover(target: Target) -> None:
    for path in (".well-known/smart-configuration", "metadata"):
        with target.report.check(f"{path} can be read by apps of any origin"):
            response = target.fhir(path, Origin=ORIGIN)
            expect_status(response, 200)
            expect_origin(response, ORIGIN)
        with target.report.check(f"{path} has a preflight that allows it"):
            response = target.http.options(
                f"{target.base}/{path}",
                headers={
                    "Origin": ORIGIN,
                    "Access-Control-Request-Method": "GET",
                    "Access-Control-Request-Headers": "accept",
                },
            )
            expect_status(response, 200, 204)
            expect_origin(response, ORIGIN)


def expect_texts(found: dict[str, Any], name: str) -> Iterable[str]:
    """A list of texts, not empty. Raises Failed."""
    value = found.get(name)
    expect(isinstance(value, list) and value, f"{name} is no list, or empty")
    assert isinstance(value, list)
    expect(all(isinstance(one, str) for one in value), f"{name} holds what is no text")
    return value


def is_absolute(value: object) -> bool:
    """An http or https address with a host."""
    if not isinstance(value, str):
        return False
    parts = urlsplit(value)
    return parts.scheme in ("http", "https") and bool(parts.netloc)
