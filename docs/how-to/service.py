#!/usr/bin/env python3
"""A backend service: it proves who it is with a key (ES384) and reads without a person.

    python service.py key nightly.pem > jwks.json
    python service.py read http://127.0.0.1:8080/fhir nightly nightly.pem 'Patient?_count=5'

https://hl7.org/fhir/smart-app-launch/STU2.2/backend-services.html. Needs `pip install httpx joserfc`.
"""

import json
import os
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey

SCOPE = "system/Patient.rs system/Observation.rs"


def make_key(file: Path) -> None:
    """Write a new private key, readable by its owner alone, and print the public one as a JWK set."""
    key = ECKey.generate_key("P-384", private=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
        target.write(key.as_pem(private=True))
    print(json.dumps({"keys": [public(key)]}))


def public(key: ECKey) -> dict[str, Any]:
    return {**key.as_dict(private=False), "kid": key.thumbprint(), "alg": "ES384", "use": "sig"}


def token(base: str, client: str, key: ECKey) -> str:
    """An access token, good for five minutes."""
    known = httpx.get(f"{base}/.well-known/smart-configuration").raise_for_status().json()
    endpoint = known["token_endpoint"]
    header = {"alg": "ES384", "kid": key.thumbprint(), "typ": "JWT"}
    claims = {"iss": client, "sub": client, "aud": endpoint, "jti": str(uuid.uuid4())}
    claims["exp"] = int(time.time()) + 240
    form = {
        "grant_type": "client_credentials",
        "scope": SCOPE,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": jwt.encode(header, claims, key, algorithms=["ES384"]),
    }
    answer = httpx.post(endpoint, data=form)
    if answer.status_code != 200:
        sys.exit(f"no token: {answer.text}")
    return answer.json()["access_token"]


def read(base: str, client: str, file: Path, path: str) -> None:
    key = ECKey.import_key(file.read_bytes())
    headers = {"Authorization": f"Bearer {token(base, client, key)}"}
    print(httpx.get(f"{base}/{path}", headers=headers).raise_for_status().text)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["key", file]:
            make_key(Path(file))
        case ["read", base, client, file, path]:
            read(base, client, Path(file), path)
        case _:
            sys.exit(__doc__)
