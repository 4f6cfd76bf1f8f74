"""The shapes of other services: Hugging Face's audio classification, OpenAI's transcriptions."""

from __future__ import annotations

import base64
import math
from typing import Any

import httpx
import pytest


@pytest.fixture(scope="module")
def tags(client: httpx.Client, ten_seconds: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.post("/v1/tags", content=ten_seconds).json()["tags"]
    return found


def classify(client: httpx.Client, body: bytes, **parameters: Any) -> Any:
    inputs = base64.b64encode(body).decode()
    return client.post("/hf/audio-classification", json={"inputs": inputs, "parameters": parameters})


def test_bytes_and_json_are_classified_alike(
    client: httpx.Client, ten_seconds: bytes, tags: list[dict[str, Any]]
) -> None:
    by_bytes = client.post("/hf/audio-classification", content=ten_seconds, headers={"Content-Type": "audio/wav"})
    assert by_bytes.json() == classify(client, ten_seconds).json() == tags
    assert classify(client, ten_seconds, top_k=1).json() == tags[:1]
    assert client.post("/hf/audio-classification?top_k=1", content=ten_seconds).json() == tags[:1]


def test_softmax_lets_classes_compete_and_none_gives_logits(
    client: httpx.Client, ten_seconds: bytes, tags: list[dict[str, Any]]
) -> None:
    competing = classify(client, ten_seconds, function_to_apply="softmax").json()
    assert sum(one["score"] for one in competing) == pytest.approx(1)
    logits = {one["label"]: one["score"] for one in classify(client, ten_seconds, function_to_apply="none").json()}
    quiet = next(tag["score"] for tag in tags if tag["label"] == "quiet")
    assert logits["quiet"] == pytest.approx(math.log(quiet / (1 - quiet)))
    ratio = competing[0]["score"] / competing[1]["score"]
    assert ratio == pytest.approx(math.exp(logits["loud"] - logits["quiet"]), rel=1e-6)


@pytest.mark.parametrize(
    "document",
    ["no json", "[]", "{}", '{"inputs": 1}', '{"inputs": "*"}', '{"inputs": "", "parameters": {"top_k": 0}}'],
)
def test_a_request_of_another_shape_is_refused(client: httpx.Client, document: str) -> None:
    answer = client.post(
        "/hf/audio-classification", content=document, headers={"Content-Type": "application/json; charset=utf-8"}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_parameter")


def test_base64_may_be_broken_into_lines(client: httpx.Client, ten_seconds: bytes, tags: list[dict[str, Any]]) -> None:
    # as the shell's base64 writes it, longer than what is decoded at a time
    longer = ten_seconds + bytes(1_000_000)
    for line_break in ("\n", "\r\n"):
        inputs = base64.encodebytes(longer).decode().replace("\n", line_break)
        answer = client.post("/hf/audio-classification", json={"inputs": inputs})
        assert [one["label"] for one in answer.json()] == [tag["label"] for tag in tags]
    broken = client.post("/hf/audio-classification", json={"inputs": base64.encodebytes(longer).decode()[:-3]})
    assert broken.json()["errors"][0]["parameter"] == "inputs"


def test_json_of_many_values_is_refused_unread(client: httpx.Client) -> None:
    document = '{"inputs": "AAAA", "parameters": [' + "1," * 500_000 + "1]}"
    answer = client.post("/hf/audio-classification", content=document, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422 and answer.json()["errors"][0]["parameter"] == "body"


def test_json_without_audio_in_it_is_bad_audio(client: httpx.Client) -> None:
    assert classify(client, b"").json()["code"] == "bad_audio"


def transcribe(client: httpx.Client, body: bytes, **data: str) -> httpx.Response:
    return client.post("/v1/audio/events", files={"file": ("a.wav", body)}, data={"model": "tiny", **data})


def test_events_come_as_segments_of_a_transcript(client: httpx.Client, ten_seconds: bytes) -> None:
    events = client.post("/v1/events", content=ten_seconds).json()["events"]
    verbose = transcribe(client, ten_seconds, response_format="verbose_json", language="en", temperature="0").json()
    assert verbose["duration"] == 10.0 and verbose["task"] == "events"
    found = [(segment["start"], segment["end"], segment["text"]) for segment in verbose["segments"]]
    assert found == [(event["onset"], event["offset"], event["label"]) for event in events]
    plain = transcribe(client, ten_seconds).json()
    assert plain == {"text": verbose["text"]} and len(plain["text"].splitlines()) == 3


def test_subtitles_and_text_are_those_of_the_events_route(client: httpx.Client, ten_seconds: bytes) -> None:
    for form in ("srt", "vtt", "text"):
        expected = client.post("/v1/events", params={"response_format": form}, content=ten_seconds)
        assert transcribe(client, ten_seconds, response_format=form).text == expected.text


def test_what_a_transcript_cannot_be_is_refused(client: httpx.Client, ten_seconds: bytes) -> None:
    assert transcribe(client, ten_seconds, response_format="raven").json()["code"] == "not_acceptable"
    assert transcribe(client, ten_seconds, model="whisper-1").json()["code"] == "unknown_model"
    assert client.post("/v1/audio/events", content=ten_seconds).status_code == 415


def test_fields_that_mean_nothing_here_are_taken_but_a_stream_is_refused(
    client: httpx.Client, ten_seconds: bytes
) -> None:
    expected = transcribe(client, ten_seconds).json()
    ignored = {"chunking_strategy[type]": "server_vad", "include[]": "logprobs", "known_speaker_names[]": "a"}
    assert transcribe(client, ten_seconds, stream="false", **ignored).json() == expected
    refused = transcribe(client, ten_seconds, stream="true")
    assert refused.status_code == 422 and refused.json()["errors"][0]["parameter"] == "stream"
