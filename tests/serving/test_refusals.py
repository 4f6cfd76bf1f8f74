"""Bad requests to a real server: each one problem document (RFC 9457), the right status, and it goes on answering."""

from __future__ import annotations

import http.client
import json
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest


def assert_problem(answer: httpx.Response, status: int, code: str, path: str = "/v1/events") -> dict[str, Any]:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert {"type", "title", "status", "detail", "instance", "code", "request_id"} <= set(problem)
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert (problem["status"], problem["code"], problem["instance"]) == (status, code, path)
    assert problem["detail"] and "\n" not in problem["detail"]
    return dict(problem)


@pytest.fixture(autouse=True)
def still_answering(client: httpx.Client, ten_seconds: bytes) -> Iterator[None]:
    yield
    assert client.post("/v1/events", content=ten_seconds).status_code == 200


SILENCE = np.zeros(16000, dtype=np.float32)
TWO_HOURS_AT_1_KHZ = np.zeros(7_200_000, dtype=np.float32)


def with_sample(sample: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    waveform = SILENCE.copy()
    waveform[100] = sample
    return waveform


def flac_that_claims_hours(make_bytes: Callable[..., bytes]) -> bytes:
    """A FLAC of one second whose header claims 2^36 - 1 samples."""
    body = bytearray(make_bytes(SILENCE, "FLAC"))
    body[21] |= 0x0F  # the last 36 bits of this field of STREAMINFO: number of samples
    body[22:26] = b"\xff\xff\xff\xff"
    return bytes(body)


def wav_that_claims_gigabytes(make_bytes: Callable[..., bytes]) -> bytes:
    """A WAV of one second whose header claims 1.6 GB; 2 GB and more are what writers put that do not know."""
    body = bytearray(make_bytes(SILENCE, "WAV", "PCM_16"))
    body[40:44] = struct.pack("<I", 1_600_000_000)
    return bytes(body)


def wav_at_one_hertz(make_bytes: Callable[..., bytes]) -> bytes:
    body = bytearray(make_bytes(SILENCE, "WAV", "PCM_16"))
    body[24:28] = struct.pack("<I", 1)
    return bytes(body)


BAD_BODIES: dict[str, tuple[Callable[[Callable[..., bytes]], bytes], int, str]] = {
    "empty": (lambda make: b"", 422, "bad_audio"),
    "text": (lambda make: b"woof woof woof", 415, "unknown_container"),
    "html": (lambda make: b"<!doctype html>" * 100, 415, "unknown_container"),
    "zip": (lambda make: b"PK\x03\x04" + bytes(1000), 415, "unknown_container"),
    "sun audio": (lambda make: make(SILENCE, "AU", "PCM_16"), 415, "unknown_container"),
    "riff of another kind": (lambda make: b"RIFF\x00\x10\x00\x00AVI " + bytes(500), 415, "unknown_container"),
    "truncated wav": (lambda make: make(SILENCE)[:-4000], 422, "bad_audio"),
    "wav of 11 bytes": (lambda make: make(SILENCE)[:11], 415, "unknown_container"),
    "wav of 20 bytes": (lambda make: make(SILENCE)[:20], 422, "bad_audio"),
    "truncated flac": (lambda make: make(with_sample(0.5), "FLAC")[:60], 422, "bad_audio"),
    "flac without content": (lambda make: b"fLaC" + bytes(range(256)), 422, "bad_audio"),
    "mp3 of noise": (lambda make: b"\xff\xfb" + bytes(range(256)) * 4, 422, "bad_audio"),
    "wav without samples": (lambda make: make(SILENCE[:0]), 422, "bad_audio"),
    "wav with nan": (lambda make: make(with_sample(np.nan), "WAV", "FLOAT"), 422, "bad_audio"),
    "wav with infinity": (lambda make: make(with_sample(np.inf), "WAV", "FLOAT"), 422, "bad_audio"),
    "wav with 3e38": (lambda make: make(with_sample(3e38), "WAV", "FLOAT"), 422, "bad_audio"),
    "wav that claims gigabytes": (wav_that_claims_gigabytes, 422, "bad_audio"),
    "flac that claims 433 hours": (flac_that_claims_hours, 422, "bad_audio"),
    "wav at one hertz": (wav_at_one_hertz, 422, "bad_audio"),
    "truncated opus": (lambda make: make(np.tile(SILENCE, 30), "OGG", "OPUS")[:-200], 422, "bad_audio"),
    "truncated aiff": (lambda make: make(SILENCE, "AIFF", "PCM_16")[:-4000], 422, "bad_audio"),
    "two hours of flac": (lambda make: make(TWO_HOURS_AT_1_KHZ, "FLAC", None, 1000), 413, "audio_too_long"),
    "too many bytes": (lambda make: make(np.zeros(1_100_000, np.float32), "WAV", "PCM_16"), 413, "body_too_large"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_body_is_a_problem(client: httpx.Client, make_bytes: Callable[..., bytes], name: str) -> None:
    make_body, status, code = BAD_BODIES[name]
    assert_problem(client.post("/v1/events?strict=true", content=make_body(make_bytes)), status, code)


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("threshold=1.5", "threshold"),
        ("threshold=-0.1", "threshold"),
        ("threshold=nan", "threshold"),
        ("threshold=high", "threshold"),
        ("top_k=0", "top_k"),
        ("treshold=0.5", "treshold"),
        ("threshold=0.5&threshold=0.6", "threshold"),
        ("thresholds=loud", "thresholds"),
        ("thresholds=loud:2", "thresholds"),
        ("thresholds=loud:0.1&thresholds=loud:0.2", "thresholds"),
        ("thresholds=%7B%22loud%22%3A%20true%7D", "thresholds"),
        ("thresholds=%7Bx", "thresholds"),
        ("thresholds=dog:0.5", "thresholds"),
        ("labels=dog", "labels"),
        ("labels=", "labels"),
        ("labels=[1]", "labels"),
        ("min_duration=-1", "min_duration"),
        ("frames=maybe", "frames"),
        ("strict=2", "strict"),
        ("response_format=mp3", "response_format"),
    ],
)
def test_a_bad_parameter_is_named(client: httpx.Client, ten_seconds: bytes, query: str, parameter: str) -> None:
    answer = client.post(f"/v1/events?{query}", content=ten_seconds)
    problem = assert_problem(answer, 422, "bad_parameter")
    assert [fault["parameter"] for fault in problem["errors"]] == [parameter]


def test_paths_and_methods_that_are_not_there_are_problems(client: httpx.Client) -> None:
    assert_problem(client.get("/v1/nothing"), 404, "not_found", "/v1/nothing")
    assert_problem(client.post("/v1/events/", content=b"x"), 404, "not_found", "/v1/events/")
    answer = client.get("/v1/events")
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


def test_a_huge_claim_is_refused_before_the_body_is_sent(server: Any) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n")
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        problem = json.loads(answer.read())
    assert (answer.status, problem["code"], problem["limit"]) == (413, "body_too_large", 2_000_000)


def test_a_body_of_unstated_length_is_refused_while_it_arrives(client: httpx.Client) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 50_000_000:
            sent += 100_000
            yield bytes(100_000)

    assert_problem(client.post("/v1/events", content=endless()), 413, "body_too_large")


def test_a_client_that_leaves_harms_nobody(server: Any) -> None:
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\nRIFF")
