"""A soundbank of a few short files, for scenes of two seconds that are mixed in tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from desed_task.audio.reading import write_waveform

RATE = 16_000
# Every way in which a scene can be drawn; each leaves the rest as the defaults have it.
SCENES: dict[str, dict[str, Any]] = {
    "plain": {},
    "many, cut": {"num_events": [4, 6], "max_overlap": 3, "max_event_seconds": [0.06, 0.5]},
    "none": {"num_events": [0, 0]},
    "loud": {"background_db": [-12.0, -6.0], "snr_db": [20.0, 40.0]},
    "no fades": {"fade_milliseconds": 0.0},
    "long fades": {"fade_milliseconds": 900.0},
    "coloured": {"variation": {"tilt_db_per_octave": [-3, 3], "band_db": [-9, 9], "ramp_db": [-9, 9]}},
    "played faster or slower": {"variation": {"speed": [0.7, 1.4]}},
    "stretched and shifted": {"variation": {"time_stretch": [0.8, 1.25], "pitch_semitones": [-3, 3]}},
    "a room": {"room": {"rt60_seconds": [0.1, 1.5], "direct_to_reverberant_db": [-3, 12]}},
    "some rooms": {"room": {"probability": 0.5}, "variation": {"ramp_db": [-6, 6]}},
    "distinct": {"distinct_sources": True, "num_events": [3, 5], "class_weights": {"hiss": 0.2}},
}


def write_soundbank(root: Path) -> Path:
    """foreground/{hum,hiss}: six recordings each, two sounds in each; background: six, shorter or longer than a scene.

    responses: two measured impulse responses, whose direct sound is not their first sample.
    """
    rng = np.random.default_rng(7)
    for label in ("hum", "hiss"):
        folder = root / "foreground" / label
        folder.mkdir(parents=True)
        for number in range(6):
            parts = [_sound(rng, label, seconds) for seconds in rng.uniform(0.1, 2.6, 2)]
            silence = np.zeros(RATE, dtype=np.float32)
            write_waveform(folder / f"{label}{number}.wav", np.concatenate([parts[0], silence, parts[1]]), RATE)
    (root / "background").mkdir()
    for number in range(6):
        noise = 0.1 * rng.standard_normal(RATE // 2 * (number + 1))
        write_waveform(root / "background" / f"room{number}.wav", noise.astype(np.float32), RATE)
    (root / "responses").mkdir()
    for number in range(2):
        response = 0.3 * rng.standard_normal(3000) * np.exp(-np.arange(3000) / 500)
        response[20 * number + 5] = 0.9
        write_waveform(root / "responses" / f"hall{number}.wav", response.astype(np.float32), RATE)
    return root


def scenes_tree(root: Path | None, scene: dict[str, Any]) -> dict[str, Any]:
    """A conf of soundscapes for the folder `root`, or for the procedural soundbank."""
    bank: dict[str, Any] = {"name": "folders", "root": str(root)} if root else {"name": "procedural", "num_voices": 5}
    labels = ["hum", "hiss"] if root else ["Dog", "Dishes"]
    keys = {"labels": labels, "duration_seconds": 2.0, "max_event_seconds": [0.5, 3.0], **scene}
    return {"seed": 3, "soundbank": bank, "scene": keys, "parts": {"train": {"num_scenes": 12}}}


def _sound(rng: np.random.Generator, label: str, seconds: float) -> np.ndarray:
    times = np.arange(round(seconds * RATE)) / RATE
    hum = 0.4 * np.sin(2 * np.pi * rng.uniform(200, 900) * times)
    beats = np.sin(2 * np.pi * 3 * times) ** 2
    waveform = hum if label == "hum" else 0.3 * beats * rng.standard_normal(len(times))
    return waveform.astype(np.float32)
