"""POST /v1/events and POST /v1/tags: one recording in, what it holds out."""

from __future__ import annotations

from serving.http.calls import Answer, Call, Route
from serving.http.listening import answer_recording
from serving.http.operations import form_body, listen_parameters, operation, problems, raw_body, text_answers
from serving.http.response_formats import EVENT_FORMATS, TAG_FORMATS
from serving.http.schemas import EventsAnswer, TagsAnswer

_REFUSALS = problems(400, 401, 404, 406, 408, 413, 415, 422, 429, 500, 503, 504)


async def events(call: Call) -> Answer:
    """What happens when in a recording, and which classes it holds."""
    return await answer_recording(call, EVENT_FORMATS)


async def tags(call: Call) -> Answer:
    """Which classes a recording holds."""
    return await answer_recording(call, TAG_FORMATS)


ROUTES = (
    Route(
        "POST",
        "/v1/events",
        events,
        operation(
            "events",
            "What happens when in a recording, and which classes it holds.",
            parameters=listen_parameters(formats=EVENT_FORMATS),
            body=raw_body() | form_body(formats=EVENT_FORMATS),
            answers=text_answers(EventsAnswer, EVENT_FORMATS) | _REFUSALS,
        ),
    ),
    Route(
        "POST",
        "/v1/tags",
        tags,
        operation(
            "tags",
            "Which classes a recording holds.",
            parameters=listen_parameters(formats=TAG_FORMATS),
            body=raw_body() | form_body(formats=TAG_FORMATS),
            answers=text_answers(TagsAnswer, TAG_FORMATS) | _REFUSALS,
        ),
    ),
)
