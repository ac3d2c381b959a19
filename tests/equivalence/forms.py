"""The forms of search that a run is to have asked for, so that none is left out without anybody noticing."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from tests.equivalence.draw import Request

_CODE = r"[a-z_][A-Za-z-]*"
FORMS: Final = {
    name: re.compile(pattern)
    for name, pattern in {
        "_filter": r"[?&]_filter=",
        "_filter along references": rf"[?&]_filter=[^&]*\b{_CODE}(:[A-Z][a-zA-Z]+)?\.{_CODE} ",
        "_filter of value sets": r"[?&]_filter=[^&]* in (urn:vs|ValueSet)",
        "_list": r"[?&]_list=[^$]",
        "_list of current": r"[?&]_list=\$current",
        "_list of versions": r"/_history\?[^ ]*_list=",
        "_text": r"[?&]_text=",
        "_content": r"[?&]_content=",
        "_contained": r"[?&]_contained=(true|both)",
        "_containedType": r"[?&]_containedType=contained",
        ":in": rf"[?&.]{_CODE}:in=",
        ":not-in": rf"[?&.]{_CODE}:not-in=",
        ":above or :below": rf"[?&.]{_CODE}:(above|below)=",
        ":of-type": r":of-type=",
        ":text": rf"[?&.]{_CODE}:text=",
        "chain": rf"[?&]{_CODE}:[A-Z][A-Za-z]+\.",
        "chain without type": rf"[?&]{_CODE}\.{_CODE}",
        "chain over canonical URLs": r"[?&]questionnaire(:Questionnaire)?\.",
        "_has": r"[?&._]_?has:",
        "in a chain: _has": rf"[?&]{_CODE}(:[A-Z][A-Za-z]+)?\._has:",
        ":iterate": r"include:iterate=",
        "_include=*": r"_include(:iterate)?=\*",
        "_include=Type:*": r"_include(:iterate)?=[A-Z][A-Za-z]+:\*",
        "_revinclude=*": r"_revinclude(:iterate)?=\*",
        "_sort by chain": rf"[?&]_sort=[^&]*{_CODE}(:[A-Z][A-Za-z]+)?\.",
        "$docref": r"/\$docref\?",
        "Patient/[id]/$everything": r"/Patient/[^/]+/\$everything",
        "Encounter/[id]/$everything": r"/Encounter/[^/]+/\$everything",
        "Patient/$everything": r"/Patient/\$everything",
        "$timeline": r"/\$timeline",
        "_asOf": r"[?&]_asOf=",
        "_asOf of one": r"^/[A-Z][A-Za-z]+/[^/?$_]+\?_asOf=",
    }.items()
}


def forms(request: Request) -> list[str]:
    """Those that a request has; parameters in a body count as those of an address."""
    form = f"?{request.body.decode()}" if request.target.endswith("/_search") else ""
    text = unquote(request.target + form).replace("+", " ")
    return [name for name, pattern in FORMS.items() if pattern.search(text)]
