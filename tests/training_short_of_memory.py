"""A training, to be run as a process of its own, whose address space holds a part of its batch and not the whole.

    python tests/training_short_of_memory.py RUN_FOLDER

A step of all 32 clips takes about 900 MB, mostly what the first block makes of them (2.6 MB per clip and array). 600 MB
may be added to what the process has when the training begins.
"""

from __future__ import annotations

import logging
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from desed_task.data.dataset import BatchDataset
from desed_task.data.source import Draw, Moment
from desed_task.embeddings.ears import Ears
from desed_task.models.crnn import CRNN, CRNNOptions
from desed_task.models.tagger import InputShape
from desed_task.training.fit import fit
from desed_task.training.sed_module import SedModule
from desed_task.training.training_options import TrainingOptions

CLIPS, STEPS, BANDS, MEL_FRAMES, HOP = 32, 2, 64, 640, 64
MORE_BYTES = 600_000_000


class Noise:
    """Strongly labelled clips of noise."""

    name, batch_size, num_batches = "noise", CLIPS, STEPS

    def draw(self, moment: Moment, crops: np.random.Generator, rows: range) -> Draw:
        events = np.array([[row, 10, 50, row % 2] for row in rows])
        return Draw(tuple(f"clip{row}" for row in rows), "strong", events, np.zeros((0, 2), np.int64), moment.step)

    def fill(self, draw: Draw, waveforms: Tensor) -> None:
        waveforms.normal_(generator=torch.Generator().manual_seed(draw.clips))

    def describe(self) -> Any:
        return "noise"


class Bands:
    """waveform (batch, frames * 64) -> (batch, frames, 64)."""

    def spectrum(self, waveform: Tensor) -> Tensor:
        return waveform.view(len(waveform), -1, BANDS)

    def compress(self, spectrum: Tensor) -> Tensor:
        return spectrum

    def normalise(self, logarithm: Tensor) -> Tensor:
        return logarithm


def main(folder: Path) -> None:
    logging.basicConfig(level=logging.WARNING)
    folder.mkdir()
    model = CRNNOptions(nb_filters=(16, 4), pooling=((2, 8), (2, 8)), n_rnn_cell=4, rnn_layers=1)
    dataset = BatchDataset([Noise()], MEL_FRAMES * HOP, MEL_FRAMES // 4, 2, seed=1)
    options = TrainingOptions(n_epochs=1, n_epochs_warmup=1, num_threads=1)
    module = SedModule(
        CRNN(model, InputShape(0, BANDS), 2), Ears(Bands()), options, (), STEPS, lambda _: {"objective": 0.5}, {}
    )
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MORE_BYTES, resource.RLIM_INFINITY))
    fit(module, dataset, folder, torch.device("cpu"), fast_dev_run=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
