"""POST /v1/events of a real server: what it answers is what the detector says of the same bytes, to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from desed_task.audio.reading import read_recording
from desed_task.bundle import read_bundle
from desed_task.detector import Detector

FRAME = 0.064


@pytest.fixture(scope="module")
def detector(tiny_bundle: Path) -> Detector:
    return Detector(tiny_bundle, device="cpu", num_threads=1)


def expected_answer(detector: Detector, body: bytes) -> dict[str, Any]:
    waveform, info = read_recording(body, detector.bundle.sample_rate)
    events = detector.detect(waveform)
    return {
        "model": {"id": "tiny", "version": "1", "sha256": detector.bundle.sha256},
        "audio": {
            "duration": info.duration,
            "sample_rate": info.sample_rate,
            "channels": info.channels,
            "format": info.format,
        },
        "tags": [{"label": label, "score": score} for label, score in detector.tags(waveform)],
        "events": [{"label": e.event_label, "onset": e.onset, "offset": e.offset, "score": e.score} for e in events],
    }


@pytest.mark.parametrize(
    ("container", "subtype", "sample_rate", "channels"),
    [
        ("WAV", "PCM_16", 16000, 1),
        ("WAV", "FLOAT", 32000, 2),
        ("WAV", "PCM_24", 8000, 1),
        ("FLAC", "PCM_16", 48000, 1),
        ("OGG", "VORBIS", 44100, 1),
        ("OGG", "OPUS", 48000, 2),
        ("AIFF", "PCM_16", 22050, 1),
        ("MP3", "MPEG_LAYER_III", 44100, 1),
    ],
)
def test_the_answer_is_what_the_detector_says(
    client: httpx.Client,
    detector: Detector,
    make_tone: Callable[..., Any],
    make_bytes: Callable[..., bytes],
    container: str,
    subtype: str,
    sample_rate: int,
    channels: int,
) -> None:
    waveform = make_tone(6.3, (2.0, 3.0), (4.0, 5.5), sample_rate=sample_rate)
    body = make_bytes(np.stack([waveform] * channels, axis=1), container, subtype, sample_rate)
    answer = client.post("/v1/events", content=body)
    assert answer.status_code == 200
    assert answer.json() == expected_answer(detector, body)
    assert len([event for event in answer.json()["events"] if event["label"] == "loud"]) == 2


def test_times_of_a_long_recording_are_on_the_files_clock(
    client: httpx.Client, detector: Detector, make_tone: Callable[..., Any], make_bytes: Callable[..., bytes]
) -> None:
    # seconds   0         9.7  10.4      20   31  33.5  35
    # tone                |----|              |---|
    spans = [(9.7, 10.4), (31.0, 33.5)]
    body = make_bytes(make_tone(35, *spans, sample_rate=22050), "FLAC", "PCM_16", 22050)
    answer = client.post("/v1/events", content=body).json()
    found = [(event["onset"], event["offset"]) for event in answer["events"] if event["label"] == "loud"]
    np.testing.assert_allclose(found, spans, atol=FRAME)
    assert answer["audio"]["duration"] == pytest.approx(35)
    assert answer == expected_answer(detector, body)


def test_real_recordings_are_answered_as_by_the_detector(
    client: httpx.Client, detector: Detector, shared_data: Path
) -> None:
    recordings = sorted((shared_data / "esc10").rglob("*.ogg"))[:10]
    assert recordings, f"{shared_data}: the folder is there, its recordings are not"
    for recording in recordings:
        body = recording.read_bytes()
        assert client.post("/v1/events", content=body).json() == expected_answer(detector, body)


def test_a_threshold_and_top_k_hold_for_one_request(client: httpx.Client, ten_seconds: bytes) -> None:
    everything = client.post("/v1/events", content=ten_seconds).json()
    nothing = client.post("/v1/events", params={"threshold": 1}, content=ten_seconds).json()
    low = client.post("/v1/events", params={"threshold": 0.01, "top_k": 1}, content=ten_seconds).json()
    assert len(everything["tags"]) == 2 and len(everything["events"]) == 3
    assert nothing["events"] == [] and nothing["tags"] == everything["tags"]
    assert low["tags"] == everything["tags"][:1]
    assert [event["offset"] for event in low["events"] if event["label"] == "loud"] == [pytest.approx(9.984)]
    assert client.post("/v1/events", content=ten_seconds).json() == everything


def test_requests_at_the_same_time_do_not_mix(
    client: httpx.Client, make_tone: Callable[..., Any], make_bytes: Callable[..., bytes]
) -> None:
    bodies = [make_bytes(make_tone(8 + n, (n, n + 1.5))) for n in range(6)]

    def loud_onset(body: bytes) -> float:
        events = client.post("/v1/events", content=body).json()["events"]
        (onset,) = [event["onset"] for event in events if event["label"] == "loud"]
        return float(onset)

    with ThreadPoolExecutor(6) as pool:
        onsets = list(pool.map(loud_onset, bodies * 3))
    np.testing.assert_allclose(onsets, list(range(6)) * 3, atol=FRAME)


def test_the_models_are_described(client: httpx.Client, tiny_bundle: Path) -> None:
    (model,) = client.get("/v1/models").json()["models"]
    assert model == {
        "id": "tiny",
        "version": "1",
        "sha256": read_bundle(tiny_bundle).sha256,
        "labels": ["loud", "quiet"],
        "sample_rate": 16000,
        "frame_seconds": FRAME,
        "window_seconds": 10.0,
        "postprocessing": {"median_filter_seconds": 0.0, "threshold": 0.5},
        "licence": "MIT",
        "provider": "CPUExecutionProvider",
    }


def test_probes_and_the_description_of_the_interface_answer(client: httpx.Client) -> None:
    assert client.get("/health/live").json() == {"status": "live"}
    assert client.get("/health/ready").json() == {"status": "ready"}
    assert client.get("/docs").status_code == 200
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1/events", "/v1/models", "/health/live", "/health/ready"} == set(paths)
    refusals = paths["/v1/events"]["post"]["responses"]
    assert all("application/problem+json" in refusals[status]["content"] for status in ("413", "415", "422", "503"))


def test_a_tagger_answers_with_tags_and_no_events(
    tiny_tagger: Path,
    new_server: Callable[..., Any],
    make_tone: Callable[..., Any],
    make_bytes: Callable[..., bytes],
) -> None:
    url = new_server(bundle=tiny_tagger).url
    body = make_bytes(make_tone(3.3, (0.0, 3.3), sample_rate=44100), "FLAC", "PCM_16", 44100)
    answer = httpx.post(f"{url}/v1/events", params={"threshold": 0.01}, content=body, timeout=30)
    assert answer.status_code == 200
    tags = Detector(tiny_tagger, device="cpu").tags(read_recording(body, 16000)[0])
    assert answer.json()["events"] == []
    assert [(tagged["label"], tagged["score"]) for tagged in answer.json()["tags"]] == tags
    assert [label for label, _ in tags] == ["loud", "never", "quiet"]
    (model,) = httpx.get(f"{url}/v1/models", timeout=30).json()["models"]
    assert (model["id"], model["labels"], model["window_seconds"]) == ("tiny tagger", ["loud", "quiet", "never"], 1.0)
