"""What does the whole published schedule take on this GPU? 23,600 steps, extrapolated from 1,000 measured ones.

    python -m benchmarks.training_schedule [--size small]

The network, batches (12 strong, 12 weak, 24 unlabeled) and clip numbers are those of confs/sed/crnn.yaml on DESED; the
clips are noise in memory, made resident on the device. What runs is `fit`, as in a training, in epochs of 118 steps,
the first of which warms up; time and kWh are what a training logs (validation and checkpoints are no part of the time
and, here, next to nothing of the kWh). Rows per way to run it: `schedule, WAY` (minutes; peer: at most 10) and
`schedule energy, WAY` (kWh; peers: at most 0.1, and in the note the published 1.717 kWh on an A100). Beside them, in
the note, the GPU's utilisation and how a step's time is shared out, by CUDA events around its pieces, run one after
another without compilation.

Without CUDA there is a row without value: a CPU says nothing about a GPU. `--size small` proves on any machine that the
script runs; what it prints is no result.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import threading
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.machine import describe_machine
from benchmarks.schedule_clips import NUM_CLIPS, build_noise_dataset
from benchmarks.schedule_pieces import shares_of_a_step
from desed_task.experiment import SedOptions, build_module
from desed_task.options import override_options, read_options
from desed_task.training.energy import EnergyOptions, metered
from desed_task.training.fit import fit
from desed_task.training.throughput import CLIPS_PER_SECOND, FILE, KWH_PER_1000_STEPS

Row = dict[str, Any]
CONF = Path(__file__).resolve().parent.parent / "confs" / "sed" / "crnn.yaml"
SCHEDULE_STEPS, MEASURED_STEPS = 23_600, 1_000
LIMIT_MINUTES, LIMIT_KWH, PUBLISHED_KWH = 10.0, 0.1, 1.717
WAYS: Mapping[str, tuple[str, ...]] = {
    "float32": (),
    "bf16": ("training.precision=bf16-mixed",),
    "bf16, CUDA graphs": ("training.precision=bf16-mixed", "training.cuda_graphs=true"),
    "bf16, compiled": ("training.precision=bf16-mixed", "training.compile=default"),
}
SMALL = (
    *("model.nb_filters=[2,2]", "model.pooling=[[2,8],[2,8]]", "model.n_rnn_cell=2", "features.n_window=512"),
    *("data.clip_seconds=0.5", "data.overlap_frames=4", "training.num_threads=1"),
)
SMALL_SHARE = 6
STEPS_IN_PIECES = {"full": 20, "small": 2}
NO_RESULT = {"value": None, "ratio": None}
LOOK_SECONDS = 0.2


def rows(arguments: Namespace) -> list[Row]:
    """arguments.size: full | small."""
    is_trial = arguments.size == "small"
    if not torch.cuda.is_available() and not is_trial:
        return [_row("schedule", None, "min", "at most", LIMIT_MINUTES, "not measured: no CUDA device here")]
    return [row for way in list(WAYS)[: 1 if is_trial else None] for row in _rows_of(way, arguments.size)]


def _rows_of(way: str, size: str) -> list[Row]:
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    options = _options(way, size)
    dataset = build_noise_dataset(options, NUM_CLIPS[size], device)
    epochs = options.training.n_epochs
    module = build_module(options, dataset, lambda *_: {"objective": 0.0})
    with tempfile.TemporaryDirectory() as name, _watched(device) as utilisation:
        folder = Path(name) / "version_0"
        folder.mkdir()
        with metered("SCHEDULE", folder / "energy", "kwh.txt", EnergyOptions()) as energy:
            fit(module, dataset, folder, device, fast_dev_run=False, energy=energy)
        logged = _logged(folder)
        source = "estimated in part" if json.loads((folder / FILE).read_text())["energy_estimated"] else "metered"
    measured = slice(1, epochs)  # the first epoch warms up
    seconds_per_step = mean(len_of_batch(options) / rate for rate in logged[CLIPS_PER_SECOND][measured])
    minutes = SCHEDULE_STEPS * seconds_per_step / 60
    steps = (epochs - 1) * len(dataset)
    used = f"GPU used {mean(utilisation):.0f} %" if utilisation else "utilisation of the GPU unknown"
    pieces = shares_of_a_step(module.to(device), dataset, options.training.precision, STEPS_IN_PIECES[size])
    note = f"{steps} steps of {seconds_per_step * 1e3:.2f} ms; {used}; {pieces}"
    found = [_row(f"schedule, {way}", minutes, "min", "at most", LIMIT_MINUTES, note)]
    if costs := logged.get(KWH_PER_1000_STEPS, [])[measured]:
        kwh = mean(costs) * SCHEDULE_STEPS / 1000
        times = PUBLISHED_KWH / max(kwh, 1e-9)
        beside = f"; {times:.3g} times less than the published {PUBLISHED_KWH} kWh on an A100"
        note = source + (beside if size == "full" else "")
        found.append(_row(f"schedule energy, {way}", kwh, "kWh", "at most", LIMIT_KWH, note))
    return found if size == "full" else [row | NO_RESULT | {"note": f"a trial: {row['note']}"} for row in found]


def len_of_batch(options: SedOptions) -> int:
    """Clips of all sources."""
    return sum(source.batch_size for source in options.data.train)


def _options(way: str, size: str) -> SedOptions:
    options = read_options(CONF, SedOptions)
    if size == "small":
        options = _with_small_batches(options)
    per_epoch = min(
        clips // source.batch_size for clips, source in zip(NUM_CLIPS[size], options.data.train, strict=True)
    )
    epochs = 1 + (-(-MEASURED_STEPS // per_epoch) if size == "full" else 2)
    course = (f"training.n_epochs={epochs}", "training.n_epochs_warmup=1", f"training.validation_interval={epochs}")
    residence = f"data.residence={'resident' if torch.cuda.is_available() else 'mapped'}"
    return override_options(options, [*course, residence, *WAYS[way], *(SMALL if size == "small" else ())])


def _with_small_batches(options: SedOptions) -> SedOptions:
    sources = (
        source.model_copy(update={"batch_size": source.batch_size // SMALL_SHARE}) for source in options.data.train
    )
    return options.model_copy(update={"data": options.data.model_copy(update={"train": tuple(sources)})})


def _logged(folder: Path) -> dict[str, list[float]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    known = set(events.Tags()["scalars"])
    return {tag: [event.value for event in events.Scalars(tag)] for tag in (CLIPS_PER_SECOND, KWH_PER_1000_STEPS)
            if tag in known}  # fmt: skip


@contextmanager
def _watched(device: torch.device) -> Iterator[list[float]]:
    """The GPU's utilisation in percent, looked at a few times a second."""
    found: list[float] = []
    if device.type != "cuda":
        yield found
        return
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(LOOK_SECONDS):
            try:
                found.append(float(torch.cuda.utilization(device)))
            except Exception as error:  # NVML is missing or refuses
                logging.getLogger(__name__).warning("the GPU's utilisation is not known: %s", error)
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def _row(name: str, value: float | None, unit: str, peer: str, limit: float, note: str) -> Row:
    ratio = None if value is None else limit / max(value, 1e-9)
    row = {"name": name, "value": value, "unit": unit, "peer": peer, "peer_value": limit, "ratio": ratio}
    return {**row, "machine": describe_machine(), "note": note}


def main() -> int:
    """Print the rows."""
    parser = ArgumentParser(description="Rows `schedule` of the training's benchmark.")
    parser.add_argument("--size", choices=("full", "small"), default="full")
    for row in rows(parser.parse_args()):
        value = "not measured" if row["value"] is None else f"{row['value']:.4g} {row['unit']}"
        print(f"{row['name']}: {value} ({row['peer']} {row['peer_value']:g}); {row['note']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
