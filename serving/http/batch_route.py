"""POST /v1/batch: several recordings in one form, answered in their order; a bad one does not spoil the others.

The request as a whole has one size limit, one deadline and one place at the door; each recording then goes its own way
through the engine, so that they share batches with one another and with everybody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from desed_task.audio.raw_pcm import raw_pcm_of
from serving.errors import RequestError, refusal_of
from serving.http.answers import encode_json, heard_document
from serving.http.asgi import while_connected
from serving.http.calls import Answer, Call, Route
from serving.http.forms import FilePart, read_form
from serving.http.listening import build_request, note_heard, open_door
from serving.http.operations import document_answer, form_body, listen_parameters, operation, problems
from serving.http.queries import ListenQuery, read_deadline, read_query
from serving.http.schemas import BatchAnswer
from serving.inference.recording import Heard, ListenRequest

# Of those that answer in one shape, which leaves out the form of the answer.
_PARAMETERS = ("model", "threshold", "thresholds", "labels", "top_k", "min_duration", "frames", "strict")


async def batch(call: Call) -> Answer:
    """What happens when in each of several recordings."""
    query, deadline = read_query(call), read_deadline(call)
    with open_door(call, query) as ticket, ExitStack() as opened:
        form = await read_form(call, ticket, call.services.settings.max_batch_files, opened)
        if not form.files:
            raise RequestError(422, "file_missing", "the form holds no recording; send each as `file`")
        query = read_query(call, form.fields)
        if query.parameters.response_format not in (None, "json"):
            raise RequestError(406, "not_acceptable", "a batch is answered as json")
        request = build_request(call, query, None, deadline, ticket)
        hearings = asyncio.gather(*(_hear(call, part, request) for part in form.files))
        heard = await while_connected(call, _all(hearings))
    results = [_result(call, query, part, one) for part, one in zip(form.files, heard, strict=True)]
    return Answer(_pieces(call.id, results))


def _pieces(request_id: str, results: list[dict[str, Any]]) -> Iterator[bytes]:
    """The answer, a recording at a time: the events of all of them in one go would hold every thread up."""
    yield b'{"id":' + encode_json(request_id) + b',"results":['
    for number, result in enumerate(results):
        yield (b"," if number else b"") + encode_json(result)
    yield b"]}"


async def _all(hearings: asyncio.Future[list[Heard | Exception]]) -> list[Heard | Exception]:
    return await hearings


async def _hear(call: Call, part: FilePart, request: ListenRequest) -> Heard | Exception:
    """What is heard in one recording, or why nothing is."""
    try:
        raw = raw_pcm_of(part.content_type)
        return await call.services.engine.listen(part.upload.body(), replace(request, raw=raw))
    except Exception as error:
        return error


def _result(call: Call, query: ListenQuery, part: FilePart, heard: Heard | Exception) -> dict[str, Any]:
    if isinstance(heard, Exception):
        refusal = refusal_of(heard, call.method, call.path, call.id)
        return {"file_name": part.name, "status": refusal.status, "problem": refusal.document}
    note_heard(call, heard)
    top_k = query.parameters.top_k or call.services.settings.top_k
    return {"file_name": part.name, "status": 200, "answer": heard_document(call.id, heard, top_k)}


ROUTES = (
    Route(
        "POST",
        "/v1/batch",
        batch,
        operation(
            "batch",
            "What happens when in each of several recordings.",
            parameters=listen_parameters(_PARAMETERS),
            body=form_body(_PARAMETERS, several=True),
            answers=document_answer(BatchAnswer) | problems(400, 401, 404, 406, 408, 413, 415, 422, 429, 500, 503, 504),
        ),
    ),
)
