"""The same recording, heard in every way: the largest difference of any score.

    alone      the detector in this process, one recording after another
    command    desed-task tag --format json
    REST       POST /v1/events, one at a time
    batched    all at once, so that their windows share batches; and POST /v1/batch

By default the model is a random network whose float32 sums depend on how windows are batched; --bundle for a real one.
Tags of every class and events are compared: the same events, their times and scores. Frame scores travel as float16.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.hostile.whole_files import encode
from benchmarks.serving_bench import Bench, Row, limited_row
from benchmarks.serving_bundles import write_network_bundle
from benchmarks.serving_process import Running, serving
from desed_task.audio.reading import read_waveform
from desed_task.detector import Detector
from desed_task.errors import DesedTaskError

LIMIT = 1e-5
logging.getLogger("httpx").setLevel(logging.WARNING)
_CONTAINERS = (
    ("WAV", "PCM_16", 16_000),
    ("FLAC", "PCM_16", 44_100),
    ("OGG", "VORBIS", 32_000),
    ("WAV", "FLOAT", 8_000),
)
# What is said of a recording: label -> score, and (label, onset, offset, score) of every event.
Said = tuple[Mapping[str, float], Sequence[tuple[str, float, float, float]]]


def parity_rows(bench: Bench) -> list[Row]:
    """One row, with the largest difference of each way."""
    bundle = bench.bundle or write_network_bundle(bench.folder / "parity")
    files = _write_recordings(bench.folder / "parity_clips", int(bench.pick(24, 4)))
    if bench.esc10 is not None:
        files += sorted(bench.esc10.rglob("*.ogg"))[: int(bench.pick(24, 2))]
    detector = Detector(bundle, "cpu", num_threads=1)
    expected = [_alone(detector, path) for path in files]
    ways = {"command": _by_command(bundle, files)}
    with serving(bundle, bench.folder, {"num_threads": 1}) as running:
        ways |= {
            "REST": [_by_rest(running, path) for path in files],
            "batched": _all_at_once(running, files),
            "/v1/batch": _by_batch(running, files),
        }
    differences = {way: largest_difference(expected, said) for way, said in ways.items()}
    events = sum(len(said[1]) for said in expected)
    parts = ", ".join(f"{way} {difference:.1e}" for way, difference in differences.items())
    note = f"{len(files)} recordings, {events} events, beside the detector alone: {parts}"
    return [limited_row("parity", "largest difference", max(differences.values()), LIMIT, note=note)]


def largest_difference(expected: Sequence[Said], found: Sequence[Said]) -> float:
    """Of the scores of all tags and events and of the times of events; infinite where other events are found."""
    largest = 0.0
    for (tags, events), (other_tags, other_events) in zip(expected, found, strict=True):
        if tags.keys() != other_tags.keys() or [e[0] for e in events] != [e[0] for e in other_events]:
            return float("inf")
        largest = max([largest, *(abs(score - other_tags[label]) for label, score in tags.items())])
        for event, other in zip(events, other_events, strict=True):
            largest = max([largest, *(abs(one - two) for one, two in zip(event[1:], other[1:], strict=True))])
    return largest


def _alone(detector: Detector, path: Path) -> Said:
    heard = detector.decide(detector.scores(read_waveform(path, detector.bundle.sample_rate)))
    events = [(e.event_label, e.onset, e.offset, e.score or 0.0) for e in heard.events]
    return dict(heard.tags), sorted(events)


def _by_command(bundle: Path, files: Sequence[Path]) -> list[Said]:
    from serving.tag.tagging import tag

    output = bundle.parent / "tags.json"
    flags = ["--bundle", str(bundle), "--device", "cpu", "--num_threads", "1", "--format", "json", "--top_k", "10000"]
    with contextlib.redirect_stderr(io.StringIO()):
        code = tag([*map(str, files), *flags, "--output", str(output)])
    if code:
        raise DesedTaskError("parity: desed-task tag could not hear all recordings")
    return [_said(json.loads(line)) for line in output.read_text(encoding="utf-8").splitlines()]


def _by_rest(running: Running, path: Path) -> Said:
    answer = httpx.post(f"{running.url}/v1/events", content=path.read_bytes(), timeout=60)
    return _said(answer.raise_for_status().json())


def _all_at_once(running: Running, files: Sequence[Path]) -> list[Said]:
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(lambda path: _by_rest(running, path), files))


def _by_batch(running: Running, files: Sequence[Path]) -> list[Said]:
    parts = [("file", (path.name, path.read_bytes())) for path in files]
    answer = httpx.post(f"{running.url}/v1/batch", files=parts, timeout=120).raise_for_status()
    return [_said(result["answer"]) for result in answer.json()["results"]]


def _said(document: Mapping[str, Any]) -> Said:
    events = [(e["label"], e["onset"], e["offset"], e["score"]) for e in document["events"]]
    return {tag["label"]: tag["score"] for tag in document["tags"]}, sorted(events)


def _write_recordings(folder: Path, number: int) -> list[Path]:
    """Bursts of noise in recordings of 2 to 47 s, of several containers and rates."""
    folder.mkdir()
    rng, paths = np.random.default_rng(0), []
    for index in range(number):
        container, subtype, rate = _CONTAINERS[index % len(_CONTAINERS)]
        samples = rng.normal(size=round(rng.uniform(2, 47) * rate))
        bursts = np.repeat(rng.uniform(0, 1, len(samples) // rate + 1) ** 3, rate)[: len(samples)]
        content = encode((0.2 * bursts * samples).clip(-1, 1).astype(np.float32), container, subtype, rate)
        paths.append(folder / f"{index:02d}.{container.lower()}")
        paths[-1].write_bytes(content)
    return paths
