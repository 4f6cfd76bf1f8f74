"""POST /v1/batch: several recordings of one form, in their order, each with its answer or its problem."""

from __future__ import annotations

from typing import Any

import httpx
import pytest


def post(client: httpx.Client, *files: tuple[str, bytes] | tuple[str, bytes, str], **data: str) -> dict[str, Any]:
    answer = client.post("/v1/batch", files=[("file", part) for part in files], data=data)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    assert document["id"] == answer.headers["x-request-id"]
    return document


def test_each_recording_is_answered_as_if_it_were_alone(client: httpx.Client, ten_seconds: bytes) -> None:
    short = ten_seconds[: 44 + 64_000]
    alone = [client.post("/v1/events", content=body).json() for body in (ten_seconds, short)]
    results = post(client, ("a.wav", ten_seconds), ("b.wav", short), ("c.wav", ten_seconds))["results"]
    assert [result["file_name"] for result in results] == ["a.wav", "b.wav", "c.wav"]
    for result, expected in zip(results, [*alone, alone[0]], strict=True):
        assert result["status"] == 200 and "problem" not in result
        for member in ("model", "audio", "tags", "events"):
            assert result["answer"][member] == expected[member]


def test_a_bad_recording_does_not_spoil_the_others(client: httpx.Client, ten_seconds: bytes) -> None:
    parts = [
        ("a.wav", ten_seconds),
        ("b.html", b"<html>" * 9),
        ("c.wav", b""),
        ("d.pcm", bytes(9), "audio/pcm"),
        ("e.wav", ten_seconds),
    ]
    results = post(client, *parts)["results"]
    assert [result["status"] for result in results] == [200, 415, 422, 422, 200]
    problem = results[1]["problem"]
    assert (problem["code"], problem["instance"], "answer" in results[1]) == ("unknown_container", "/v1/batch", False)
    assert results[0]["answer"]["events"] == results[4]["answer"]["events"] != []


def test_parameters_hold_for_all(client: httpx.Client, ten_seconds: bytes) -> None:
    parts = [("a.wav", ten_seconds), ("b.wav", ten_seconds)]
    for result in post(client, *parts, labels="loud", top_k="1")["results"]:
        assert {event["label"] for event in result["answer"]["events"]} == {"loud"}
        assert len(result["answer"]["tags"]) == 1


@pytest.mark.parametrize(
    ("files", "data", "status", "code"),
    [
        ([], {"top_k": "1"}, 422, "file_missing"),
        ([("file", ("a.wav", b"x"))] * 65, {}, 422, "too_many_files"),
        ([("file", ("a.wav", b"x"))], {"top_k": "0"}, 422, "bad_parameter"),
        ([("file", ("a.wav", b"x"))], {"model": "none"}, 404, "unknown_model"),
    ],
)
def test_what_is_wrong_with_the_request_refuses_it_as_a_whole(
    client: httpx.Client, files: Any, data: dict[str, str], status: int, code: str
) -> None:
    boundary = {"Content-Type": "multipart/form-data; boundary=b"}
    field = b'--b\r\nContent-Disposition: form-data; name="top_k"\r\n\r\n1\r\n--b--\r\n'
    answer = (
        client.post("/v1/batch", files=files, data=data)
        if files
        else client.post("/v1/batch", content=field, headers=boundary)
    )
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert client.post("/v1/batch", content=b"RIFF").json()["code"] == "form_expected"
