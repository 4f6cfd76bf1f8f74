"""Small soundscapes for tests, in the layout of `recipes/generate_soundscapes.py`, and a conf that trains on them.

Every clip is faint noise with one event of one second: `hum`, a tone, in even clips, `hiss`, louder noise, in odd ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from desed_task.audio.reading import write_waveform
from desed_task.events import Event, EventTable
from desed_task.formats.dcase import write_durations, write_strong

SECONDS, SAMPLE_RATE = 2.0, 16_000
PARTS = {"train": 8, "weak": 4, "unlabeled": 4, "validation": 3, "test": 4}

CONF = """
labels: [hum, hiss]
features: {name: logmel, n_window: 512, hop_length: 256, n_mels: 16}
model: {nb_filters: [4, 8], pooling: [[2, 4], [2, 4]], dropout: 0.1, n_rnn_cell: 8, rnn_layers: 1}
data:
  store: ${here}/store
  clip_seconds: 2.0
  overlap_frames: 4
  train:
    - {corpus: {name: soundscapes, root: "${here}/scenes", part: train}, supervision: strong, batch_size: 2}
    - {corpus: {name: soundscapes, root: "${here}/scenes", part: weak}, supervision: weak, batch_size: 1}
    - {corpus: {name: soundscapes, root: "${here}/scenes", part: unlabeled}, supervision: none, batch_size: 1}
  validation:
    - {corpus: {name: soundscapes, root: "${here}/scenes", part: validation}}
    - {corpus: {name: soundscapes, root: "${here}/scenes", part: weak}, supervision: weak}
  test: {corpus: {name: soundscapes, root: "${here}/scenes", part: test}}
training: {n_epochs: 2, n_epochs_warmup: 1, num_threads: 1}
"""


def write_scenes(root: Path, parts: Mapping[str, int] = PARTS) -> None:
    """Write <root>/<part>/audio/*.wav and both tables, `parts`: name -> clips."""
    rng = np.random.default_rng(0)
    for part, num_clips in parts.items():
        folder = root / part
        (folder / "audio").mkdir(parents=True)
        events = {}
        for clip in range(num_clips):
            onset = 0.1 * (clip % 8)
            events[f"{part}_{clip}.wav"] = [Event(onset, onset + 1.0, ("hum", "hiss")[clip % 2])]
            write_waveform(folder / "audio" / f"{part}_{clip}.wav", _scene(clip, onset, rng), SAMPLE_RATE)
        write_durations(dict.fromkeys(events, SECONDS), folder / "durations.tsv")
        write_strong(EventTable(events), folder / "soundscapes.tsv")


def write_training(folder: Path) -> Path:
    """Scenes and a conf for them in `folder`; the conf."""
    write_scenes(folder / "scenes")
    conf = folder / "conf.yaml"
    conf.write_text(CONF, encoding="utf-8")
    return conf


def _scene(clip: int, onset: float, rng: np.random.Generator) -> np.ndarray:
    waveform = 0.01 * rng.standard_normal(int(SECONDS * SAMPLE_RATE))
    first, num_samples = int(onset * SAMPLE_RATE), SAMPLE_RATE
    hum = 0.3 * np.sin(2 * np.pi * 440 * np.arange(num_samples) / SAMPLE_RATE)
    waveform[first : first + num_samples] += hum if clip % 2 == 0 else 0.2 * rng.standard_normal(num_samples)
    return waveform.astype(np.float32)
