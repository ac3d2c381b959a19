"""What docs/how-to/consent.md says, done."""

import re
from pathlib import Path

from tests.howto.pages import Reader, block, blocks
from tests.support.server import process

PAGE = "consent.md"


def test_the_page_is_right(database: str, tmp_path: Path) -> None:
    setting = re.search(r"FHIRSERVER_CONSENT='(.*)'", block(PAGE, "console", "serve"))
    assert setting is not None
    environment = {
        "DATABASE_URL": database,
        "FHIRSERVER_DEVELOPMENT": "true",
        "FHIRSERVER_CONSENT": setting[1],
    }
    code = "\n".join(blocks(PAGE, "sh"))
    with process(environment=environment) as server:
        said = Reader(tmp_path, server, database).type(code)
    statuses = re.findall(r"(?:^|})(\d{3})$", said, re.MULTILINE)
    assert statuses == re.findall(r"^status .*?# (\d{3})", code, re.MULTILINE)
    assert '"name":"anybody","valueString":"anybody else"' in said
    assert '"name":"hidden","valueInteger":1' in said
    assert '"name":"decision","valueCode":"deny"' in said
    assert '"name":"provision","valueString":"Consent.provision"' in said
    assert said.count('"type":"searchset"') == 2
    assert '"name":"until","valueInstant":' in said
    assert '"valueString":"changed my mind"' in said
