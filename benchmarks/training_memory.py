"""How much memory does a training of its own take up as its store grows?

    python -m benchmarks.training_memory [--size small]

Row `memory`: by how many MB the anonymous memory (RssAnon of /proc/self/status: what is no page of a file) of a
training process grows from a store of 1,000 clips of ten seconds to one of 28,000, at most 200. Each is trained in a
process of its own, by what `recipes/train_sed.py` does: tables read, stores opened, dataset and a tiny detector built,
six steps of `fit`; the largest figure at any of its steps counts. The recordings are empty files and the samples of the
stores are holes (sparse files), for nothing of them may stay in memory; names, hashes and about four events per clip
are as in real tables.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import anonymous_bytes
from desed_task.clips import ClipSet
from desed_task.data.dataset import BatchDataset
from desed_task.data.store_index import StoreIndex, index_path_of, samples_path, sources_of, write_index
from desed_task.errors import DesedTaskError
from desed_task.events import Event, EventTable
from desed_task.experiment import SedOptions, build_clip_set, build_dataset, build_module, build_system
from desed_task.formats.dcase import write_durations, write_strong
from desed_task.labels import DESED_LABELS
from desed_task.options import check_options
from desed_task.training.fit import choose_device, fit

Row = dict[str, Any]
LIMIT_MB = 200.0
RATE, SECONDS, SEED = 16_000, 10.0, 6
NUM_CLIPS = {"full": (1_000, 28_000), "small": (200, 1_000)}
# part -> supervision, share of the clips, clips per batch: about those of DESED.
PARTS: Mapping[str, tuple[str, float, int]] = {
    "synthetic": ("strong", 0.38, 2),
    "weak": ("weak", 0.06, 2),
    "unlabeled": ("none", 0.56, 4),
}
MODEL = {"nb_filters": [4, 4], "pooling": [[2, 8], [2, 8]], "n_rnn_cell": 4, "rnn_layers": 1}


def rows(arguments: Namespace) -> list[Row]:
    """arguments.size: full | small."""
    few, many = (_trained_apart(num_clips) for num_clips in NUM_CLIPS[arguments.size])
    growth = (many - few) / 1e6
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}"
    fewest, most = NUM_CLIPS[arguments.size]
    note = f"RssAnon {few / 1e6:.0f} MB with {fewest:,} clips, {many / 1e6:.0f} MB with {most:,}"
    row = {"name": "memory", "value": growth, "unit": "MB", "peer": "at most", "peer_value": LIMIT_MB}
    return [{**row, "ratio": LIMIT_MB / max(growth, 1.0), "machine": machine, "note": note}]


def write_corpus(folder: Path, num_clips: int) -> SedOptions:
    """Tables, empty recordings and stores of holes; the options of a training on them."""
    train = []
    for part, (supervision, share, batch_size) in PARTS.items():
        _write_part(folder / "scenes" / part, max(batch_size, round(share * num_clips)))
        corpus = {"name": "soundscapes", "root": str(folder / "scenes"), "part": part}
        train.append({"corpus": corpus, "supervision": supervision, "batch_size": batch_size})
    corpus = train[0]["corpus"]
    tree = {
        "labels": list(DESED_LABELS),
        "features": {"name": "logmel", "n_mels": 64},
        "model": MODEL,
        "training": {"n_epochs": 2, "n_epochs_warmup": 1, "num_threads": 1},
        "data": {
            "store": str(folder / "store"),
            "train": train,
            "validation": [{"corpus": corpus}],
            "test": {"corpus": corpus},
        },
    }
    options = check_options(tree, SedOptions, default_origin="benchmark")
    for clip_set in _clip_sets(options):
        _write_store(clip_set, folder / "store")
    return options


def build(options: SedOptions) -> BatchDataset:
    """What a training holds of its clips."""
    around = build_system(options, {})
    return build_dataset(options, _clip_sets(options), around.labels, around.grid)


def train(folder: Path, options: SedOptions) -> int:
    """Six steps; the most bytes of RssAnon at any of them."""
    dataset = build(options)
    module = build_module(options, dataset, lambda *_: {"objective": 0.0})
    found = []
    step = module.training_step

    def watched(*arguments: Any) -> Any:
        found.append(anonymous_bytes())
        return step(*arguments)

    module.training_step = watched  # type: ignore[method-assign]
    (folder / "run").mkdir()
    fit(module, dataset, folder / "run", choose_device("cpu"), fast_dev_run=True)
    found.append(anonymous_bytes())
    return max(found)


def _trained_apart(num_clips: int) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = write_corpus(folder, num_clips)
        (folder / "options.json").write_text(options.model_dump_json(), encoding="utf-8")
        command = [sys.executable, "-m", "benchmarks.training_memory", "--measure", str(folder)]
        ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if ran.returncode:
            raise DesedTaskError(f"memory: the training failed with exit code {ran.returncode}; see above")
        return int(ran.stdout.splitlines()[-1])


def _clip_sets(options: SedOptions) -> list[ClipSet]:
    labels = build_system(options, {}).labels
    return [build_clip_set(source, labels) for source in options.data.train]


def _write_part(folder: Path, num_clips: int) -> None:
    rng = np.random.default_rng(SEED)
    (folder / "audio").mkdir(parents=True)
    events = {}
    for number in range(num_clips):
        name = f"Y{_hash(f'{folder.name} {number}')[:11]}_{number % 300:d}.000_{number % 300 + 10:d}.000.wav"
        (folder / "audio" / name).touch()
        onsets = np.sort(rng.uniform(0, SECONDS - 1, int(rng.integers(1, 8)))).round(3).tolist()
        labels = rng.choice(len(DESED_LABELS), len(onsets)).tolist()
        events[name] = [Event(at, at + 1, DESED_LABELS[label]) for at, label in zip(onsets, labels, strict=True)]
    write_durations(dict.fromkeys(events, SECONDS), folder / "durations.tsv")
    write_strong(EventTable(events), folder / "soundscapes.tsv")


def _write_store(clip_set: ClipSet, folder: Path) -> None:
    sources = sources_of(clip_set)
    path = index_path_of(clip_set.name, sources, folder, RATE)
    folder.mkdir(exist_ok=True)
    audio_ids = tuple(clip.audio_id for clip in clip_set.clips)
    hashes = tuple(_hash(audio_id) for audio_id in audio_ids)
    lengths = (int(SECONDS * RATE),) * len(audio_ids)
    index = StoreIndex(clip_set.name, RATE, audio_ids, sources, lengths, hashes)
    with samples_path(path).open("wb") as samples:
        samples.truncate(index.num_bytes)
    write_index(index, path)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def main() -> int:
    """Print the row; with --measure the bytes of one training."""
    parser = ArgumentParser(description="Row `memory` of the training's benchmark.")
    parser.add_argument("--size", choices=tuple(NUM_CLIPS), default="full")
    parser.add_argument("--measure", type=Path, help="Folder of a written corpus to train on in this process.")
    arguments = parser.parse_args()
    if arguments.measure is not None:
        tree = json.loads((arguments.measure / "options.json").read_text(encoding="utf-8"))
        print(train(arguments.measure, check_options(tree, SedOptions, default_origin="benchmark")))
        return 0
    for row in rows(arguments):
        print(f"{row['name']}: {row['value']:.0f} {row['unit']}, at most {row['peer_value']:.0f} ({row['note']})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
