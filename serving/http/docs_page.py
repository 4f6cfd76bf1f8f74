"""/docs: the interface, to read and to try, without a network. / leads there.

The page is Swagger UI from the files of the package fastapi-offline. Its Content-Security-Policy lets the browser load
nothing from anywhere else, so the starting script is a file of its own, too.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

from serving.errors import RequestError
from serving.http.calls import Answer, Call, Headers, Route

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sound event detection</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = """window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
"""
# Swagger UI's style sheet has pictures inside it; they come from no network.
_POLICY = (
    b"default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    b"frame-ancestors 'none'"
)
_PAGE_HEADERS: Headers = (
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
_FILE_HEADERS: Headers = ((b"cache-control", b"public, max-age=3600"), (b"x-content-type-options", b"nosniff"))
_FILES = {"swagger-ui-bundle.js": b"text/javascript; charset=utf-8", "swagger-ui.css": b"text/css; charset=utf-8"}


async def page(_call: Call) -> Answer:
    """The page."""
    return Answer(_PAGE.encode("utf-8"), b"text/html; charset=utf-8", headers=_PAGE_HEADERS)


async def start_script(_call: Call) -> Answer:
    """What starts the page."""
    return Answer(_START.encode("utf-8"), b"text/javascript; charset=utf-8", headers=_FILE_HEADERS)


async def file(call: Call) -> Answer:
    """A file of Swagger UI."""
    name = call.path.rpartition("/")[2]
    return Answer(_read_file(name), _FILES[name], headers=_FILE_HEADERS)


async def root(_call: Call) -> Answer:
    """The way to the page."""
    return Answer(b"", b"text/plain", status=307, headers=((b"location", b"docs"),))


@lru_cache
def _read_file(name: str) -> bytes:
    # found, not imported: only its files are of use
    package = importlib.util.find_spec("fastapi_offline")
    places = package.submodule_search_locations if package is not None else None
    path = Path(next(iter(places or [""]))) / "static" / name
    if not path.is_file():
        raise RequestError(404, "not_found", "Swagger UI is not installed; pip install fastapi-offline")
    return path.read_bytes()


# None of them stands in the description of the interface.
ROUTES = (
    Route("GET", "/", root, {}, open_to_all=True),
    Route("GET", "/docs", page, {}, open_to_all=True),
    Route("GET", "/docs/start.js", start_script, {}, open_to_all=True),
    *(Route("GET", f"/docs/{name}", file, {}, open_to_all=True) for name in _FILES),
)
