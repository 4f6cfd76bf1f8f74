"""How fast are soundscapes drawn and mixed while a training runs? Beside the renderer of generate_soundscapes.py.

    python -m benchmarks.training_scenes [--size small] [--repeats 3]

Rows `online scenes ...`: ten-second clips per second in batches of 48 at 16 kHz, drawn, mixed and with their targets
(`BatchDataset[epoch, step]`), from a soundbank of wav files of the ten DESED classes, two to four events in each, every
event equalised, ramped and in a room. The peer renders the same scenes one by one in one process, as the recipe does
before it writes them. Both sides in turn, medians over the repeats; mixtures of both sides are compared, outside of the
time. The row of stretched scenes has its bank of takes prepared before, as a training has after some steps; the peer
stretches each event.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from desed_task.audio.reading import write_waveform
from desed_task.data.dataset import BatchDataset
from desed_task.data.online_options import OnlineOptions
from desed_task.data.online_scenes import OnlineScenes
from desed_task.data.source import Moment
from desed_task.errors import DesedTaskError
from desed_task.labels import DESED_LABELS, LabelSet
from desed_task.options import check_options
from desed_task.soundscapes.procedural.bank import ProceduralOptions, build_procedural_soundbank
from desed_task.soundscapes.render import render_scene
from desed_task.timeline import FrameGrid
from desed_task.training.allocator import keep_freed_memory

Row = dict[str, Any]
RATE, SECONDS, BATCH, SEED = 16_000, 10.0, 48, 5
SOURCES_PER_CLASS = {"full": 12, "small": 4}
TAKES_PER_CLASS = 12
TOLERANCE = 1e-5
LABELS, GRID = LabelSet(DESED_LABELS), FrameGrid(RATE, 256, 4)
COLOURED = {"tilt_db_per_octave": [-2, 2], "band_db": [-6, 6], "ramp_db": [-6, 6]}
STRETCHED = {**COLOURED, "time_stretch": [0.8, 1.25], "pitch_semitones": [-2, 2]}


def rows(arguments: Namespace) -> list[Row]:
    """arguments.size: full | small; arguments.repeats: batches that are timed."""
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        _write_soundbank(root, SOURCES_PER_CLASS[arguments.size])
        return [
            _beside_renderer("online scenes", root, COLOURED, int(arguments.repeats)),
            _beside_renderer("online scenes, stretched", root, STRETCHED, int(arguments.repeats)),
        ]


def _beside_renderer(name: str, root: Path, variation: dict[str, Any], repeats: int) -> Row:
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    source = OnlineScenes(_options(root, variation), "strong", BATCH, LABELS, GRID, device)
    num_samples = GRID.num_samples(SECONDS)
    dataset = BatchDataset([source], num_samples, GRID.num_frames(num_samples), len(LABELS), SEED, device=device)
    for step in range(4):  # fills the bank of takes
        dataset[0, step]
    ours, theirs = [], []
    for step in range(repeats):
        start = time.perf_counter()
        batch = dataset[1, step]
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        between = time.perf_counter()
        rendered = [
            render_scene(scene, source.soundbank)[0] for scene in source.scenes(Moment(SEED, 1, step, 0), range(BATCH))
        ]
        ours.append(between - start)
        theirs.append(time.perf_counter() - between)
        difference = float(np.abs(np.stack(rendered) - batch.waveform.cpu().numpy()).max())
        if difference > TOLERANCE:
            raise DesedTaskError(f"{name}: batch {step} is {difference:.2g} off what the renderer renders")
    ratio = median(peer / mine for mine, peer in zip(ours, theirs, strict=True))
    return _row(name, BATCH / median(ours), BATCH / median(theirs), ratio)


def _options(root: Path, variation: dict[str, Any]) -> OnlineOptions:
    soundbank = {"name": "folders", "root": str(root), "shares": {"train": 1.0}}
    scene = {"labels": list(LABELS.names), "num_events": [2, 4], "variation": variation, "room": {}}
    parts = {"train": {"num_scenes": 10_000}}
    soundscapes = {"seed": SEED, "soundbank": soundbank, "scene": scene, "parts": parts}
    tree = {"name": "online", "soundscapes": soundscapes, "takes_per_class": TAKES_PER_CLASS}
    return check_options(tree, OnlineOptions)


def _write_soundbank(root: Path, num_sources: int) -> None:
    """foreground/<label>/*.wav and background/*.wav, synthesised."""
    bank = build_procedural_soundbank(ProceduralOptions(name="procedural"), "train", SEED)
    rng = np.random.default_rng(SEED)
    for label in bank.labels:
        folder = root / "foreground" / label
        folder.mkdir(parents=True)
        for number in range(num_sources):
            sound = bank.draw_event(rng, label)
            write_waveform(folder / f"{label}_{number}.wav", _at_peak(bank.read_event(sound)), RATE)
    (root / "background").mkdir()
    for number in range(num_sources):
        num_samples = int(rng.integers(RATE * 12, RATE * 30))
        noise = bank.backgrounds.read(bank.backgrounds.draw(rng, num_samples), num_samples)
        write_waveform(root / "background" / f"room_{number}.wav", _at_peak(noise), RATE)


def _at_peak(waveform: np.ndarray) -> np.ndarray:
    return np.asarray(0.9 * waveform / np.abs(waveform).max(), dtype=np.float32)


def _row(name: str, value: float, peer_value: float, ratio: float) -> Row:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, {gpu}"
    peer = "render_scene, one process"
    row = {"name": name, "value": value, "unit": "clips/s", "peer": peer, "peer_value": peer_value, "ratio": ratio}
    return {**row, "machine": machine, "threads": torch.get_num_threads()}


def main() -> int:
    """Print the rows."""
    parser = ArgumentParser(description="Rows `online scenes` of the training's benchmark.")
    parser.add_argument("--size", choices=tuple(SOURCES_PER_CLASS), default="full")
    parser.add_argument("--repeats", type=int, default=5)
    for row in rows(parser.parse_args()):
        print(
            f"{row['name']}: {row['value']:,.0f} {row['unit']}, {row['peer']} {row['peer_value']:,.0f}, "
            f"{row['ratio']:.1f} times"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
