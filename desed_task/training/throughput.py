"""How fast a training goes and what it costs: steps and clips per second, kWh per 1,000 steps.

Time is that of training steps, the making of their batches included; validation and checkpoints are left out. The
device is waited for once per epoch, at its last step. Energy is what the meter of the whole training says, so
validation and checkpoints are in it; where CodeCarbon reads no counter of the CPU it is an estimate, and called so.

`throughput.json` adds up over the stretches of a resumed training, as the energy does, and is renewed with every
checkpoint. Steps that a kill undid were made, and paid for, twice: they count twice.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from desed_task.batch import Batch
from desed_task.training.energy import EnergyReading

LOG = logging.getLogger(__name__)
FILE = "throughput.json"
CLIPS_PER_SECOND = "train/clips_per_second"
KWH_PER_1000_STEPS = "train/kwh_per_1000_steps"


@dataclass(frozen=True)
class Work:
    """Steps, their clips (those of all ranks) and the seconds that they took."""

    steps: int = 0
    clips: int = 0
    seconds: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(self.steps + other.steps, self.clips + other.clips, self.seconds + other.seconds)

    def __sub__(self, other: Work) -> Work:
        return Work(self.steps - other.steps, self.clips - other.clips, self.seconds - other.seconds)

    @property
    def clips_per_second(self) -> float | None:
        """None before the first step."""
        return self.clips / self.seconds if self.seconds > 0 else None


class Throughput(Callback):
    """Times the steps, logs once per epoch, writes `throughput.json`.

    It must stand before what writes checkpoints and be told of each one that is written (`on_saved`). energy: the
    running meter; go_on: the training has stretches in `folder` already.
    """

    def __init__(self, folder: Path, energy: EnergyReading, go_on: bool = False) -> None:
        self.folder = folder
        self._energy = energy
        self._before = read_work(folder) if go_on else []
        self._stretch = Work()
        self._logged, self._logged_kwh = Work(), 0.0
        self._epoch: dict[str, float] = {}
        self._running_since: float | None = None
        self._is_rank_zero = True

    @property
    def in_words(self) -> str:
        """The last epoch, for a line of the log; empty before the first."""
        clips, kwh = self._epoch.get(CLIPS_PER_SECOND), self._epoch.get(KWH_PER_1000_STEPS)
        said = [] if clips is None else [f"{clips:.4g} clips/s"]
        return ", ".join(said if kwh is None else [*said, f"{kwh:.3g} kWh per 1,000 steps ({self._how})"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """What the meter has counted so far was not spent on the coming steps; an epoch that goes on has no start."""
        self._is_rank_zero = trainer.is_global_zero
        self._energy.flush()
        self._logged_kwh = self._energy.kwh or 0.0
        self._running_since = time.perf_counter()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """The clock runs."""
        self._running_since = time.perf_counter()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int  # noqa: ARG002
    ) -> None:  # fmt: skip
        """A checkpoint may be written now; `on_saved` takes the clock up again from here."""
        self._take_time()

    def on_saved(self) -> None:
        """A checkpoint was written: its time does not count."""
        if self._running_since is not None:
            self._running_since = time.perf_counter()
        self._energy.flush()
        self._write()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int  # noqa: ARG002
    ) -> None:  # fmt: skip
        """Count; after the epoch's last step, wait for the device, stop the clock and log."""
        self._stretch += Work(1, len(batch) * trainer.world_size)
        if batch_idx + 1 < trainer.num_training_batches:
            return
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        self._take_time()
        self._running_since = None
        self._log_epoch(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """One sentence about all stretches."""
        if self._is_rank_zero and self._stretch.steps:
            LOG.info("%s", sentence_of(summary_of([*self._before, self._stretch], self._energy)))

    def _take_time(self) -> None:
        if self._running_since is not None:
            now = time.perf_counter()
            self._stretch += Work(seconds=now - self._running_since)
            self._running_since = now

    def _log_epoch(self, trainer: pl.Trainer) -> None:
        self._energy.flush()
        done, kwh = self._stretch - self._logged, self._energy.kwh
        self._epoch = {}
        if done.clips_per_second is not None:
            self._epoch[CLIPS_PER_SECOND] = done.clips_per_second
        if kwh is not None and done.steps:
            self._epoch[KWH_PER_1000_STEPS] = 1000 * max(0.0, kwh - self._logged_kwh) / done.steps
        self._logged, self._logged_kwh = self._stretch, kwh or 0.0
        if trainer.logger is not None:
            trainer.logger.log_metrics(self._epoch, step=trainer.global_step)

    @property
    def _how(self) -> str:
        return _source_of(self._energy.estimated)

    def _write(self) -> None:
        if not self._is_rank_zero or not self._stretch.steps:
            return
        stretches = [*self._before, self._stretch]
        _write_json(
            {**summary_of(stretches, self._energy), "stretches": [asdict(stretch) for stretch in stretches]},
            self.folder / FILE,
        )


def summary_of(stretches: Sequence[Work], energy: EnergyReading) -> dict[str, Any]:
    """Steps, minutes, rates and kWh per 1,000 steps over all stretches; null where unknown."""
    whole = sum(stretches, Work())
    return {
        "steps": whole.steps,
        "clips": whole.clips,
        "minutes": whole.seconds / 60,
        "steps_per_second": whole.steps / whole.seconds if whole.seconds > 0 else None,
        "clips_per_second": whole.clips_per_second,
        "kwh_per_1000_steps": None if energy.kwh is None or not whole.steps else 1000 * energy.kwh / whole.steps,
        "energy_estimated": energy.estimated,
    }


def sentence_of(summary: Mapping[str, Any]) -> str:
    """The summary as one sentence of the log."""
    kwh, clips = summary["kwh_per_1000_steps"], summary["clips_per_second"]
    rate = "" if clips is None else f", {clips:.4g} clips/s"
    cost = "energy not metered" if kwh is None else f"{kwh:.3g} kWh per 1,000 steps"
    how = "" if kwh is None else f" ({_source_of(summary['energy_estimated'])})"
    return f"{summary['steps']} steps in {summary['minutes']:.3g} minutes{rate}, {cost}{how}"


def read_work(folder: Path) -> list[Work]:
    """The stretches that a run folder's file holds; none, with a warning, when it is not readable."""
    path = folder / FILE
    try:
        stretches = json.loads(path.read_text(encoding="utf-8"))["stretches"] if path.is_file() else []
        return [Work(**stretch) for stretch in stretches]
    except (OSError, ValueError, TypeError, KeyError) as error:
        LOG.warning("%s: the throughput of earlier stretches is not readable and not counted: %s", path, error)
        return []


def copy_work(run_folder: Path, other: Path) -> None:
    """Take the records of a training along when it goes on in another run folder."""
    if (run_folder / FILE).is_file():
        (other / FILE).write_text((run_folder / FILE).read_text(encoding="utf-8"), encoding="utf-8")


def _source_of(estimated: bool) -> str:
    return "estimated" if estimated else "metered"


def _write_json(content: Mapping[str, Any], path: Path) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)
