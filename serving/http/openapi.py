"""The description of the interface (OpenAPI 3.1), from the routes themselves.

python -m serving.http.openapi --output docs/openapi.json

writes the file of the repository. What would break a client of the older file is refused; inside /v1 things are only
added (`compatibility` says what breaks). --breaking writes it all the same, for a new major version.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from desed_task.command_line import RecipeParser, run_recipe, show
from desed_task.errors import DesedTaskError
from serving.http import batch_route, compat_routes, docs_page, model_routes, probe_routes, routes
from serving.http.calls import Answer, Call, Route
from serving.http.compatibility import breaking_changes
from serving.http.schemas import COMPONENTS

API_VERSION = "1.0.0"

_DESCRIPTION = """Post a recording, get timestamped events and clip tags.

Recordings may be WAV, FLAC, Ogg (Vorbis, Opus), MP3, AIFF, M4A, AAC or WebM, of any length up to the server's limit.
Times are seconds on the recording's own clock, scores are in [0, 1]. Every refusal is a problem document (RFC 9457).
"""
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "an API key, where the server asks for one"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


async def document(_call: Call) -> Answer:
    """The description of the interface."""
    return Answer(openapi_text().encode("utf-8"))


ROUTES: tuple[Route, ...] = (
    *routes.ROUTES,
    *batch_route.ROUTES,
    *compat_routes.ROUTES,
    *model_routes.ROUTES,
    *probe_routes.ROUTES,
    *docs_page.ROUTES,
    Route("GET", "/openapi.json", document, {}, open_to_all=True),
)


def build_openapi(all_routes: Sequence[Route] = ROUTES) -> dict[str, Any]:
    """The description of the routes that have one."""
    paths: dict[str, Any] = {}
    for route in all_routes:
        if route.operation:
            paths.setdefault(route.path, {})[route.method.lower()] = route.operation
    _, schemas = models_json_schema(
        [(model, "serialization") for model in COMPONENTS], ref_template="#/components/schemas/{model}"
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Sound event detection", "version": API_VERSION, "description": _DESCRIPTION},
        "paths": paths,
        "components": {"schemas": schemas["$defs"], "securitySchemes": _SECURITY},
        "security": [{}, *({name: []} for name in _SECURITY)],
    }


@lru_cache
def openapi_text() -> str:
    """The description as it stands in the file."""
    return json.dumps(build_openapi(), indent=2, ensure_ascii=False) + "\n"


def write_openapi(argv: Sequence[str]) -> int:
    """Write the file; 2 when it would break clients of the one that is there."""
    parser = RecipeParser(prog="python -m serving.http.openapi", description="Write the description of the interface.")
    parser.add_argument("--output", type=Path, required=True, help="file to write, such as docs/openapi.json")
    parser.add_argument("--breaking", action="store_true", help="write it though clients of the older file break")
    arguments = parser.parse_args(argv)
    output: Path = arguments.output
    if output.exists() and not arguments.breaking:
        broken = breaking_changes(json.loads(output.read_text(encoding="utf-8")), build_openapi())
        if broken:
            raise DesedTaskError(f"{output}: clients of it would break: {'; '.join(broken)}; --breaking writes it")
    partial = output.with_name(f"{output.name}.partial")
    partial.write_text(openapi_text(), encoding="utf-8", newline="\n")
    partial.replace(output)
    show(f"{output}: {len(build_openapi()['paths'])} paths")
    return 0


if __name__ == "__main__":
    run_recipe(write_openapi)
