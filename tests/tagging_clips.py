"""Small recordings for tests of taggers, listed in a table, and a conf that trains on them.

Each of 0.6 to 1.5 s at 8 kHz: faint noise with `hum`, a tone, `hiss`, louder noise, `tick`, clicks, or two of these.
Every recording but the first of a part has a brother of the same source in it, right before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from desed_task.audio.reading import write_waveform

SAMPLE_RATE = 8_000
LABELS = ("hum", "hiss", "tick")
PARTS = {"train": 16, "validation": 6, "eval": 6}

CONF = """
labels: [hum, hiss, tick]
features: {name: logmel, sample_rate: 8000, n_window: 256, hop_length: 128, n_mels: 16, f_max: 4000}
model: {name: cnn14, architecture: cnn6, width: 0.0625}
data:
  store: ${here}/store
  clip_seconds: 1.0
  view: {hop_seconds: 0.5, tail: shift}
  train:
    - corpus: {name: manifest, table: "${here}/clips.csv", where: {part: [train]}, group_column: source, title: train}
      batch_size: 4
      sampling: {name: weighted}
      waveform_mixup: {}
  validation: {name: manifest, table: "${here}/clips.csv", where: {part: [validation]}, title: validation}
  evaluation:
    eval: {name: manifest, table: "${here}/clips.csv", where: {part: [eval]}, title: eval}
training:
  n_epochs: 3
  num_threads: 1
  learning_rate: 0.01
  schedule: {name: plateau, factor: 0.5, patience: 0}
  weight_averaging: {first_epoch: 2}
  ensemble: {}
"""


def write_tagging(folder: Path, parts: Mapping[str, int] = PARTS, conf: str = CONF) -> Path:
    """Recordings, `clips.csv` (filename,labels,part,source) and a conf for them in `folder`; the conf."""
    write_clips(folder, parts)
    path = folder / "conf.yaml"
    path.write_text(conf, encoding="utf-8")
    return path


def write_clips(folder: Path, parts: Mapping[str, int] = PARTS) -> Path:
    """Recordings and their table, `parts`: name -> how many; the table."""
    rng = np.random.default_rng(0)
    rows = ["filename,labels,part,source"]
    (folder / "audio").mkdir(parents=True)
    for part, num_clips in parts.items():
        for clip in range(num_clips):
            tags = tags_of(clip)
            name = f"audio/{part}_{clip}.wav"
            write_waveform(folder / name, _recording(tags, 0.6 + 0.1 * (clip % 10), rng), SAMPLE_RATE)
            rows.append(f'{name},"{",".join(tags)}",{part},{part}_{(clip + 1) // 2}')
    table = folder / "clips.csv"
    table.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return table


def tags_of(clip: int) -> tuple[str, ...]:
    """What is heard in a recording: one class, or two in every fourth."""
    return (LABELS[clip % 3],) if clip % 4 else (LABELS[clip % 3], LABELS[(clip + 1) % 3])


def _recording(tags: tuple[str, ...], seconds: float, rng: np.random.Generator) -> NDArray[np.float32]:
    time_axis = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    waveform = 0.01 * rng.standard_normal(len(time_axis))
    if "hum" in tags:
        waveform += 0.3 * np.sin(2 * np.pi * rng.uniform(200, 500) * time_axis)
    if "hiss" in tags:
        waveform += 0.1 * rng.standard_normal(len(time_axis))
    if "tick" in tags:
        waveform += 0.8 * (time_axis % 0.1 < 0.002)
    return waveform.astype(np.float32)
