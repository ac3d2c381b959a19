"""A small SMART on FHIR server that does everything right, or one thing wrong on purpose.

It shares nothing with the server of this project but the specifications, and lives in memory behind
httpx's mock transport. `Model("plain")` has the fault of that name; `FAULTS` says what each does.
"""

import hashlib
import hmac
import json
import secrets
import time
from base64 import b64decode, urlsafe_b64encode
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

import httpx
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from fhirserver.cli.smart.discovery import OAUTH_URIS, PATIENT_APP, PRACTITIONER_APP

HOST = "http://127.0.0.1"
BASE = f"{HOST}/fhir"
REDIRECT = "https://app.example/callback"
LOGIN, PASSWORD = "ann", "correct horse battery"
PUBLIC, SECRET, KEYED = "public-app", "secret-app", "keyed-app"
THE_SECRET = "s3cr3t of the app"
CLIENT_KEY = ECKey.generate_key("P-384", {"kid": "client-key"})
SERVER_KEY = RSAKey.generate_key(2048, {"kid": "server-key"})
OTHER_KEY = RSAKey.generate_key(2048, {"kid": "server-key"})
VITAL = {
    "coding": [
        {"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}
    ]
}
LABORATORY = {"coding": [{"system": VITAL["coding"][0]["system"], "code": "laboratory"}]}
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Refusal(Exception):
    """An OAuth error with its status."""

    def __init__(self, error: str, status: int = 400) -> None:
        self.error, self.status = error, status


class Model:
    """Called with a request; `fault` is what it does wrong."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.codes: dict[str, dict[str, Any]] = {}
        self.grants: dict[str, dict[str, Any]] = {}
        self.access: dict[str, tuple[str, list[str]]] = {}
        self.refresh: dict[str, str] = {}
        self.used: set[str] = set()
        self.sessions: set[str] = set()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if request.method == "OPTIONS":
            return self._preflight(request)
        try:
            response = self._routed(request, path)
        except Refusal as refusal:
            headers = {"Cache-Control": "no-store"} if self.fault != "errors are stored" else {}
            if refusal.status == 401:
                headers["WWW-Authenticate"] = "Basic"
            response = httpx.Response(refusal.status, json={"error": refusal.error}, headers=headers)
        if "origin" in request.headers and self.fault != "no CORS":
            response.headers["Access-Control-Allow-Origin"] = "*"
        return response

    def _routed(self, request: httpx.Request, path: str) -> httpx.Response:
        form = {name: values[0] for name, values in parse_qs(request.content.decode(), True).items()}
        query = dict(request.url.params)
        match request.method, path:
            case "GET", "/fhir/.well-known/smart-configuration":
                return self._document(request, self.configuration())
            case "GET", "/fhir/.well-known/openid-configuration":
                return httpx.Response(200, json=self.openid())
            case "GET", "/fhir/metadata":
                return httpx.Response(200, json=self.statement())
            case "GET", "/auth/jwks":
                return httpx.Response(200, json=self.key_set())
            case "GET", "/auth/authorize":
                return self.authorize(request, query)
            case "POST", "/auth/authorize":
                return self.authorize(request, form)
            case "POST", "/auth/sign-in":
                return self.sign_in(form)
            case "POST", "/auth/consent":
                return self.consent(request, parse_qs(request.content.decode(), True))
            case "POST", "/auth/token":
                return self.token(request, form)
            case "POST", "/auth/introspect":
                return self.introspect(request, form)
            case "POST", "/auth/revoke":
                return self.revoke(request, form)
            case "GET", _ if path.startswith("/fhir/"):
                return self.data(request, path.removeprefix("/fhir/"))
        return httpx.Response(405 if path.startswith("/auth/") else 404)

    # -- documents

    def configuration(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "issuer": BASE,
            "jwks_uri": f"{HOST}/auth/jwks",
            "authorization_endpoint": f"{HOST}/auth/authorize",
            "token_endpoint": f"{HOST}/auth/token",
            "introspection_endpoint": f"{HOST}/auth/introspect",
            "revocation_endpoint": f"{HOST}/auth/revoke",
            "registration_endpoint": f"{HOST}/auth/register",
            "management_endpoint": f"{HOST}/auth/apps",
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
            "grant_types_supported": ["authorization_code", "client_credentials"],
            "scopes_supported": ["openid", "patient/*.rs"],
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "capabilities": sorted(PATIENT_APP | PRACTITIONER_APP),
        }
        match self.fault:
            case "plain":
                found["code_challenge_methods_supported"].append("plain")
            case "relative addresses":
                found["token_endpoint"] = "/auth/token"
            case "a field of another type":
                found["capabilities"] = "launch-ehr"
            case "a capability is missing":
                found["capabilities"].remove("permission-v2")
            case "no issuer":
                del found["issuer"]
            case "one algorithm":
                found["token_endpoint_auth_signing_alg_values_supported"] = ["RS384"]
            case "no openid scope":
                found["scopes_supported"] = ["patient/*.rs"]
        return found

    def _document(self, request: httpx.Request, found: dict[str, Any]) -> httpx.Response:
        if self.fault == "HTML for browsers" and "html" in request.headers["accept"]:
            return httpx.Response(200, html="<p>configuration</p>")
        return httpx.Response(200, json=found)

    def statement(self) -> dict[str, Any]:
        addresses = {
            "authorize": f"{HOST}/auth/authorize",
            "token": f"{HOST}/auth/token" if self.fault != "two token addresses" else f"{HOST}/token",
            "introspect": f"{HOST}/auth/introspect",
            "revoke": f"{HOST}/auth/revoke",
            "register": f"{HOST}/auth/register",
            "manage": f"{HOST}/auth/apps",
        }
        extension = [{"url": name, "valueUri": uri} for name, uri in addresses.items()]
        security: dict[str, Any] = {"extension": [{"url": OAUTH_URIS, "extension": extension}]}
        if self.fault != "no security service":
            security["service"] = [{"coding": [{"code": "SMART-on-FHIR"}]}]
        return {"resourceType": "CapabilityStatement", "rest": [{"mode": "server", "security": security}]}

    def openid(self) -> dict[str, Any]:
        found = self.configuration() | {
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }
        if self.fault == "no subject types":
            del found["subject_types_supported"]
        if self.fault == "openid disagrees":
            found["jwks_uri"] = f"{HOST}/auth/other"
        return found

    def key_set(self) -> dict[str, Any]:
        if self.fault == "no RSA key":
            return {"keys": [ECKey.generate_key("P-256", {"kid": "ec"}).as_dict(private=False)]}
        return {"keys": [SERVER_KEY.as_dict(private=self.fault == "private keys are published")]}

    def _preflight(self, request: httpx.Request) -> httpx.Response:
        if self.fault in ("no preflight", "no CORS"):
            return httpx.Response(405)
        headers = {"Access-Control-Allow-Origin": request.headers["origin"]}
        return httpx.Response(204, headers=headers)

    # -- authorization

    def authorize(self, request: httpx.Request, given: dict[str, str]) -> httpx.Response:
        client, uri = given.get("client_id"), given.get("redirect_uri", "")
        known = client in (PUBLIC, SECRET, KEYED)
        exact = uri == REDIRECT or (self.fault == "redirect_uri by prefix" and uri.startswith(REDIRECT))
        if not known or not exact:
            if self.fault == "unknown clients are redirected":
                return httpx.Response(302, headers={"Location": f"{uri}?error=unauthorized_client"})
            return httpx.Response(400, html="<p>This app is not known here.</p>")
        method = given.get("code_challenge_method")
        unproven = method != "S256" and self.fault not in ("no PKCE", "plain PKCE")
        for error, wrong in (
            ("unsupported_response_type", given.get("response_type") != "code"),
            ("invalid_request", not given.get("code_challenge") and self.fault != "no PKCE"),
            ("invalid_request", unproven),
            ("invalid_request", given.get("aud") != BASE and self.fault != "any aud"),
        ):
            if wrong:
                return self._back(given, error=error)
        cookie = request.headers.get("cookie", "")
        if not any(f"session={one}" in cookie for one in self.sessions):
            hidden = f'<input type="hidden" name="next" value="{quote(json.dumps(given))}">'
            return httpx.Response(
                200,
                html=f"""<form method="get" action="/search"><input name="q"><button>Search</button></form>
                <form method="post" action="/auth/sign-in">{hidden}<input name="login" type="text">
                <input name="password" type="password"><button>Sign in</button>
                <a href="/forgot">Forgot</a></form>""",
            )
        return self._asked(given)

    def _asked(self, given: dict[str, str]) -> httpx.Response:
        boxes = ""
        for scope in given["scope"].split():
            boxes += f'<label><input type="checkbox" name="scope" value="{scope}" checked>{scope}</label>'
            if "Observation.rs" in scope or "Condition.rs" in scope:
                boxes += f'<input type="checkbox" name="scope" value="{scope}?category=x">'
        return httpx.Response(
            200,
            html=f"""<form method="post" action="consent"><input type="hidden" name="given"
            value="{quote(json.dumps(given))}">{boxes}<select name="patient"><option value="p1">Peter</option>
            <option value="p2">Paula</option></select><button name="answer" value="deny">Deny</button>
            <button name="answer" value="allow">Allow</button></form>""",
        )

    def sign_in(self, form: dict[str, str]) -> httpx.Response:
        given = json.loads(unquote(form["next"]))
        if (form["login"], form["password"]) != (LOGIN, PASSWORD):
            return httpx.Response(303, headers={"Location": f"/auth/authorize?{urlencode(given)}"})
        session = secrets.token_urlsafe()
        self.sessions.add(session)
        headers = {"Location": f"/auth/authorize?{urlencode(given)}", "Set-Cookie": f"session={session}"}
        return httpx.Response(303, headers=headers)

    def consent(self, request: httpx.Request, form: dict[str, list[str]]) -> httpx.Response:
        given = json.loads(unquote(form["given"][0]))
        if form["answer"] != ["allow"]:
            return self._back(given, error="access_denied")
        scopes = form.get("scope", [])
        if self.fault == "all scopes are granted":
            scopes = given["scope"].split()
        if self.fault == "narrowing does nothing":
            scopes = [scope for scope in scopes if not scope.endswith("category=x")]
            scopes += ["patient/Observation.rs"]
        if self.fault == "granular scopes are widened":
            scopes = [scope.partition("?")[0] for scope in scopes]
        number = secrets.token_urlsafe()
        self.grants[number] = {
            "client": given["client_id"],
            "scopes": scopes,
            "patient": form["patient"][0],
            "nonce": given.get("nonce"),
            "live": True,
        }
        code = secrets.token_urlsafe()
        self.codes[code] = {"grant": number, "challenge": given.get("code_challenge", ""), "used": False}
        return self._back(given, code=code)

    def _back(self, given: dict[str, str], **sent: str) -> httpx.Response:
        if self.fault != "no state":
            sent["state"] = given.get("state", "")
        sent["iss"] = BASE if self.fault != "another iss" else f"{BASE}/other"
        return httpx.Response(302, headers={"Location": f"{given['redirect_uri']}?{urlencode(sent)}"})

    # -- clients and tokens

    def client(self, request: httpx.Request, form: dict[str, str]) -> str:
        """Who asks. Raises Refusal."""
        if form.get("client_assertion"):
            return self._asserted(form)
        authorization = request.headers.get("authorization", "")
        if authorization.startswith("Basic "):
            id_, _, secret = b64decode(authorization[6:]).decode().partition(":")
            if self.fault == "any secret" or (unquote(id_), unquote(secret)) == (SECRET, THE_SECRET):
                return SECRET
            raise Refusal("invalid_client", 401)
        if form.get("client_id") == PUBLIC or self.fault == "any client":
            return PUBLIC
        raise Refusal("invalid_client", 401)

    def _asserted(self, form: dict[str, str]) -> str:
        if form.get("client_assertion_type") != ASSERTION and self.fault != "any assertion type":
            raise Refusal("invalid_client", 400)
        text = form["client_assertion"]
        try:
            header = jws.extract_compact(text.encode()).headers()
            unverified = json.loads(jws.extract_compact(text.encode()).payload)
            key: Any = CLIENT_KEY
            if self.fault == "embedded keys" and "jwk" in header:
                key = ECKey.import_key(header["jwk"])
            if header.get("kid") != CLIENT_KEY.kid and self.fault != "any kid":
                raise Refusal("invalid_client", 401)
            unsigned = self.fault == "unsigned assertions" and header["alg"] == "none"
            if unsigned or self.fault == "signatures are not verified":
                claims = unverified
            else:
                claims = jwt.decode(text, key, algorithms=["ES384"]).claims
        except (JoseError, ValueError):
            raise Refusal("invalid_client", 401) from None
        now = time.time()
        faults = {
            "any sub": claims.get("sub") == KEYED,
            "any audience": claims.get("aud") == f"{HOST}/auth/token",
            "old assertions": claims.get("exp", now + 1) > now,
            "far expiry": claims.get("exp", 0) < now + 400,
            "no expiry": "exp" in claims,
            "future assertions": claims.get("iat", 0) < now + 60,
            "no jti": "jti" in claims,
            "jti again": claims.get("jti") not in self.used,
        }
        if any(not holds for fault, holds in faults.items() if fault != self.fault):
            raise Refusal("invalid_client", 401)
        self.used.add(claims.get("jti", ""))
        return KEYED

    def token(self, request: httpx.Request, form: dict[str, str]) -> httpx.Response:
        client = self.client(request, form)
        match form.get("grant_type"):
            case "authorization_code":
                number = self._redeemed(client, form)
                body = self._issued(number, self.grants[number]["scopes"])
            case "refresh_token":
                body = self._refreshed(client, form)
            case "client_credentials":
                body = self._backend(client, form)
            case "password" if self.fault == "passwords":
                body = {"access_token": "x", "token_type": "Bearer", "expires_in": 1, "scope": "x"}
            case _ if self.fault == "any grant type" and client == KEYED:
                body = self._backend(client, form)
            case _:
                raise Refusal("unsupported_grant_type")
        headers = {"Cache-Control": "no-store", "Pragma": "no-cache"}
        if self.fault == "tokens are stored":
            headers = {}
        return httpx.Response(200, json=body, headers=headers)

    def _redeemed(self, client: str, form: dict[str, str]) -> str:
        found = self.codes.get(form.get("code", ""))
        if found is None or self.grants[found["grant"]]["client"] != client:
            raise Refusal("invalid_grant")
        if found["used"] and self.fault != "codes again":
            self.grants[found["grant"]]["live"] = False
            raise Refusal("invalid_grant")
        verifier = form.get("code_verifier", "")
        digest = hashlib.sha256(verifier.encode()).digest()
        proof = urlsafe_b64encode(digest).rstrip(b"=").decode()
        proven = hmac.compare_digest(proof, found["challenge"])
        if self.fault == "the challenge is proof":
            proven = proven or verifier == found["challenge"]
        if self.fault == "no verifier":
            proven = proven or not verifier
        if not proven:
            raise Refusal("invalid_grant")
        found["used"] = True
        return found["grant"]

    def _refreshed(self, client: str, form: dict[str, str]) -> dict[str, Any]:
        number = self.refresh.get(form.get("refresh_token", ""))
        if number is None or self.grants[number]["client"] != client or not self.grants[number]["live"]:
            raise Refusal("invalid_grant")
        granted = self.grants[number]["scopes"]
        wanted = form.get("scope", "").split() or granted
        if not set(wanted) <= set(granted) and self.fault != "refresh widens":
            raise Refusal("invalid_scope")
        if form["refresh_token"] in self.used and self.fault != "refresh again":
            self.grants[number]["live"] = False
            raise Refusal("invalid_grant")
        self.used.add(form["refresh_token"])
        return self._issued(number, wanted)

    def _issued(self, number: str, scopes: list[str]) -> dict[str, Any]:
        grant, token = self.grants[number], secrets.token_urlsafe()
        self.access[token] = number, scopes
        body: dict[str, Any] = {
            "access_token": token,
            "token_type": "Bearer" if self.fault != "another token type" else "mac",
            "expires_in": 3600 if self.fault != "expiry as text" else "3600",
            "scope": " ".join(scopes),
            "patient": grant["patient"] if self.fault != "patient as reference" else "Patient/p1",
            "need_patient_banner": True if self.fault != "banner as text" else "true",
            "fhirContext": [{"reference": "Encounter/e1"}],
        }
        if self.fault == "context as text":
            body["fhirContext"] = ["Encounter/e1"]
        if self.fault == "no patient":
            del body["patient"]
        if "offline_access" in scopes:
            body["refresh_token"] = secrets.token_urlsafe()
            self.refresh[body["refresh_token"]] = number
        if "openid" in scopes and self.fault != "no id token":
            body["id_token"] = self._id_token(grant)
        return body

    def _id_token(self, grant: dict[str, Any]) -> str:
        now = int(time.time())
        claims = {
            "iss": BASE if self.fault != "id token of another issuer" else HOST,
            "sub": "ann",
            "aud": grant["client"] if self.fault != "id token for another client" else "other",
            "iat": now,
            "exp": now + 600 if self.fault != "id token is over" else now - 600,
            "nonce": grant["nonce"] if self.fault != "another nonce" else "other",
            "fhirUser": f"{BASE}/Practitioner/ann"
            if self.fault != "relative fhirUser"
            else "Practitioner/ann",
        }
        key = SERVER_KEY if self.fault != "id token by another key" else OTHER_KEY
        return jwt.encode({"alg": "RS256", "kid": "server-key"}, claims, key)

    def _backend(self, client: str, form: dict[str, str]) -> dict[str, Any]:
        scopes = form.get("scope", "").split()
        if client != KEYED:
            raise Refusal("unauthorized_client")
        if not all(scope.startswith("system/") for scope in scopes) and self.fault != "any scope":
            raise Refusal("invalid_scope")
        number, token = secrets.token_urlsafe(), secrets.token_urlsafe()
        self.grants[number] = {"client": client, "scopes": scopes, "live": True}
        self.access[token] = number, scopes
        body = {"access_token": token, "token_type": "bearer", "expires_in": 300, "scope": " ".join(scopes)}
        if self.fault == "no scope in answer":
            del body["scope"]
        return body

    def introspect(self, request: httpx.Request, form: dict[str, str]) -> httpx.Response:
        if self.fault != "anybody introspects" and self.client(request, form) == PUBLIC:
            raise Refusal("invalid_client", 401)
        number, scopes = self.access.get(form["token"], ("", []))
        grant = self.grants.get(number)
        if grant is None or not grant["live"]:
            active = self.fault == "unknown tokens are active"
            return httpx.Response(200, json={"active": active})
        body = {
            "active": True,
            "client_id": grant["client"],
            "scope": " ".join(scopes),
            "exp": int(time.time()) + 100,
        }
        if "patient" in grant:
            body |= {
                "patient": grant["patient"],
                "iss": BASE,
                "sub": "ann",
                "fhirUser": f"{BASE}/Practitioner/ann",
            }
        if self.fault == "introspection forgets":
            del body["scope"]
        return httpx.Response(200, json=body)

    def revoke(self, request: httpx.Request, form: dict[str, str]) -> httpx.Response:
        self.client(request, form)
        number, _ = self.access.get(form["token"], ("", []))
        if number and self.fault != "revocation does nothing":
            self.grants[number]["live"] = False
        return httpx.Response(200)

    # -- data

    def data(self, request: httpx.Request, path: str) -> httpx.Response:
        type_, _, id_ = path.partition("/")
        _, _, token = request.headers.get("authorization", "").partition(" ")
        number, scopes = self.access.get(token, ("", []))
        if not number or not self.grants[number]["live"]:
            if self.fault == "data for nobody":
                return httpx.Response(200, json={"resourceType": type_})
            headers = {"WWW-Authenticate": "Bearer"} if self.fault != "no challenge" else {}
            return httpx.Response(401, headers=headers)
        rows = [scope for scope in scopes if "/" in scope]
        fits = [scope for scope in rows if f"/{type_}." in scope or "/*." in scope]
        mine = "fhirUser" in scopes and type_ == "Practitioner" and id_
        if not fits and not mine and self.fault != "scopes are ignored":
            return httpx.Response(403)
        if id_:
            return httpx.Response(200, json={"resourceType": type_, "id": id_})
        shown = [("1", VITAL)]
        if self.fault == "granular scopes are ignored" or any("?" not in scope for scope in fits):
            shown.append(("2", LABORATORY))
        resources = [{"resourceType": type_, "id": one, "category": [kind]} for one, kind in shown]
        return httpx.Response(
            200, json={"resourceType": "Bundle", "entry": [{"resource": one} for one in resources]}
        )


def origin() -> str:
    """Of the apps."""
    parts = urlsplit(REDIRECT)
    return f"{parts.scheme}://{parts.netloc}"
