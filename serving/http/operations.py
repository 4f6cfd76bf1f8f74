"""The words of the interface's description (OpenAPI 3.1): what a route says of its parameters, body and answers."""

from __future__ import annotations

import http
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from serving.errors import PROBLEM_JSON
from serving.http.queries import ListenParameters
from serving.http.response_formats import MEDIA_TYPES, Writers

Tree = dict[str, Any]
Answers = dict[int, Tree]

_BINARY: Tree = {"type": "string", "format": "binary"}
_ID_HEADER: Tree = {"X-Request-ID": {"description": "of the request", "schema": {"type": "string"}}}
_RETRY_HEADER: Tree = {"Retry-After": {"description": "seconds to wait", "schema": {"type": "integer"}}}
_REQUEST_HEADERS: list[Tree] = [
    {
        "name": "X-Request-ID",
        "in": "header",
        "description": "a name for the request, which its answer and the log repeat: up to 128 letters, digits, ._:-; "
        "in the place of any other the server makes one",
        "schema": {"type": "string"},
    },
]
_DEADLINE: Tree = {
    "name": "X-Deadline-Seconds",
    "in": "header",
    "description": "after how many seconds the answer is of no use any more",
    "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": 3600},
}


def operation(
    operation_id: str,
    summary: str,
    *,
    answers: Answers,
    parameters: Iterable[Tree] = (),
    body: Tree | None = None,
    open_to_all: bool = False,
) -> Tree:
    """One operation. body: media type -> schema; answers: status -> response."""
    described: Tree = {"operationId": operation_id, "summary": summary}
    described["parameters"] = [*parameters, *_REQUEST_HEADERS]
    if body is not None:
        content = {media_type: {"schema": schema} for media_type, schema in body.items()}
        described["requestBody"] = {"required": True, "content": content}
    described["responses"] = {str(status): answer for status, answer in sorted(answers.items())}
    if open_to_all:
        described["security"] = []
    return described


def listen_parameters(names: Iterable[str] | None = None, formats: Iterable[str] = ()) -> list[Tree]:
    """The parameters of routes that hear, in the query; those of `names` where they are given, and these formats."""
    schemas = _listen_schemas(names, formats)
    return [*(_query_parameter(name, schema) for name, schema in schemas.items()), _DEADLINE]


def path_parameter(name: str, description: str) -> Tree:
    """A part of the path."""
    return {"name": name, "in": "path", "required": True, "description": description, "schema": {"type": "string"}}


def raw_body() -> Tree:
    """The bytes of an audio file; raw samples say what they are in their Content-Type."""
    description = (
        "the bytes of an audio file, of any Content-Type; of audio/L16;rate=16000;channels=1 (big-endian) and "
        "audio/pcm;rate=16000;channels=1 (little-endian) raw 16-bit samples"
    )
    return {"application/octet-stream": _BINARY | {"description": description}}


def form_body(names: Iterable[str] | None = None, formats: Iterable[str] = (), several: bool = False) -> Tree:
    """A form with the recording as `file` (or `audio`), and the parameters as fields."""
    recording = _BINARY | {"description": "the bytes of an audio file"}
    file = {"type": "array", "items": recording, "minItems": 1} if several else recording
    fields = {name: _form_field(name, schema) for name, schema in _listen_schemas(names, formats).items()}
    return {
        "multipart/form-data": {
            "type": "object",
            "properties": {"file": file, **fields},
            "required": ["file"],
        }
    }


def document_answer(model: type[BaseModel], description: str = "OK", status: int = 200) -> Answers:
    """An answer of one document."""
    return {status: _response(description, {"application/json": {"schema": reference(model)}})}


def list_answer(model: type[BaseModel]) -> Answers:
    """An answer of a list of documents."""
    schema = {"type": "array", "items": reference(model)}
    return {200: _response("OK", {"application/json": {"schema": schema}})}


def text_answers(model: type[BaseModel], writers: Writers) -> Answers:
    """An answer that may have several forms."""
    content = {
        media_type: {"schema": {"type": "string"}} for media_type, name in MEDIA_TYPES.items() if name in writers
    }
    return {200: _response("OK", content | {"application/json": {"schema": reference(model)}})}


def plain_answer(media_type: str, description: str = "OK") -> Answers:
    """An answer of text."""
    return {200: _response(description, {media_type: {"schema": {"type": "string"}}})}


def problems(*statuses: int) -> Answers:
    """Refusals."""
    content = {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    answers = {status: _response(http.HTTPStatus(status).phrase, content) for status in statuses}
    for status in set(statuses) & {429, 503}:
        answers[status]["headers"] |= _RETRY_HEADER
    return answers


def reference(model: type[BaseModel]) -> Tree:
    """Where a document is described."""
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _response(description: str, content: Tree) -> Tree:
    return {"description": description, "headers": dict(_ID_HEADER), "content": content}


def _listen_schemas(names: Iterable[str] | None, formats: Iterable[str]) -> dict[str, Tree]:
    properties = ListenParameters.model_json_schema()["properties"]
    schemas = {name: _without_null(properties[name]) for name in (properties if names is None else names)}
    if "response_format" in schemas:
        schemas["response_format"] = schemas["response_format"] | {"enum": list(formats)}
    return schemas


def _without_null(schema: Tree) -> Tree:
    """A parameter is there or not; it has no null."""
    kept = {key: value for key, value in schema.items() if key not in ("anyOf", "title", "default")}
    alternatives = [alternative for alternative in schema.get("anyOf", []) if alternative.get("type") != "null"]
    return (alternatives[0] if alternatives else {}) | kept


def _query_parameter(name: str, schema: Tree) -> Tree:
    described = dict(schema)
    parameter: Tree = {"name": name, "in": "query", "description": described.pop("description")}
    if name == "thresholds":
        return parameter | {"content": {"application/json": {"schema": _threshold_map(described)}}}
    return parameter | {"schema": described}


def _form_field(name: str, schema: Tree) -> Tree:
    return _threshold_map(schema) if name == "thresholds" else schema


def _threshold_map(schema: Tree) -> Tree:
    return schema | {"additionalProperties": {"type": "number", "minimum": 0, "maximum": 1}}
