"""POST /v1/events of a real server: what it answers is what the detector says of the same bytes, to the last bit."""

from __future__ import annotations

import base64
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


def what_was_heard(answer: httpx.Response) -> dict[str, Any]:
    """The answer without what belongs to the one request: its id and how long it took."""
    document = dict(answer.json())
    assert document.pop("id") == answer.headers["x-request-id"]
    assert document.pop("warnings") == []
    timing = document.pop("timing")
    assert set(timing) == {"queue", "decode", "inference", "total"} and all(value >= 0 for value in timing.values())
    return document


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
    assert what_was_heard(answer) == expected_answer(detector, body)
    assert len([event for event in answer.json()["events"] if event["label"] == "loud"]) == 2


def test_times_of_a_long_recording_are_on_the_files_clock(
    client: httpx.Client, detector: Detector, make_tone: Callable[..., Any], make_bytes: Callable[..., bytes]
) -> None:
    # seconds   0         9.7  10.4      20   31  33.5  35
    # tone                |----|              |---|
    spans = [(9.7, 10.4), (31.0, 33.5)]
    body = make_bytes(make_tone(35, *spans, sample_rate=22050), "FLAC", "PCM_16", 22050)
    answer = what_was_heard(client.post("/v1/events", content=body))
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
        assert what_was_heard(client.post("/v1/events", content=body)) == expected_answer(detector, body)


def test_a_threshold_and_top_k_hold_for_one_request(client: httpx.Client, ten_seconds: bytes) -> None:
    everything = what_was_heard(client.post("/v1/events", content=ten_seconds))
    nothing = client.post("/v1/events", params={"threshold": 1}, content=ten_seconds).json()
    low = client.post("/v1/events", params={"threshold": 0.01, "top_k": 1}, content=ten_seconds).json()
    assert len(everything["tags"]) == 2 and len(everything["events"]) == 3
    assert nothing["events"] == [] and nothing["tags"] == everything["tags"]
    assert low["tags"] == everything["tags"][:1]
    assert [event["offset"] for event in low["events"] if event["label"] == "loud"] == [pytest.approx(9.984)]
    assert what_was_heard(client.post("/v1/events", content=ten_seconds)) == everything


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
        "has_events": True,
    }
    assert client.get("/v1/models/tiny").json() == model


def test_probes_and_the_description_of_the_interface_answer(client: httpx.Client) -> None:
    assert client.get("/health/live").json() == {"status": "live"}
    assert client.get("/health/ready").json() == {"status": "ready"}
    assert "sed_http_requests_total" in client.get("/metrics").text
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1/events", "/v1/models", "/health/live", "/health/ready", "/metrics"} <= set(paths)
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
    assert answer.json()["events"] == [] and "frames" not in answer.json()
    assert [(tagged["label"], tagged["score"]) for tagged in answer.json()["tags"]] == tags
    assert [label for label, _ in tags] == ["loud", "never", "quiet"]
    (model,) = httpx.get(f"{url}/v1/models", timeout=30).json()["models"]
    assert (model["id"], model["labels"], model["window_seconds"]) == ("tiny tagger", ["loud", "quiet", "never"], 1.0)


def test_a_larger_body_than_memory_takes_is_heard_too(
    client: httpx.Client, detector: Detector, make_tone: Callable[..., Any], make_bytes: Callable[..., bytes]
) -> None:
    # 1.6 MB, above the 1 MiB from which a body goes on in a file
    body = make_bytes(make_tone(50, (2.0, 3.0)), "WAV", "PCM_16")
    assert len(body) > 1 << 20
    assert what_was_heard(client.post("/v1/events", content=body)) == expected_answer(detector, body)


def test_raw_samples_are_what_their_content_type_says(client: httpx.Client, ten_seconds: bytes) -> None:
    samples = np.frombuffer(ten_seconds[44:], dtype="<i2")
    expected = what_was_heard(client.post("/v1/events", content=ten_seconds))
    for content_type, body in (
        ("audio/pcm;rate=16000;channels=1", samples.tobytes()),
        ("audio/L16; rate=16000", samples.astype(">i2").tobytes()),
    ):
        answer = what_was_heard(client.post("/v1/events", content=body, headers={"Content-Type": content_type}))
        assert answer.pop("audio")["duration"] == 10.0
        assert answer == {name: value for name, value in expected.items() if name != "audio"}
    stereo = np.repeat(samples, 2).tobytes()
    answer = client.post("/v1/events", content=stereo, headers={"Content-Type": "audio/pcm;rate=16000;channels=2"})
    assert answer.json()["audio"]["channels"] == 2 and answer.json()["events"] == expected["events"]


def test_a_form_is_answered_as_a_body_is(client: httpx.Client, ten_seconds: bytes) -> None:
    expected = what_was_heard(client.post("/v1/events", params={"threshold": 0.01}, content=ten_seconds))
    for field in ("file", "audio"):
        in_fields = client.post("/v1/events", files={field: ("a.wav", ten_seconds)}, data={"threshold": "0.01"})
        in_query = client.post("/v1/events?threshold=0.01", files={field: ("a.wav", ten_seconds)})
        assert what_was_heard(in_fields) == what_was_heard(in_query) == expected


def test_a_part_of_a_form_may_be_raw_samples(client: httpx.Client, ten_seconds: bytes) -> None:
    part = ("a.pcm", ten_seconds[44:], "audio/pcm;rate=16000")
    answer = client.post("/v1/events", files={"file": part})
    assert answer.json()["events"] == client.post("/v1/events", content=ten_seconds).json()["events"]


def test_tags_are_those_of_the_events_answer(client: httpx.Client, ten_seconds: bytes) -> None:
    tags, events = (what_was_heard(client.post(f"/v1/{name}", content=ten_seconds)) for name in ("tags", "events"))
    del events["events"]
    assert tags == events


def test_frames_are_half_floats_in_base64(client: httpx.Client, detector: Detector, ten_seconds: bytes) -> None:
    answer = client.post("/v1/events", params={"frames": True, "labels": "quiet"}, content=ten_seconds).json()
    frames = answer["frames"]
    assert (frames["hop"], frames["start"], frames["labels"]) == (FRAME, 0.0, ["quiet"])
    values = np.frombuffer(base64.b64decode(frames["data"]), dtype="<f2").reshape(frames["shape"])
    expected = detector.scores(read_recording(ten_seconds, 16000)[0]).frame_values
    assert expected is not None
    np.testing.assert_allclose(values, expected[:, 1:], atol=1e-3)
    assert "frames" not in client.post("/v1/events", content=ten_seconds).json()


def test_thresholds_labels_and_least_durations_hold_for_one_request(client: httpx.Client, ten_seconds: bytes) -> None:
    # loud: 2 to 5 s; quiet: before and after
    def labels(**params: Any) -> list[str]:
        answer = client.post("/v1/events", params=params, content=ten_seconds)
        return [event["label"] for event in answer.json()["events"]]

    assert labels() == ["quiet", "loud", "quiet"]
    assert labels(thresholds='{"quiet": 1}') == ["loud"]
    assert labels(thresholds=["quiet:1", "loud:1.0"]) == []
    assert labels(thresholds="loud:0.2", threshold=1) == ["loud"]
    assert labels(labels="loud") == labels(labels=["loud"]) == labels(labels='["loud"]') == ["loud"]
    assert labels(min_duration=3.0) == ["loud", "quiet"]


def test_the_id_of_a_request_comes_back(client: httpx.Client, ten_seconds: bytes) -> None:
    answer = client.post("/v1/events", content=ten_seconds, headers={"X-Request-ID": "night-7.b:3"})
    assert answer.headers["x-request-id"] == answer.json()["id"] == "night-7.b:3"
    for bad in ("a b", "x" * 129, "<script>"):
        answer = client.get("/v1/none", headers={"X-Request-ID": bad})
        assert answer.headers["x-request-id"] == answer.json()["request_id"] != bad
