"""Routes in the shape of other services, so that their clients work unchanged.

    POST /hf/audio-classification   Hugging Face: the bytes of a file, or JSON {inputs: base64, parameters}; answers
                                    [{label, score}], the highest score first
    POST /v1/audio/events           OpenAI's transcriptions: a form with `file`, `model`, `response_format` (json,
                                    verbose_json, text, srt, vtt); events in the place of words

The model's scores are those of independent classes, which is what `sigmoid` means there; softmax and logits are made
from them. Fields of transcriptions that mean nothing here (language, prompt, temperature ...) are taken and not used.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import math

from pydantic import ValidationError

from serving.answers import json_answer
from serving.bodies import Upload, read_body
from serving.calls import Answer, Call, Route
from serving.errors import bad_parameters
from serving.listening import Reply, answer_recording, build_request, hear, hear_call, open_door
from serving.operations import (
    form_body,
    list_answer,
    listen_parameters,
    operation,
    problems,
    raw_body,
    reference,
    text_answers,
)
from serving.queries import read_deadline, read_query
from serving.response_formats import EVENT_FORMATS, Said, Writers, events_text
from serving.schemas import AudioEvents, ClassificationParameters, ClassificationRequest, LabelScore

_HF_TOP_K = 5
# Of probabilities, whose logits are finite.
_LOWEST = 1e-7
_IGNORED_FIELDS = (
    *("language", "prompt", "temperature", "timestamp_granularities[]", "timestamp_granularities", "stream"),
    *("include[]", "chunking_strategy"),
)
_REFUSALS = problems(400, 401, 404, 406, 408, 413, 415, 422, 429, 500, 503, 504)


async def classify(call: Call) -> Answer:
    """The classes of a recording, as Hugging Face lists them."""
    content_type = call.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if content_type == b"application/json":
        parameters, reply = await _hear_json(call)
    else:
        parameters, reply = ClassificationParameters(), await hear_call(call)
    top_k = parameters.top_k or reply.query.parameters.top_k or _HF_TOP_K
    scores = _applied(reply.heard.detections.tags, parameters.function_to_apply or "sigmoid")
    return json_answer([{"label": label, "score": score} for label, score in scores[:top_k]])


async def _hear_json(call: Call) -> tuple[ClassificationParameters, Reply]:
    query, deadline = read_query(call), read_deadline(call)
    with open_door(call, query) as ticket, Upload() as upload:
        body = await read_body(call, upload, ticket)
        # Of a large body it takes a while in which nobody else would be answered.
        request, audio = await asyncio.to_thread(_read_request, body if isinstance(body, bytes) else body.read())
        heard = await hear(call, audio, build_request(call, query, None, deadline, ticket))
    return request.parameters or ClassificationParameters(), Reply(query, heard, "audio")


def _read_request(body: bytes) -> tuple[ClassificationRequest, bytes]:
    try:
        request = ClassificationRequest.model_validate_json(body, strict=True)
    except ValidationError as error:
        faults = [(".".join(map(str, fault["loc"])) or "body", str(fault["msg"])) for fault in error.errors()]
        raise bad_parameters(faults) from None
    try:
        return request, base64.b64decode(request.inputs, validate=True)
    except (binascii.Error, ValueError):
        raise bad_parameters([("inputs", "not base64; send the bytes of an audio file in it")]) from None


def _applied(tags: tuple[tuple[str, float], ...], function: str) -> list[tuple[str, float]]:
    if function == "sigmoid":
        return list(tags)
    logits = [(label, _logit(score)) for label, score in tags]
    if function == "none":
        return logits
    total = sum(math.exp(logit) for _, logit in logits)
    return [(label, math.exp(logit) / total) for label, logit in logits]


def _logit(score: float) -> float:
    probability = min(max(score, _LOWEST), 1.0 - _LOWEST)
    return math.log(probability / (1.0 - probability))


async def audio_events(call: Call) -> Answer:
    """The events of a recording, in the shape of a transcription."""
    return await answer_recording(call, TRANSCRIPT_FORMATS, form_only=True, ignored_fields=_IGNORED_FIELDS)


def _transcript(said: Said) -> Answer:
    return json_answer({"text": _lines(said)})


def _verbose_transcript(said: Said) -> Answer:
    detections = said.heard.detections
    segments = [
        {"id": number, "start": event.onset, "end": event.offset, "text": event.event_label, "score": event.score}
        for number, event in enumerate(detections.events)
    ]
    document = {
        "text": _lines(said),
        "task": "events",
        "duration": said.heard.audio.duration,
        "segments": segments,
        "tags": [{"label": label, "score": score} for label, score in said.tags],
    }
    return json_answer(document)


def _lines(said: Said) -> str:
    return events_text(said.heard.detections.events).rstrip("\n")


TRANSCRIPT_FORMATS: Writers = {
    "json": _transcript,
    "verbose_json": _verbose_transcript,
    **{name: EVENT_FORMATS[name] for name in ("text", "srt", "vtt")},
}
_TRANSCRIPT_PARAMETERS = (
    "model",
    "threshold",
    "thresholds",
    "labels",
    "top_k",
    "min_duration",
    "strict",
    "response_format",
)
_HF_PARAMETERS = ("model", "labels", "top_k", "strict")

ROUTES = (
    Route(
        "POST",
        "/hf/audio-classification",
        classify,
        operation(
            "classify",
            "The classes of a recording, as Hugging Face's audio classification lists them.",
            parameters=listen_parameters(_HF_PARAMETERS),
            body=raw_body() | {"application/json": reference(ClassificationRequest)} | form_body(_HF_PARAMETERS),
            answers=list_answer(LabelScore) | _REFUSALS,
        ),
    ),
    Route(
        "POST",
        "/v1/audio/events",
        audio_events,
        operation(
            "audioEvents",
            "The events of a recording, in the shape of OpenAI's transcriptions.",
            parameters=listen_parameters(_TRANSCRIPT_PARAMETERS, TRANSCRIPT_FORMATS),
            body=form_body(_TRANSCRIPT_PARAMETERS, TRANSCRIPT_FORMATS),
            answers=text_answers(AudioEvents, TRANSCRIPT_FORMATS) | _REFUSALS,
        ),
    ),
)
