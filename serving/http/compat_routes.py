"""Routes in the shape of other services, so that what was written for them needs another address and little more.

    POST /hf/audio-classification   Hugging Face: the bytes of a file, or JSON {inputs: base64, parameters}; answers
                                    [{label, score}], the highest score first
    POST /v1/audio/events           OpenAI's transcriptions: a form with `file`, `model`, `response_format` (json,
                                    verbose_json, text, srt, vtt); events in the place of words

The model's scores are those of independent classes, which is what `sigmoid` means there; softmax and logits are made
from them. Fields of transcriptions that mean nothing here (language, prompt, temperature ...) are taken and not used;
`stream` is refused, since who reads a stream would take the answer for an empty one.
"""

from __future__ import annotations

import asyncio
import binascii
import math

from pydantic import ValidationError

from serving.errors import bad_parameters
from serving.http.answers import json_answer
from serving.http.bodies import Body, Upload, read_body
from serving.http.calls import Answer, Call, Route
from serving.http.listening import Reply, answer_recording, build_request, hear, hear_call, open_door
from serving.http.operations import (
    form_body,
    list_answer,
    listen_parameters,
    operation,
    problems,
    raw_body,
    reference,
    text_answers,
)
from serving.http.queries import Pairs, read_deadline, read_query
from serving.http.response_formats import EVENT_FORMATS, Said, Writers, events_text
from serving.http.schemas import AudioEvents, ClassificationParameters, ClassificationRequest, LabelScore

_HF_TOP_K = 5
# Of probabilities, whose logits are finite.
_LOWEST = 1e-7
# A parser makes many times its bytes of each small value.
_MAX_JSON_VALUES = 1000
# Decoded at a time: all of it with its line breaks and without would be there twice.
_BASE64_SLICE = 1 << 20
# As `include`, `include[]` or `chunking_strategy[type]`.
_IGNORED_FIELDS = (
    *("language", "prompt", "temperature", "timestamp_granularities", "include", "chunking_strategy", "stream"),
    *("known_speaker_names", "known_speaker_references"),
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
        parameters, audio = await asyncio.to_thread(_read_request, body)
        heard = await hear(call, audio, build_request(call, query, None, deadline, ticket))
    return parameters, Reply(query, heard, "audio")


def _read_request(body: Body) -> tuple[ClassificationParameters, bytes]:
    request = _parse(body if isinstance(body, bytes) else body.read())
    try:
        audio = _from_base64(request.inputs)
    except ValueError:
        raise bad_parameters([("inputs", "not base64; send the bytes of an audio file in it")]) from None
    return request.parameters or ClassificationParameters(), audio


def _parse(body: bytes) -> ClassificationRequest:
    # base64 holds none of these
    if sum(body.count(mark) for mark in (b",", b"[", b"{")) > _MAX_JSON_VALUES:
        raise bad_parameters([("body", f"more than {_MAX_JSON_VALUES} values; send `inputs` and `parameters` alone")])
    try:
        return ClassificationRequest.model_validate_json(body, strict=True)
    except ValidationError as error:
        faults = [
            (".".join(map(str, fault["loc"])) or "body", str(fault["msg"]))
            for fault in error.errors(include_input=False)
        ]
        raise bad_parameters(faults) from None


def _from_base64(text: str) -> bytes:
    """What the text stands for, with line breaks in it or without; ValueError when it is no base64."""
    pieces, rest = [], ""
    for start in range(0, len(text), _BASE64_SLICE):
        rest += text[start : start + _BASE64_SLICE].replace("\n", "").replace("\r", "")
        whole = len(rest) // 4 * 4
        pieces.append(binascii.a2b_base64(rest[:whole], strict_mode=True))
        rest = rest[whole:]
    pieces.append(binascii.a2b_base64(rest, strict_mode=True))
    return b"".join(pieces)


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
    return await answer_recording(call, TRANSCRIPT_FORMATS, form_only=True, read_fields=_own_fields)


def _own_fields(fields: Pairs) -> Pairs:
    """The fields that mean something; RequestError 422 for an answer that is to come as a stream."""
    if any(name == "stream" and value.lower() not in ("", "false", "0") for name, value in fields):
        raise bad_parameters([("stream", "the events come in one answer; leave it out")])
    return tuple((name, value) for name, value in fields if name.partition("[")[0] not in _IGNORED_FIELDS)


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
