"""How a route hears: the same steps, in the same order, for every recording that comes in over HTTP.

What can be refused without the body is refused before it is read: parameters, quota, size, room, model; what a form
says, before its recording is heard. Then the engine hears it while the client is still there, and the key pays for the
audio.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from desed_task.audio.raw_pcm import RawPcm, raw_pcm_of
from serving.http.asgi import while_connected
from serving.http.bodies import Body, Upload, read_body, require_size
from serving.http.calls import Answer, Call
from serving.http.forms import is_form, only_file, read_form
from serving.http.queries import ListenQuery, Pairs, deadline_of, read_deadline, read_query
from serving.http.response_formats import Said, Writers, choose_format
from serving.inference.recording import Heard, ListenRequest

if TYPE_CHECKING:
    from serving.inference.admission import Ticket


class Reply(NamedTuple):
    """What is answered to one request. file_name: of the recording, `audio` without one."""

    query: ListenQuery
    heard: Heard
    file_name: str


def _as_they_are(fields: Pairs) -> Pairs:
    return fields


def _nothing(_query: ListenQuery) -> None:
    pass


async def answer_recording(
    call: Call, writers: Writers, form_only: bool = False, read_fields: Callable[[Pairs], Pairs] = _as_they_are
) -> Answer:
    """Hear the recording of a call and write what was heard in the form that is asked for."""

    def writer_of(query: ListenQuery) -> Callable[[Said], Answer]:
        return choose_format(query.parameters.response_format, call.headers.get(b"accept"), writers)

    reply = await hear_call(call, form_only, read_fields, writer_of)
    parameters = reply.query.parameters
    top_k = parameters.top_k or call.services.settings.top_k
    return writer_of(reply.query)(Said(call.id, reply.file_name, reply.heard, top_k, parameters.threshold))


async def hear_call(
    call: Call,
    form_only: bool = False,
    read_fields: Callable[[Pairs], Pairs] = _as_they_are,
    require: Callable[[ListenQuery], object] = _nothing,
) -> Reply:
    """Hear the recording that is the body of a call, or the one of its form.

    form_only: a body that is no form is refused; read_fields: what the fields of a form are to us; require: raises what
    a query is refused with, before anything is heard.
    """
    if form_only or is_form(call):
        return await _hear_form(call, read_fields, require)
    query, deadline = read_query(call), read_deadline(call)
    require(query)
    raw = raw_pcm_of(call.header(b"content-type"))
    with open_door(call, query, raw) as ticket, Upload() as upload:
        body = await read_body(call, upload, ticket)
        heard = await hear(call, body, build_request(call, query, raw, deadline, ticket))
    return Reply(query, heard, "audio")


async def _hear_form(
    call: Call, read_fields: Callable[[Pairs], Pairs], require: Callable[[ListenQuery], object]
) -> Reply:
    query, deadline = read_query(call), read_deadline(call)
    with open_door(call, query) as ticket, ExitStack() as opened:
        form = await read_form(call, ticket, 1, opened)
        part = only_file(form)
        query = read_query(call, read_fields(form.fields))
        require(query)
        raw = raw_pcm_of(part.content_type)
        heard = await hear(call, part.upload.body(), build_request(call, query, raw, deadline, ticket))
    return Reply(query, heard, part.name)


async def hear(call: Call, body: Body, request: ListenRequest) -> Heard:
    """What the engine hears; it stops when the client leaves, and the key pays when it does not."""
    heard = await while_connected(call, call.services.engine.listen(body, request))
    note_heard(call, heard)
    return heard


def open_door(call: Call, query: ListenQuery, raw: RawPcm | None = None) -> Ticket:
    """Everything that is refused before the body is read; the ticket has to be given back."""
    services, claimed = call.services, call.claimed_bytes
    seconds = raw.seconds(claimed) if raw is not None and claimed is not None else None
    services.quotas.require(call.key, seconds)
    require_size(call)
    model = services.engine.model(query.parameters.model)
    query.options_for(model.bundle.labels)
    return services.engine.admit(claimed, seconds)


def build_request(
    call: Call, query: ListenQuery, raw: RawPcm | None, deadline: float | None, ticket: Ticket
) -> ListenRequest:
    """What the engine is asked of one recording."""
    parameters = query.parameters
    model = call.services.engine.model(parameters.model)
    return ListenRequest(
        model=parameters.model,
        options=query.options_for(model.bundle.labels),
        raw=raw,
        strict=parameters.strict,
        deadline=deadline_of(call, deadline),
        ticket=ticket,
    )


def note_heard(call: Call, heard: Heard) -> None:
    """The key pays for the audio, and the log will tell of it."""
    call.services.quotas.spend(call.key, heard.audio.duration)
    call.audio_seconds += heard.audio.duration
    call.container = heard.audio.format
    call.timing = heard.timing
